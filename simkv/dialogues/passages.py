"""Where in which document is a passage, by its id? Answers in text: which chunk do they touch?"""

from __future__ import annotations

import re

from simkv.dialogues.question import Query, Span
from simkv.workload.readers.fields import shown_text

#: Document, perhaps the passage of the document, offsets of the window.
_MTRAG = re.compile(r"^(.*?)(?:_(\d+)-(\d+))?-(\d+)-(\d+)$")


def span_of(passage: str) -> Span:
    """Return which characters of which document an MTRAG passage id names.

    Examples
    --------
    >>> span_of("822086267_7384-8758-0-1374"), span_of("ibmcld_02855-7-2041")
    (Span(document='822086267', start=7384, end=8758), Span(document='ibmcld_02855', start=7, end=2041))
    """
    found = _MTRAG.match(passage)
    if found is None:
        raise ValueError(f"passage id: want DOCUMENT-START-END, got {passage!r}")
    document, outer_start, outer_end, start, end = found.groups()
    if outer_start is not None:
        origin = int(outer_start)
        return Span(document, origin + int(start), min(int(outer_end), origin + int(end)))
    return Span(document, int(start), int(end))


def answered_at(document: str, text: str, chunks: int, start: int, answer: str, question: str) -> Query:
    """Return a query that is answered by a place in a text, cut into equal chunks of characters.

    Examples
    --------
    >>> answered_at("p", "0123456789", 5, 3, "34", "Where?").pieces
    (1, 2)
    """
    end = start + len(answer)
    if not answer or text[start:end] != answer:
        wanted = f"{shown_text(answer)} there" if answer else "an answer that is not empty"
        raise ValueError(f"want {wanted}, found {shown_text(text[start:end])} at {start} of the text")
    first, last = start * chunks // len(text), (end - 1) * chunks // len(text)
    touched = tuple(range(first, last + 1))
    return Query(
        item=first,
        pieces=touched,
        documents=(document,) * len(touched),
        spans=(Span(document, start, end),),
        question=question,
        heard=f"{question} {answer}",
    )
