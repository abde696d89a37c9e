"""What a person types: parses, calls, prints. Nothing else in simkv prints or exits.

stdout is the result, stderr is for people. Exit codes: 0 done, 1 unexpected, 2 usage or invalid input,
3 run not finished or invariant broken, 4 a sweep with failed points, 130 interrupted.
"""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import json
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simkv import __version__
from simkv.cli_calibrate import calibrate
from simkv.cli_explain import explain
from simkv.cli_fetch import fetch
from simkv.cli_mrc import mrc
from simkv.cli_predictability import predictability
from simkv.cli_profile import json_facts, profile
from simkv.cli_report import report
from simkv.cli_sweep import overrides, pairs, sweep
from simkv.cli_validate import validate
from simkv.errors import InputError, InvariantError, SimkvError
from simkv.remote import local

if TYPE_CHECKING:
    from simkv.report.comparison import Comparison
    from simkv.scenario import Scenario

DONE, UNEXPECTED, INVALID, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: list[str] | None = None) -> int:  # noqa: PLR0911 - one return for each way to end
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : the words after `simkv`; None = those of this process.

    Examples
    --------
    >>> main(["--version"])
    simkv 0.1.0
    0
    """
    try:
        code = cli.main(args=argv, prog_name="simkv", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return INVALID
    except InputError as error:
        _tell(f"error: {error}")
        return INVALID
    except InvariantError as error:
        _tell(f"error: an invariant does not hold; the results would be wrong: {error}")
        return UNFINISHED
    except SimkvError as error:
        _tell(f"error: {error}")
        return UNFINISHED
    except (KeyboardInterrupt, click.Abort) as error:
        words = shlex.join(argv if argv is not None else sys.argv[1:])
        kept = str(error.__cause__ or error) or "nothing was written; to start again"
        _tell(f"interrupted; {kept}: simkv {words}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has gone; nothing is left to say
        sys.stdout = None  # or Python complains at exit
        return UNEXPECTED
    except Exception:  # whatever else happens is a bug, and is shown whole
        traceback.print_exc()
        _tell("error: this is a bug in simkv")
        return UNEXPECTED
    return code if isinstance(code, int) else DONE


@click.group(
    commands=[calibrate, explain, profile, report, sweep, validate],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="simkv %(version)s")
def cli() -> None:
    """Simulate LLM serving with moving KV cache: what does each policy do to latency, bandwidth and GPU time?

    Exit codes: 0 done, 1 unexpected, 2 usage or invalid input, 3 run not finished, 4 points of a sweep failed,
    130 interrupted.
    """


_set = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change one value of the scenario, such as links.slice.delay='5 ms'; may be repeated.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.command(short_help="Run all arms of a scenario, print the comparison, save it.")
@click.argument("scenario", type=click.Path(path_type=Path))
@_set
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the scenario's.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--out", type=click.Path(path_type=Path), help="Results folder.  [default: out/NAME]")
@_as_json
def run(
    scenario: Path, settings: tuple[str, ...], seed: int | None, workers: int, out: Path | None, as_json: bool
) -> int:
    """Run all arms of SCENARIO, print the comparison, and save it with its figures."""
    told = _load(scenario, settings, seed)
    folder = out or Path("out") / told.name
    _check_replaceable(folder)
    comparison = _compared(told, workers)
    _save(comparison, folder)
    if as_json:
        _print_json(comparison.to_json())
    else:
        from simkv.report.tables import to_text

        click.echo(to_text(comparison).rstrip("\n"))
    _tell(f"saved to {folder}")
    return _unfinished(comparison, told)


@cli.command(short_help="Check a file; of a scenario, tell what is known before a run.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@_set
@click.option("--resolved", is_flag=True, help="Print the scenario with every default filled in.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of scenarios, for editors.")
@_as_json
def check(file: Path | None, settings: tuple[str, ...], resolved: bool, schema: bool, as_json: bool) -> None:
    """Check FILE: a scenario (.yaml), a trace of any format, a bandwidth series (.csv), a profile or model (.json).

    For a scenario, builds every arm and tells what is known before any run: whether moving KV beats sending text, how
    long it takes to hide a chunk, how loaded links and GPUs are, and what prefetch can gain at most.
    """
    if schema:
        from simkv.scenario import json_schema

        _print_json(json_schema())
        return
    if file is None:
        raise click.UsageError("want a FILE to check, or --schema")
    if not file.exists() or file.suffix in (".yaml", ".yml"):
        told = _load(file, settings, None)
        if resolved:
            from simkv.scenario import resolved as written

            click.echo(written(told), nl=False)
            return
        points = _points(file, settings) if told.sweep is not None else None
        _check_scenario(told, points, as_json)
        return
    if settings or resolved:
        raise click.UsageError("--set and --resolved are for scenarios")
    _print_facts(file, _facts(file), as_json)


@cli.command("list", short_help="List the plug-ins and their parameters.")
@click.argument("kind", required=False)
@_as_json
def list_(kind: str | None, as_json: bool) -> None:
    """List the plug-ins, of one KIND or all, with their parameters, units and defaults."""
    from simkv.scenario.catalogue import catalogue

    found = catalogue(kind)
    if as_json:
        _print_json(found)
        return
    for place, (name, plugins) in enumerate(found.items()):
        click.echo(f"{'' if place == 0 else chr(10)}{name}")
        for plugin in plugins:
            mark = "  [oracle: knows what no real system could]" if plugin["oracle"] else ""
            _print_item(f"{plugin['name']:<26} {plugin['doc']}{mark}", hang=29)
            for parameter in plugin["parameters"]:
                default = "required" if parameter["required"] else f"default {_plain(parameter['default'])}"
                click.echo(f"      {parameter['name']}: {parameter['type']}, {default}")


@cli.group(commands=[fetch, mrc, predictability])
def trace() -> None:
    """Look at traces, and make or convert them."""


@trace.command()
@click.argument("path", metavar="PATH", type=local)
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="Of the format, or its name.")
@_as_json
def info(path: Path, params: tuple[str, ...], as_json: bool) -> None:
    """Describe the trace at PATH, a file or its URL: format and what it leaves to assume, sessions, tokens, reuse."""
    from simkv import workload

    _print_facts(path, workload.info(workload.open_told(path, pairs(params, "-p"))), as_json)


@trace.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the generator or the format."
)
@click.option("--seed", type=click.IntRange(min=0), help="Of the generator.  [default: 1]")
@_as_json
def convert(source: str, out: Path, params: tuple[str, ...], seed: int | None, as_json: bool) -> None:
    """Write SOURCE, a trace, a bandwidth file, a URL or `generator:NAME`, to OUT in simkv's own format.

    OUT ends in .jsonl for sessions, in .csv for what a link carries; behind it, .gz or .xz compress.
    """
    from simkv import workload

    if seed is not None and not source.startswith("generator:"):
        raise click.UsageError(f"--seed is of a generator, and nothing in {source!r} is random")
    facts = dict(workload.convert(source, out, pairs(params, "-p"), 1 if seed is None else seed))
    if as_json:
        _print_json(facts)
    else:
        _print_mapping(facts, "")


def _load(path: Path, settings: tuple[str, ...], seed: int | None) -> Scenario:
    """Return the scenario with what the command line changes."""
    from simkv.scenario import load

    return load(path, overrides(settings, seed))


def _compared(scenario: Scenario, workers: int) -> Comparison:
    from simkv.compare import compare

    with _progress(f"{scenario.name}: {len(scenario.arms)} arms") as progress:
        return compare(scenario, seed=scenario.seed, workers=workers, progress=progress)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on stderr when a person looks at it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _check_replaceable(folder: Path) -> None:
    """Refuse a target that holds anything but results, before any time is spent."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError("is a file; want a folder for the results", str(folder))
    if any(folder.iterdir()) and not (folder / "manifest.json").is_file():
        raise InputError("holds something else than results; want an empty or new folder", str(folder))


def _save(comparison: Comparison, folder: Path) -> None:
    """Write everything beside the target, then rename: the target is whole or absent, never half-written."""
    import shutil
    import tempfile

    from simkv.report import figures

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(folder)) from None
    try:
        made = temporary / "new"
        made.mkdir()
        comparison.save(made)
        figures.save_all(comparison, made)
        if folder.exists():
            folder.rename(temporary / "old")
        made.rename(folder)
    finally:
        if (temporary / "old").exists() and not folder.exists():  # interrupted between the two renames
            (temporary / "old").rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)


def _unfinished(comparison: Comparison, scenario: Scenario) -> int:
    """Warn of requests that did not end; return the exit code."""
    left = {arm["name"]: n for arm in comparison.to_json()["arms"] if (n := arm["requests"]["unfinished"])}
    if not left:
        return DONE
    _tell("warning: unfinished requests: " + ", ".join(f"{name} {count}" for name, count in left.items()))
    return DONE if scenario.run.horizon_s is not None else UNFINISHED


def _check_scenario(scenario: Scenario, points: int | None, as_json: bool) -> None:
    """Build every arm and tell what is known before a run; `points` are those of the scenario's own sweep, if any."""
    from simkv.feasibility import check_arms, figures
    from simkv.report.layout import counted

    check_arms(scenario)
    found = figures(scenario)
    if as_json:
        fields = ("name", "of", "value", "unit", "text", "warning")
        told = [{field: getattr(figure, field) for field in fields} for figure in found]
        own = {} if points is None else {"sweep_points": points}
        _print_json({"schema_version": 1, "scenario": scenario.name, **own, "figures": told})
        return
    arms, replications = len(scenario.arms), scenario.replications
    swept = "" if points is None else f", {counted(points, 'point')} in its sweep"
    click.echo(f"{scenario.name}: valid; {counted(arms, 'arm')}, {counted(replications, 'replication')}{swept}")
    for figure in found:
        _print_item(f"{'warning: ' if figure.warning else ''}{figure.text}")


def _points(file: Path, settings: tuple[str, ...]) -> int:
    """Return how many points a scenario's own sweep has, each of them checked."""
    from simkv.sweep import plan

    return len(plan(file, overrides=overrides(settings, None)).points)


def _print_item(text: str, hang: int = 6) -> None:
    """Print one item of a list in lines of at most 110 columns; all but the first hang in by so many."""
    import textwrap

    lines = textwrap.wrap(
        text, 110, initial_indent="  ", subsequent_indent=" " * hang, break_on_hyphens=False, break_long_words=False
    )
    click.echo("\n".join(lines))


def _facts(file: Path) -> dict[str, Any]:
    """Return what is true of a trace, series, profile or model file."""
    from simkv import workload

    if file.is_dir():
        raise InputError("is a folder; want a file", str(file))
    if workload.is_trace(file):
        return dict(workload.check(file))
    if ".csv" in file.suffixes:
        return dict(workload.series.check(file))
    if file.suffix == ".json":
        return json_facts(file)
    if file.suffix in (".jsonl", ".gz", ".xz", ".txt"):
        return dict(workload.check(file))  # which says what is wrong with it
    raise InputError("want a scenario (.yaml), a trace, a series (.csv), or a profile or model (.json)", str(file))


def _print_facts(path: Path, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(facts)
        return
    click.echo(f"{path}: valid")
    _print_mapping(facts, "  ")


def _print_mapping(facts: dict[str, Any], indent: str) -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"{indent}{key}:")
            _print_mapping(value, indent + "  ")
        else:
            click.echo(f"{indent}{key}: {_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _tell(text: str) -> None:
    """Say something to the person, apart from the result."""
    click.echo(text, err=True)


if __name__ == "__main__":
    sys.exit(main())
