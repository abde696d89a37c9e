"""How predictable is the next question? Every measure that a data set can answer, and of every other why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simkv.dialogues import read_dialogues
from simkv.predictability.blocks import prefix_reuse
from simkv.predictability.follow import Sees
from simkv.predictability.gaps import gaps
from simkv.predictability.next_item import asked_of, next_item
from simkv.predictability.overlap import order, overlap
from simkv.predictability.prefetching import prefetching
from simkv.predictability.reuse import reuse
from simkv.predictability.words import words

SCHEMA_VERSION = 1
SHUFFLES = 20


def predictability(
    path: Path | str, format: str | None = None, chunks: int | None = None, seed: int = 1, shuffles: int = SHUFFLES
) -> dict[str, Any]:
    """Return all measures of a data set as plain data; {"n/a": reason} where it cannot answer.

    Parameters
    ----------
    path : a public dialogue set or a trace; plain, gzip or xz.
    format : its name; None = told from the first object.
    chunks : equal chunks that a text is cut into, where answers have positions; None = the format's default.
    seed : of shuffles and bootstrap; equal seeds give equal results.
    shuffles : random orders of each dialogue.

    Raises
    ------
    InputError : with file and line, what was found and what is wanted.

    Examples
    --------
    >>> import json, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.jsonl"
    >>> calls = [{"tool_calls": [{"function": {"name": name}}]} for name in "abababab"]
    >>> _ = path.write_text(chr(10).join(json.dumps({"task_id": task, "traj": calls}) for task in range(8)))
    >>> predictability(path)["next_item"]["two_fold"]["bigram"]["top1"]["value"]
    1.0
    """
    found = read_dialogues(Path(path), format, chunks)
    kind = found.about.kind
    sees: Sees = "names" if kind == "category" else "moves"
    told_next = next_item(found, seed, shuffles)
    return {
        "schema_version": SCHEMA_VERSION,
        "file": found.path.name,
        "format": found.format,
        "seed": seed,
        "item": found.about.item,
        "kind": kind,
        "dialogues": sum(bool(dialogue.queries) for dialogue in found.dialogues),
        "queries": sum(len(dialogue.queries) for dialogue in found.dialogues),
        "next_item": told_next,
        "prefetch": prefetching(asked_of(found), sees, seed) if "n/a" not in told_next else told_next,
        "order": order(found.dialogues, seed, shuffles),
        "overlap": overlap(found.dialogues, seed, shuffles),
        "reuse": reuse(found.dialogues, seed),
        "words": words(found.dialogues, seed, shuffles),
        "prefix_reuse": prefix_reuse(found.dialogues, found.about.block_scope, seed),
        "gaps": gaps(found.dialogues, seed),
    }
