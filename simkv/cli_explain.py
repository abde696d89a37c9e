"""`simkv explain`: parses, calls, prints."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(short_help="Tell why one turn of a saved comparison waited, arm by arm.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--session", required=True, metavar="S", help="Draw index, or a session_id that only one session has.")
@click.option("--turn", required=True, type=click.IntRange(min=0), metavar="T", help="Which turn of it, from 0.")
@click.option(
    "--arm", "arms", multiple=True, metavar="A", help="May be repeated.  [default: the baseline and the fastest other]"
)
@click.option("--replication", type=click.IntRange(min=0), default=0, show_default=True, help="Which replication.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(folder: Path, session: str, turn: int, arms: tuple[str, ...], replication: int, as_json: bool) -> None:
    """Tell the story of one turn of the results in DIR: what it found, what it waited for, and what had been decided.

    The replication is played again, and refused where it no longer gives what DIR holds.
    """
    from simkv.explain import explain as explained
    from simkv.report.turn_story import to_text
    from simkv.waiting import CAUSES

    told = explained(folder, session, turn, arms, replication)
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(to_text(told, CAUSES), nl=False)
