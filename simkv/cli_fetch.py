"""`simkv trace fetch`: parses, calls, prints."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from simkv.errors import InputError
from simkv.registry import did_you_mean


@click.command(short_help="Download a trace that others publish, and check that it is the one.")
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="List what can be fetched, with size and licence.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to put it in.  [default: .]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fetch(name: str | None, listed: bool, out: Path | None, as_json: bool) -> None:
    """Download the trace NAME from its publisher, whole or not at all; what was cut goes on where it was.

    simkv ships none of them: whoever fetches one takes it from its publisher, under the licence named.
    """
    from simkv.workload.fetching import fetch as download
    from simkv.workload.published import PUBLISHED

    if listed:
        if name is not None or out is not None:
            raise click.UsageError("want a NAME or --list, not both; --out is for a NAME")
        _print_list(as_json)
        return
    if name is None:
        raise click.UsageError("want a NAME, or --list")
    if name not in PUBLISHED:
        hint = did_you_mean(name, list(PUBLISHED))
        raise InputError(f"unknown trace {name!r}{hint}; `simkv trace fetch --list` lists those that there are")
    wanted = PUBLISHED[name]
    target = (out or Path()) / wanted.file_name
    with _progress(wanted.file_name) as progress:
        is_new = download(wanted.url, target, wanted.digest, wanted.size_bytes, progress)
    if as_json:
        click.echo(json.dumps({"path": str(target), "downloaded": is_new, **asdict(wanted)}, indent=2))
        return
    click.echo(target)
    was = "fetched" if is_new else "was here already"
    click.echo(f"{was}, and is what was published ({wanted.digest}); {wanted.licence}; cite {wanted.cite}", err=True)
    click.echo(f"next: {wanted.use.replace('FILE', str(target))}", err=True)


def _print_list(as_json: bool) -> None:
    from simkv.units import format_bytes
    from simkv.workload.published import PUBLISHED

    if as_json:
        click.echo(json.dumps([asdict(each) for each in PUBLISHED.values()], indent=2))
        return
    for each in PUBLISHED.values():
        size = "?" if each.size_bytes is None else format_bytes(each.size_bytes)
        click.echo(f"{each.name:<26} {size:>7}  {each.licence:<10}  {each.cite}")


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Show a bar on stderr when a person looks at it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
