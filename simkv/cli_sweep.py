"""`simkv sweep`: one scenario over a grid of values, resumable."""

# ruff: noqa: PLC0415 - the command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simkv.cli_executor import chosen

if TYPE_CHECKING:
    from simkv.sweep import Axis, Executor

DONE, SOME_FAILED = 0, 4
#: [s] between two lines of progress.
QUIET_S = 5.0
#: Points that a search tries when nobody says how many.
TRIALS = 100


MINIMISE = (
    "Search for the least, such as ttft_s.p99 or link_bytes, instead of running a grid: a list of -p is a choice, a "
    "range all between its ends. Several: what no other point beats in all of them. Needs the extra `tune`."
)


@click.command(short_help="Run a scenario over a grid of values, resumable.")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "varied",
    multiple=True,
    metavar="PATH=VALUES",
    help="What varies: '0.1,0.3' or '10..1000 Mbit/s:log:8'; several span a grid; 'A+B=1|2,3|4' vary together. "
    "Beside or instead of the lines of the scenario's `sweep`.",
)
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change one value at every point.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the scenario's; the same at every point.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: 1]")
@click.option(
    "--executor",
    metavar="WHERE",
    help="in-process, processes, dask (processes here) or dask://HOST:PORT (a running scheduler).  "
    "[default: processes when --workers or --time-limit want them]",
)
@click.option("--time-limit", metavar="TIME", help="Of one point, such as '60 s'; over it, the point has failed.")
@click.option("--minimise", multiple=True, metavar="METRIC", help=MINIMISE)
@click.option("--trials", type=click.IntRange(min=1), help="Points that a search tries.  [default: 100]")
@click.option("--arm", metavar="NAME", help="Whose numbers a search minimises; it runs no other.")
@click.option("--sampler", metavar="NAME", help="Of a search: tpe, nsga2 or random.  [default: tpe, nsga2 for several]")
@click.option("--retry-failed", is_flag=True, help="Run again the points that failed before.")
@click.option("--out", type=click.Path(path_type=Path), help="Results folder.  [default: out/NAME-sweep or -search]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sweep(
    scenario: Path,
    varied: tuple[str, ...],
    settings: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    as_json: bool,
    **how: Any,
) -> int:
    """Run SCENARIO at every point of a grid on the same random numbers, and print mean TTFT by point and arm.

    With --minimise, try points between the values too, and print those that no other beats.

    A point is kept as soon as it is done: the same command goes on where it was interrupted, and adds nothing
    to a sweep that is whole. Exit code 4: some points failed; the others are in the table.
    """
    from simkv.sweep import read_axis

    axes = [read_axis(text) for text in varied]
    task = _searched if how["minimise"] else _swept
    told, failed = task(scenario, axes, overrides(settings, seed), out, as_json, how)
    click.echo(told if isinstance(told, str) else json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
    return SOME_FAILED if failed else DONE


def _swept(
    scenario: Path, axes: list[Axis], changes: dict[str, object], out: Path | None, as_json: bool, how: dict[str, Any]
) -> tuple[str | dict[str, Any], int]:
    """Run all points of a grid; return what to print, and how many failed."""
    from simkv.sweep import plan, run
    from simkv.sweep.showing import sweep_text
    from simkv.sweep.tables import to_json

    for option in ("trials", "arm", "sampler"):
        if how[option] is not None:
            raise click.UsageError(f"--{option} is of a search; want --minimise METRIC too")
    planned = plan(scenario, axes, changes)
    with _kept(planned.name, out or Path("out") / f"{planned.name}-sweep") as (folder, progress):
        ended = run(planned, folder, _where(how), retry_failed=how["retry_failed"], progress=progress)
    tell = to_json if as_json else sweep_text
    return tell(planned, ended.points, ended.failures), len(ended.failures)


def _searched(
    scenario: Path, axes: list[Axis], changes: dict[str, object], out: Path | None, as_json: bool, how: dict[str, Any]
) -> tuple[str | dict[str, Any], int]:
    """Try points of a space; return what to print, and how many failed."""
    from simkv.sweep import plan_search, search
    from simkv.sweep.showing import search_text
    from simkv.sweep.tables import to_json

    kind = {"minimise": how["minimise"], "arm": how["arm"], "sampler": how["sampler"]}
    planned, trials = plan_search(scenario, axes, changes, **kind), how["trials"] or TRIALS
    with _kept(planned.name, out or Path("out") / f"{planned.name}-search") as (folder, progress):
        found = search(planned, folder, trials, _where(how), retry_failed=how["retry_failed"], progress=progress)
    told = to_json(planned, *found) if as_json else search_text(planned, found, trials)
    return told, len(found.failures)


@contextmanager
def _kept(name: str, folder: Path) -> Iterator[tuple[Path, _Progress]]:
    """Tell how far it is, where it is kept, and at an interrupt how much of it."""
    progress = _Progress(name)
    try:
        yield folder, progress
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{progress.done} of {progress.total} points are kept; to resume") from None
    click.echo(f"saved to {folder}", err=True)


def overrides(settings: tuple[str, ...], seed: int | None) -> dict[str, object]:
    """Return what `--set` and `--seed` change, as `simkv.load` takes it."""
    found: dict[str, object] = dict(pairs(settings, "--set"))
    if seed is not None:
        if "seed" in found:
            raise click.UsageError("want either --seed or --set seed=..., not both")
        found["seed"] = seed
    return found


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """Return KEY=VALUE texts as a dict; each key once."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"{option} wants NAME=VALUE, got {text!r}")
        if key.strip() in found:
            raise click.UsageError(f"{option} {key.strip()} stands twice")
        found[key.strip()] = value
    return found


def _where(how: dict[str, Any]) -> Executor:
    return chosen(how["executor"], how["workers"], how["time_limit"])


class _Progress:
    """Says on stderr how far a sweep is and how long it still takes."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.clock = name, clock
        self.done = self.total = 0
        self.kept: int | None = None
        self.began_s = self.told_s = clock()

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        now_s = self.clock()
        if self.kept is None:
            self.kept, self.began_s = done, now_s
            if done:
                click.echo(f"{self.name}: {done} of {total} points were done before", err=True)
            return
        if now_s - self.told_s < QUIET_S and done < total:
            return
        self.told_s = now_s
        left_s = (now_s - self.began_s) / (done - self.kept) * (total - done)
        click.echo(f"{self.name}: {done} of {total} points, about {left_s:.0f} s left", err=True)
