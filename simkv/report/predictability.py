"""What `simkv trace predictability` prints: plain text, at most 120 columns, each number with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simkv.report.layout import grid, number

_NEXT = "Next item, % of steps [95 % over dialogues]; shuffled: mean over {shuffles} random orders"
_PREFETCH = "Prefetch by {predictor} on {sees}, everything in time, a buffer without end; items asked before are there"


def to_text(told: Mapping[str, Any]) -> str:
    """Return all measures of one data set as text for a terminal or a page.

    Parameters
    ----------
    told : what `simkv.predictability.predictability` returns.
    """
    lines = [
        f"{told['file']} ({told['format']}): {told['dialogues']:,} dialogues, {told['queries']:,} queries",
        f"item: {told['item']}",
        "",
        *_next_item(told["next_item"]),
        *_prefetch(told["prefetch"]),
        *_rest(told),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def percent(share: Mapping[str, Any]) -> str:
    """Return a share in percent with its interval.

    Examples
    --------
    >>> percent({"value": 0.5, "ci95": [0.25, 0.75]}), percent({"value": None, "ci95": None})
    ('50.0 [25.0, 75.0]', '-')
    """
    return _interval(share, 100, 1)


def _interval(estimate: Mapping[str, Any], factor: float, digits: int) -> str:
    value, ends = estimate["value"], estimate["ci95"]
    if value is None:
        return number(None, digits)
    text = number(value * factor, digits)
    return text if not ends else f"{text} [{number(ends[0] * factor, digits)}, {number(ends[1] * factor, digits)}]"


def _next_item(told: Mapping[str, Any]) -> Iterator[str]:
    if "n/a" in told:
        yield f"next item: n/a: {told['n/a']}"
        return
    folded = told["two_fold"]
    yield (
        f"{told['steps']:,} steps, {told['distinct_items']:,} different items; {100 * told['new_items']:.1f} % of steps"
        " go to an item new to the dialogue"
    )
    yield ""
    yield _NEXT.format(shuffles=folded["bigram"]["shuffled"]["shuffles"])
    rows = [("most frequent, 2-fold", folded["sees"], folded["most_frequent"])]
    rows += [("bigram, 2-fold", folded["sees"], folded["bigram"])]
    grouped = told["two_fold_by_group"]
    if "n/a" not in grouped:
        rows += [("bigram, 2-fold by group", grouped["sees"], grouped["bigram"])]
    rows += [(row["predictor"], row["sees"], row) for row in told["prequential"]]
    yield from grid(
        {
            "predictor": [name for name, _, _ in rows],
            "sees": [sees for _, sees, _ in rows],
            "top-1": [percent(row["top1"]) for _, _, row in rows],
            "shuffled": [_shuffled(row, "top1") for _, _, row in rows],
            "top-3": [percent(row["top3"]) for _, _, row in rows],
            "shuffled ": [_shuffled(row, "top3") for _, _, row in rows],
            "Brier": [_plain(row, "brier") for _, _, row in rows],
            "log, nats": [_plain(row, "log_score_nats") for _, _, row in rows],
            "ECE": [number(row.get("ece"), 3) for _, _, row in rows],
        }
    )
    if told["silent"]:
        yield f"said nothing, for want of what they need: {', '.join(told['silent'])}"
    yield ""


def _shuffled(row: Mapping[str, Any], top: str) -> str:
    value = row["shuffled"][top]["value"] if "shuffled" in row else None
    return number(None if value is None else 100 * value, 1)


def _plain(row: Mapping[str, Any], score: str) -> str:
    return number(row[score]["value"] if score in row else None, 3)


def _prefetch(told: Mapping[str, Any]) -> Iterator[str]:
    if "n/a" in told:
        return  # said above
    yield _PREFETCH.format(**told)
    known = {name: row for name, row in told["policies"].items() if "n/a" not in row}
    yield from grid(
        {
            "policy": list(known),
            "names the next, %": [percent(row["named_next"]) for row in known.values()],
            "coverage, %": [percent(row["coverage"]) for row in known.values()],
            "accuracy, %": [percent(row["accuracy"]) for row in known.values()],
            "moved": [f"{row['moved']:,}" for row in known.values()],
            "wasted per hit": [number(row["wasted_per_hit"], 2) for row in known.values()],
        }
    )
    for name, row in told["policies"].items():
        if "n/a" in row:
            yield f"{name}: n/a: {row['n/a']}"
    yield ""


def _rest(told: Mapping[str, Any]) -> Iterator[str]:
    yield _line("next answer starts at or after the previous", told["order"], _order)
    for unit in ("chunks", "characters"):
        yield _line(f"overlap of consecutive queries in {unit}", told["overlap"][unit], _overlap)
    yield _line("needed earlier in the dialogue", told["reuse"], _reuse)
    yield _line("content words of the next question", told["words"], _words)
    yield _line("KV blocks", told["prefix_reuse"], _blocks)
    for stratum, row in told["prefix_reuse"].get("by", {}).items():
        yield _line(f"KV blocks, {stratum}", row, _blocks)
    if "n/a" in told["gaps"]:
        yield _line("gaps", told["gaps"], str)
    else:
        for kind, row in told["gaps"].items():
            yield _line(f"gaps, {kind}", row, _gaps)


def _line(name: str, told: Mapping[str, Any], say: Any) -> str:
    return f"{name}: n/a: {told['n/a']}" if "n/a" in told else f"{name}: {say(told)}"


def _against(share: Mapping[str, Any]) -> str:
    return f"{percent(share)} %, shuffled {number(100 * share['shuffled']['value'], 1)} %"


def _order(told: Mapping[str, Any]) -> str:
    return _against(told["at_or_after"])


def _overlap(told: Mapping[str, Any]) -> str:
    return (
        f"Jaccard {_against(told['jaccard'])};\n"
        f"    of what the next needs {_against(told['of_next'])}; any {_against(told['any'])}"
    )


def _reuse(told: Mapping[str, Any]) -> str:
    return (
        f"{percent(told['same_piece'])} % of {told['pieces']:,} pieces; from a document used earlier"
        f" {percent(told['same_document'])} %"
    )


def _words(told: Mapping[str, Any]) -> str:
    return (
        f"in the turn before {_against(told['in_previous_turn'])};\n    in any before {percent(told['in_history'])} %"
        f" ({told['questions']:,} questions)"
    )


def _blocks(told: Mapping[str, Any]) -> str:
    text = f"{percent(told['seen_before'])} % of {told['references']:,} references seen before"
    if "n/a" in told["from_previous"]:
        return f"{text}; from the request before: n/a: {told['from_previous']['n/a']}"
    return (
        f"{text};\n    {percent(told['from_previous'])} % lead on from the request before;"
        f" {percent(told['drops'])} % of requests drop a tenth of it or more"
    )


def _gaps(told: Mapping[str, Any]) -> str:
    scores = ", ".join(f"{name.replace('_', ' ')} {number(row['value'], 1)}" for name, row in told["crps_s"].items())
    return f"{told['gaps']:,}, p50 {told['p50_s']:.1f} s, p90 {told['p90_s']:.1f} s;\n    CRPS in s: {scores}"
