"""`simkv profile` and what `simkv check` says of a profile: parses, calls, prints."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simkv.errors import InputError
from simkv.units import BYTES_PER_SECOND, SECONDS, Quantity

if TYPE_CHECKING:
    from simkv.compute.calibration import MeasuredProfile

_DRAWN = "Llama-3.1-8B"  # where a profile prices any model
_SOURCES = ("silicon", "mixed", "derived", "analytic")


@click.group()
def profile() -> None:
    """Look at measured GPU times, and import those that others publish."""


@profile.group("import")
def import_() -> None:
    """Write a profile, NAME.json and NAME.csv.gz, from what others publish."""


_out = click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="NAME.json", help="Where to write the profile."
)


@import_.command("llmservingsim")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--tp", type=click.IntRange(min=1), default=1, show_default=True, help="Tensor-parallel degree.")
@_out
def import_llmservingsim(folder: Path, tp: int, out: Path) -> None:
    """Import the per-layer kernel times of LLMServingSim's profiler in DIR.

    DIR holds meta.yaml, and tpN/dense.csv, attention.csv, per_sequence.csv, skew.csv and moe.csv, or the same as
    tpN_dense.csv.gz and so on.
    """
    from simkv.profiling import llmservingsim

    _write(llmservingsim.read(folder, tp), out)


@import_.command("dynamo-npz")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--model", required=True, metavar="NAME", help="Whose times they are; the file does not say.")
@click.option("--device", default="not stated", metavar="TEXT", help="On which GPU.")
@click.option("--origin", default="not stated", metavar="TEXT", help="What made the file, with its version.")
@click.option("--source", type=click.Choice(_SOURCES), default="derived", show_default=True, help="How it was made.")
@_out
def import_dynamo_npz(path: Path, *, model: str, device: str, origin: str, source: str, out: Path) -> None:
    """Import the times of whole passes in FILE, a .npz timing profile of NVIDIA Dynamo."""
    from simkv.profiling import dynamo_npz

    _write(dynamo_npz.read(path, model, device, origin, source), out)


def _write(told: MeasuredProfile, out: Path) -> None:
    from simkv.profiling.writing import write

    write(told, out)
    rows = sum(len(op.rows) for op in told.ops)
    click.echo(f"{out}: {told.model_name} on {told.device}, tp {told.tp}, {rows:,} times of {len(told.ops)} operations")
    for about, note in told.notes.items():
        click.echo(f"  {about}: {note}")


@profile.command()
@click.option("--gpu", metavar="NAME", help="Such as h100-sxm; left out with --all: every one.")
@click.option("--model", metavar="NAME", help="A built-in model, or a config.json.")
@click.option("--tp", type=click.IntRange(min=1), default=1, show_default=True, help="Tensor-parallel degree.")
@click.option("--from", "source", required=True, metavar="DIR|aic", help="Folder of tables, or the installed wheel.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="PATH", help="NAME.json; --all: folder.")
@click.option("--all", "every", is_flag=True, help="All ready-made profiles, each in the folder of its GPU.")
def derive(gpu: str | None, model: str | None, tp: int, source: str, out: Path, every: bool) -> None:
    """Derive a profile from published times of single operations.

    DIR holds MANIFEST.csv, aic/, llmservingsim/ (docs/profiles.md); aic is the package aiconfigurator-core 0.12.
    """
    from simkv.profiling import derived

    if every:
        from simkv.profiling.derived.shipping import write_all

        for path in write_all(source, out, gpu):
            click.echo(str(path))
        return
    if gpu is None or model is None:
        raise click.UsageError("want --gpu and --model, or --all")
    _write(derived.derive(gpu, model, source, tp), out)


@profile.command()
@click.argument("name", metavar="FILE|NAME")
@click.option("--tp", type=click.IntRange(min=1), default=1, show_default=True, help="Of a folder of tables.")
@click.option("--model", metavar="NAME", help=f"Draw prices of this model.  [default: the measured one, or {_DRAWN}]")
@click.option("--link-bandwidth", metavar="RATE", help="Of the link between the GPUs, such as '32 GB/s'; for tp > 1.")
@click.option("--link-latency", metavar="TIME", help="Of one hop over it, such as '10 us'; for tp > 1.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw step times to this file (.png, .pdf, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(
    name: str,
    *,
    tp: int,
    model: str | None,
    link_bandwidth: str | None,
    link_latency: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Tell what a profile holds: operations, ranges, sources.

    FILE is a profile (.json) or a folder of LLMServingSim's tables; NAME one of those that `simkv list gpu` names.
    """
    from simkv.report import profile_view as view

    if plot is not None:
        _check_drawable(plot)
    path = Path(name)
    if path.exists() or path.suffix == ".json":
        told = _opened(path, tp)
        if plot is not None:
            link = (_quantity(link_bandwidth, BYTES_PER_SECOND), _quantity(link_latency, SECONDS))
            prices = told.step_time(_shape(model or told.model_name), *link)
            view.figure(prices, f"{told.model_name} on {told.device}, tp {told.tp}", told).savefig(plot)
        if as_json:
            known = {} if told.quality is None else {"quality": told.quality}
            click.echo(json.dumps({"schema_version": 1, **told.facts(), "ops": view.op_rows(told), **known}, indent=2))
        else:
            click.echo(view.to_text(told), nl=False)
            _echo_quality(told)
        return
    facts, made = _registered(name)
    if plot is not None:
        shape = _shape(model or _DRAWN)
        view.figure(made.step_time(shape), f"{shape.name} on {name}").savefig(plot)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, **facts}, indent=2))
    else:
        click.echo("\n".join(f"{key}: {value}" for key, value in facts.items()))


def _echo_quality(told: MeasuredProfile) -> None:
    from simkv.report import quality_view

    if told.quality is not None:
        click.echo("\n" + "\n".join(quality_view.lines(told.quality)))


@profile.command()
@click.argument("one", metavar="A.json", type=click.Path(path_type=Path))
@click.argument("other", metavar="B.json", type=click.Path(path_type=Path))
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the differences to this file (.png, .pdf, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(one: Path, other: Path, *, plot: Path | None, as_json: bool) -> None:
    """Tell how far B lies from A, operation by operation, at the points that both measured.

    Where both have anchors, the speed of the machine is taken out, except of what waits for disks and sockets.
    """
    from simkv.report import profile_compare as report

    if plot is not None:
        _check_drawable(plot)
    first, second = _opened(one, 1), _opened(other, 1)
    found = report.pairs(first, second)
    if not found:
        raise InputError(f"no point that {one} measured too", str(other))
    if plot is not None:
        report.figure(first, second, found).savefig(plot)
    if as_json:
        speed = report.speed_ratio(first, second)
        told = {"schema_version": 1, "profiles": [str(one), str(other)], "speed_ratio": speed}
        click.echo(json.dumps({**told, "ops": report.rows(found)}, indent=2))
    else:
        click.echo(report.to_text(first, second, found), nl=False)


def _opened(path: Path, tp: int) -> MeasuredProfile:
    """Return a profile; that of a file has the tp that it says."""
    from simkv.compute import calibration_file
    from simkv.profiling import open_profile

    if path.suffix != ".json":
        return open_profile(path, tp)
    told = calibration_file.read(path)
    told.check()
    return told


def _shape(name: str) -> Any:
    from simkv import model

    return model.get(name)


def _registered(name: str) -> tuple[dict[str, Any], Any]:
    """Return the parameters of a registered profile, and the profile."""
    from simkv.compute import shipped
    from simkv.compute.profile import PROFILES

    made: Any = PROFILES.create(name)
    facts = {"profile": name, "label": made.label, **dataclasses.asdict(made)}
    if name in shipped.SHIPPED:
        facts["models"] = [f"{model_name}, tp {tp}" for model_name, tp in shipped.available(name)]
    return facts, made


def _quantity(text: str | None, quantity: Quantity) -> float | None:
    return None if text is None else quantity.parse(text)


def _check_drawable(plot: Path) -> None:
    """Refuse what cannot be drawn before any time is spent."""
    if plot.suffix not in (".png", ".pdf", ".svg"):
        raise click.UsageError(f"--plot wants a name that ends in .png, .pdf or .svg, got {plot.name!r}")
    if not plot.parent.is_dir():
        raise click.UsageError(f"--plot: there is no folder {plot.parent}")


def json_facts(file: Path) -> dict[str, Any]:
    """Return what a device profile or a model's config.json says, for `simkv check`.

    Raises
    ------
    InputError : none of them, or a broken one.
    """
    from simkv import model
    from simkv.scenario.document import read_text

    try:
        told = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON: {error}", str(file)) from None
    schema = str(told.get("schema", "")) if isinstance(told, dict) else ""
    if schema.startswith("simkv.calibration"):
        return _opened(file, 1).facts()
    if not schema.startswith("simkv.profile"):
        shape = model.from_hf_config(file)
        return dataclasses.asdict(shape) | {"kv_bytes_per_token": shape.kv_bytes_per_token}
    from simkv.compute.profile import PROFILES

    if schema != "simkv.profile.analytic" or not isinstance(told.get("parameters"), dict):
        raise InputError("want schema 'simkv.profile.analytic' and a mapping of parameters", str(file))
    try:
        made: Any = PROFILES.create("analytic", told["parameters"])
    except InputError as error:
        raise InputError(str(error), str(file)) from None
    return {"profile": told.get("name"), **dataclasses.asdict(made)}
