"""`simkv validate`: what others measured, and what simkv says."""

# ruff: noqa: PLC0415 - each command imports what it needs, so that the others start fast

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
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
