"""`simkv trace predictability`: parses, calls, prints. Apart from `cli.py` for its length alone."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(short_help="Tell how predictable the next question of a dialogue set is.")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--format", "name", metavar="NAME", help="Format of the set.  [default: told from its first record]")
@click.option("--chunks", type=click.IntRange(min=1), help="Equal chunks of a text that answers have places in.")
@click.option("--shuffles", type=click.IntRange(min=2), default=20, show_default=True, help="Random orders.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of shuffles and bootstrap.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the predictors (.png, .svg or .pdf).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predictability(
    dataset: Path, *, name: str | None, chunks: int | None, shuffles: int, seed: int, plot: Path | None, as_json: bool
) -> None:
    """Tell how predictable the next question of DATASET is, a public dialogue set or a trace.

    Scores every predictor against popularity and against dialogues in random order, and says what simple prefetch
    policies would hit, how far needs overlap, and how well gaps can be told. What a set cannot answer is "n/a" with
    the reason.
    """
    from simkv.predictability import predictability as measured
    from simkv.report import predictability as report
    from simkv.report import predictability_figure as figure

    if plot is not None:
        figure.check_target(plot)
    told = measured(dataset, name, chunks, seed, shuffles)
    if plot is not None:
        figure.save(told, plot)
        click.echo(f"drawn to {plot}", err=True)
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(report.to_text(told), nl=False)
