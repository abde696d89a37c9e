"""Every command of the command line is in README, and its help says what it does."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from simkv import cli

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def commands() -> dict[str, click.Command]:
    """Return all commands by their full name, groups excluded."""

    def below(group: click.Group, prefix: str) -> dict[str, click.Command]:
        found: dict[str, click.Command] = {}
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                found |= below(command, f"{prefix}{name} ")
            else:
                found[f"{prefix}{name}"] = command
        return found

    groups = [value for value in vars(cli).values() if isinstance(value, click.Group)]
    nested = {id(child) for group in groups for child in group.commands.values()}
    (root,) = [group for group in groups if id(group) not in nested]
    return below(root, "simkv ")


@pytest.mark.parametrize("name", commands())
def test_command_is_documented(name: str) -> None:
    """README shows a command that a person could otherwise not find."""
    assert re.search(rf"^{name}\b", README, flags=re.MULTILINE)


@pytest.mark.parametrize("name", commands())
def test_command_explains_itself(name: str) -> None:
    """Help of the command and of each of its options is not empty."""
    command = commands()[name]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert command.help
    assert [option.name for option in options if not option.help] == []
