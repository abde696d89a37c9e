"""`simkv trace mrc`: parses, calls, prints."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import json
from pathlib import Path

import click

from simkv.remote import local


@click.command()
@click.argument("path", metavar="TRACE", type=local)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME[:PARAMETER=VALUE]",
    help="An eviction policy; may be repeated, or several after commas.  [default: belady, fifo, lfu, lru]",
)
@click.option(
    "--blocks",
    "sizes",
    multiple=True,
    metavar="N",
    help="Room in blocks; may be repeated, or several after commas.  [default: 1, 2, 5, 10, 20, ...]",
)
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How many requests, from the first on, are replayed but not counted.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curves to this file (.png, .pdf, .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def mrc(
    path: Path, policies: tuple[str, ...], sizes: tuple[str, ...], warmup: int, plot: Path | None, as_json: bool
) -> None:
    """Count the hits of eviction policies on TRACE by buffer size (miss-ratio curves), without any timing.

    Every block that a prompt names is accessed, root to leaf, the partly filled last one included where the trace
    names it. Sessions without a recorded start are replayed one after another. Each policy is also given unlimited
    room.
    """
    from simkv.mrc import DEFAULT_POLICIES, hit_counts
    from simkv.report import hit_curves

    names = [name for given in policies for name in given.split(",")] or DEFAULT_POLICIES
    if plot is not None:
        _check_drawable(plot)
    counts = hit_counts(path, list(dict.fromkeys(names)), _whole(sizes), warmup)
    if plot is not None:
        hit_curves.figure(counts).savefig(plot)
    if as_json:
        click.echo(json.dumps(counts.to_json(), indent=2))
    else:
        click.echo(hit_curves.to_text(counts), nl=False)


def _whole(texts: tuple[str, ...]) -> list[int] | None:
    """Return the sizes that stand in the options; None where there are none."""
    found = []
    for text in (word.strip() for given in texts for word in given.split(",")):
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise click.UsageError(f"--blocks wants whole numbers of at least 1, got {text!r}")
        found.append(int(text))
    return found or None


def _check_drawable(plot: Path) -> None:
    """Refuse what cannot be drawn before any time is spent."""
    if plot.suffix not in (".png", ".pdf", ".svg"):
        raise click.UsageError(f"--plot wants a name that ends in .png, .pdf or .svg, got {plot.name!r}")
    if not plot.parent.is_dir():
        raise click.UsageError(f"--plot: there is no folder {plot.parent}")
