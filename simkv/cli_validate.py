"""`simkv validate`: what others measured, and what simkv says."""

# ruff: noqa: PLC0415 - each command imports what it needs, so that the others start fast

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from simkv.validate.rows import Report
    from simkv.validate.transfers import Fits
    from simkv.validate.vllm import Comparison


@click.group()
def validate() -> None:
    """Compare simkv with what was measured elsewhere."""


@validate.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--profile", type=click.Path(path_type=Path), help="A simkv profile, or a folder of measured tables.")
@click.option("--num-gpu-blocks", type=click.IntRange(min=2), help="KV blocks as vLLM counts them; else as recorded.")
@click.option("--host-time", metavar="TIME", help="Host time a step, such as '1.1 ms'.")
@click.option("--link-bandwidth", metavar="RATE", help="Between GPUs, such as '16 GB/s'; else as recorded.")
@click.option("--link-latency", metavar="TIME", help="Of one message between GPUs, such as '20 us'.")
@click.option("--strict", is_flag=True, help="Refuse to price what the profile has not measured.")
@click.option("--step-by-step", is_flag=True, help="Take every step as an event of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def vllm(folder: Path, profile: Path | None, as_json: bool, **options: Any) -> None:
    """Play the vLLM run recorded in FOLDER again and compare latencies, order and batch size.

    FOLDER holds requests.jsonl and meta.json, and may hold timeseries.csv and node_config.json (docs/engine.md).
    """
    from simkv.units import BYTES_PER_SECOND, parse_seconds
    from simkv.validate import vllm as replayed

    host, bandwidth, latency = (options.pop(name) for name in ("host_time", "link_bandwidth", "link_latency"))
    found = replayed.validate(
        folder,
        profile,
        host_s=replayed.HOST_S if host is None else parse_seconds(host),
        link_bandwidth_bytes_per_s=None if bandwidth is None else BYTES_PER_SECOND.parse(bandwidth),
        link_latency_s=None if latency is None else parse_seconds(latency),
        **options,
    )
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        _print(found)


def _print(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{found.run}: simulated against measured", title_justify="left")
    table.add_column("")
    statistics = list(next(iter(found.metrics.values())))
    for name in statistics:
        table.add_column(name, justify="right")
    for metric, values in found.metrics.items():
        cells = [
            f"{value['simulated']:.4g} | {value['measured']:.4g} ({100 * value['error_ratio']:+.2f} %)"
            for value in values.values()
        ]
        table.add_row(metric, *cells)
    console = Console(width=150)
    console.print(table)
    if found.rank_correlation is not None:
        click.echo(f"order of scheduling: rank correlation {found.rank_correlation:.5f}")
    if found.running_mae_ratio is not None:
        click.echo(f"sequences in the batch over time: mean absolute error {100 * found.running_mae_ratio:.2f} %")
    click.echo(
        f"{found.preemptions} preemptions, {100 * found.cached_ratio:.1f} % of prompt tokens found in the prefix cache,"
        f" {100 * found.extrapolated_time_ratio:.2f} % of GPU time priced outside what was measured"
    )
    click.echo(f"profile: {found.profile}")
    for name, text in found.facts.items():
        click.echo(f"{name}: {text}")


@validate.command()
@click.argument("path", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def transfers(path: Path, as_json: bool) -> None:
    """Fit alpha + descriptors x delta + bytes / B to measured transfers, and foretell each row from the others.

    CSV has the columns bytes and seconds, and may have descriptors (pieces posted) and label (rows of one law).
    """
    from simkv.validate import transfers as measured

    found = measured.validate(path)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        _print_fits(found)


def _print_fits(found: Fits) -> None:
    for cell in found.cells:
        per_piece = "" if cell["delta_s"] is None else f" + {1e6 * cell['delta_s']:.3g} us a descriptor"
        rate = "any rate" if cell["bytes_per_s"] is None else f"{cell['bytes_per_s'] / 1e9:.4g} GB/s"
        name = f"{cell['label']}: " if cell["label"] else ""
        click.echo(f"{name}{1e6 * cell['alpha_s']:.4g} us{per_piece} + bytes / {rate} ({cell['n']} rows)")
    summary = found.summary
    told = ", ".join(f"{key} {100 * summary[f'{key}_abs_error_ratio']:.1f} %" for key in ("median", "p95", "max"))
    click.echo(f"each row foretold from the others: error {told}")


def _published(name: str, about: str) -> None:
    """Add the command of one comparison with a published table."""

    @validate.command(name, help=about)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def compare(as_json: bool) -> None:
        from simkv.validate import report

        found = report(name)
        if as_json:
            click.echo(json.dumps(found.to_json(), indent=2, allow_nan=False))
        else:
            _print_report(found)


_published("silicon", "TPOT of measured serving runs against the ready-made profiles; the ideal roofline beside.")
_published("layers", "Times of one layer on H100 and A100 against a table that was composed independently.")
_published("disaggregated", "Transfer and TTFT of vLLM's prefill/decode disaggregation, each from the other lengths.")
_published("pull-or-recompute", "llm-d's times of pulling or recomputing a remote prefix, each from the other lengths.")
_published("cacheblend", "What CacheBlend's loading controller weighs: load and recompute of a layer.")


def _print_report(found: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{found.name}: simulated against published", title_justify="left")
    for column in ("quantity", "published", "simulated", "error", "tolerance", "verdict"):
        table.add_column(column, justify="left" if column == "quantity" else "right", overflow="fold")
    for row in found.rows:
        tolerance = "" if row.tolerance is None else f"{100 * row.tolerance:.0f} %"
        numbers = (f"{row.published:.4g}", f"{row.simulated:.4g}", f"{100 * row.error_ratio:+.1f} %")
        table.add_row(row.quantity, *numbers, tolerance, row.verdict)
    Console(width=150, markup=False).print(table)
    for about, text in found.facts.items():
        click.echo(f"{about}: {text}")
