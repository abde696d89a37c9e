"""`simkv calibrate`: parses, calls, prints. What measures is `simkv.calibrate`, which alone needs PyTorch."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from simkv.errors import InputError

_BUDGET = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h)", re.ASCII)
_UNIT_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_MODEL = "Qwen/Qwen2.5-7B"
_DONE, _INTERRUPTED = 0, 130  # exit codes, as in `cli`
_DTYPES = ("bfloat16", "float16", "float32")


@click.command(short_help="Measure what layers, KV operations and transfers cost on this device.")
@click.option("--model", metavar="NAME|config.json", help=f"Whose shape.  [default: {_MODEL}]")
@click.option("--device", type=click.Choice(("cpu", "cuda")), default="cpu", show_default=True, help="What to measure.")
@click.option("--out", type=click.Path(path_type=Path), metavar="NAME.json", help="Where to write the profile.")
@click.option("--ops", metavar="NAME,...", help="Groups or operations alone, such as prefill,decode.  [default: all]")
@click.option("--budget", default="10m", show_default=True, metavar="TIME", help="Of wall time: 20s, 10m, 1h.")
@click.option("--dtype", type=click.Choice(_DTYPES), default="bfloat16", show_default=True, help="Of weights and KV.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of points, order and numbers.")
@click.option("--peer", default="", metavar="HOST:PORT", help="Measure TCP to a host where --serve runs.")
@click.option("--serve", metavar="HOST:PORT", help="Be the other end of --peer, until told to end.")
@click.option("--self-test", is_flag=True, help="Compare a real pipeline with what the profile --out predicts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def calibrate(*, out: Path | None, budget: str, serve: str | None, self_test: bool, as_json: bool, **words: Any) -> int:
    """Measure what layers, KV operations and transfers cost on this device, and write a profile.

    A run that was cut goes on where it stopped when the same words are said again. The profile prices a scenario as
    `gpu: {name: measured, path: NAME.json}`.
    """
    budget_s = _seconds(budget)
    if serve is not None:
        _serve(serve)
        return _DONE
    if out is None:
        raise click.UsageError("want --out NAME.json")
    if importlib.util.find_spec("torch") is None:
        raise InputError("calibrate needs PyTorch: pip install 'simkv[calibrate]', or make torch")
    if self_test:
        _self_test(out, as_json, words)
        return _DONE
    try:
        _measure(out, budget_s, as_json, words)
    except KeyboardInterrupt:
        _tell("interrupted; what was measured is kept; to go on, say the same again")
        return _INTERRUPTED
    return _DONE


def _measure(out: Path, budget_s: float, as_json: bool, words: dict[str, Any]) -> None:
    command, verdict = (importlib.import_module(f"simkv.calibrate.{name}") for name in ("command", "verdict"))
    words["model"] = words["model"] or _MODEL
    with _progress() as progress:
        told = command.calibrate(command.Wish(out=out, budget_s=budget_s, **words), progress, _tell)
    points = {op.name: len(op.rows) for op in told.ops}
    if as_json:
        rows = verdict.rows(told.quality, points)
        click.echo(json.dumps({"schema_version": 1, "profile": str(out), "ops": rows}, indent=2))
    else:
        click.echo(verdict.to_text(told.quality, points), nl=False)
    _tell(f"saved to {out}")


def _self_test(out: Path, as_json: bool, words: dict[str, Any]) -> None:
    pipeline = importlib.import_module("simkv.calibrate.pipeline")
    with _progress() as progress:
        told = pipeline.Setting(out, words["model"], words["device"], words["dtype"], words["seed"])
        found = pipeline.run(told, progress)
    click.echo(json.dumps(found, indent=2) if as_json else pipeline.to_text(found), nl=as_json)


def _serve(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise click.UsageError(f"--serve wants HOST:PORT, got {address!r}")
    importlib.import_module("simkv.calibrate.wire").serve(host, int(port))


def _seconds(text: str) -> float:
    found = _BUDGET.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise click.UsageError(f"--budget wants a time such as 20s or 10m, got {text!r}")
    return float(found[1]) * _UNIT_S[found[2]]


@contextmanager
def _progress() -> Iterator[Callable[[float, float, str], None] | None]:
    """Show a bar on stderr when a person looks at it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("calibrating", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


def _tell(text: str) -> None:
    click.echo(text, err=True)
