"""`simkv report`: parses, calls, writes."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simkv.errors import InputError
from simkv.registry import unknown

if TYPE_CHECKING:
    from simkv.report.page import Section
    from simkv.report.reading import SavedRun


@click.command(short_help="Show saved results, or write them as other tools read them.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--export", "target", metavar="TARGET", help="Write this instead; an unknown name lists them all.")
@click.option("--arm", metavar="A", help="Export this arm alone, where the target takes one.")
@click.option("--replication", type=click.IntRange(min=0), help="Play or export this.  [default: 0]")
@click.option("--timeline/--no-timeline", default=True, help="Play a replication again for the page.  [default: yes]")
@click.option(
    "--sessions", type=click.IntRange(min=1), metavar="N", help="A timeline shows the first N sessions.  [default: all]"
)
@click.option("--window", metavar="FROM..TO", help="A timeline shows this time, such as '90 s..5 min'.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The page, or the folder of an export.  [default: DIR/report.html, DIR/TARGET]",
)
def report(
    folder: Path,
    *,
    target: str | None,
    arm: str | None,
    replication: int | None,
    timeline: bool,
    sessions: int | None,
    window: str | None,
    out: Path | None,
) -> None:
    """Read the results in DIR, of a run or a sweep, and write them for people or for another tool.

    Without --export, DIR/report.html: one page that needs no network and no other file. For a run, one replication is
    played again to show forecasts, links, buffers and a timeline, and refused where it no longer gives what DIR holds.
    """
    from simkv.export import EXPORTS, Choice
    from simkv.recording import parse_window
    from simkv.report.page import page
    from simkv.report.reading import SavedRun, read

    saved = read(folder)
    window_s = parse_window(window) if window is not None else None
    given = {"arm": arm, "replication": replication, "sessions": sessions, "window": window}
    if target is None:
        takes = ("replication", "sessions", "window") if timeline and isinstance(saved, SavedRun) else ()
        _refuse_others(given, takes, "a page" if takes else "a page without a timeline")
        place = out or folder / "report.html"
        if place.is_dir():
            raise InputError("is a folder; want a file for the page", str(place))
        played: list[Section] = []
        tables: dict[str, bytes] = {}
        if timeline and isinstance(saved, SavedRun):
            played, tables = _played(saved, replication or 0, sessions, window_s)
        _write_page(place, page(saved, played), tables)
        click.echo(place)
        return
    if not timeline:
        raise click.UsageError("--no-timeline is of the page; want no --export beside it")
    if target not in EXPORTS:
        raise unknown("target", target, EXPORTS, "--export")
    _refuse_others(given, EXPORTS[target].takes, f"--export {target}")
    files = EXPORTS[target].make(saved, Choice(arm, replication or 0, sessions, window_s))
    place = out or folder / target
    write_files(files, place)
    if out is None:
        _remove_others(place, files)
    for name in files:
        click.echo(place / name)


def _remove_others(folder: Path, files: Container[str]) -> None:
    """Leave only these files in a target's own folder: what another arm left there is none of this export."""
    for old in folder.iterdir():
        if old.is_file() and old.name not in files:
            old.unlink()


def _refuse_others(given: Mapping[str, object], takes: tuple[str, ...], what: str) -> None:
    """Refuse options that would be ignored."""
    for name, value in given.items():
        if value is not None and name not in takes:
            told = ", ".join(f"--{each}" for each in takes) or "none of them"
            raise click.UsageError(f"{what} does not go by --{name}; of such options it takes {told}")


def _played(
    saved: SavedRun, replication: int, sessions: int | None, window_s: tuple[float, float] | None
) -> tuple[list[Section], dict[str, bytes]]:
    """Return the parts of a run's page that need a replication played again, and the tables that they show."""
    from simkv.forecasts import reliability
    from simkv.recording import record, to_parquet
    from simkv.report import page_played

    arms = saved.comparison.arms
    forecasts = page_played.of_forecasts(reliability(saved, replication), replication, arms)
    recording = record(saved, replication=replication, sessions=sessions, window_s=window_s)
    return [*forecasts, *page_played.of_recording(recording, arms)], to_parquet(recording)


def _write_page(place: Path, text: str, tables: dict[str, bytes]) -> None:
    """Write a page, and the tables that it shows into a folder beside it."""
    write_files({place.name: text.encode()}, place.parent)
    if tables:
        write_files(tables, place.parent / "timeline")


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write files to a folder, made when absent; one that cannot be written leaves none of them behind.

    Files are called after arms and servers of a folder that somebody else may have made, so a path is refused.
    """
    for name in files:
        if Path(name).name != name:
            raise InputError(f"no file of an export can be called {name!r}", str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new.", dir=folder))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(folder)) from None
    try:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        for name in files:
            (temporary / name).replace(folder / name)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(folder)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
