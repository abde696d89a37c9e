"""What does the holder of KV do about what a query lacks? Promote what is under way; begin to send the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simkv.jobs import Job, Query
from simkv.kv.block import Run
from simkv.network.link import Traffic
from simkv.policies.prefetch.question import Kind

if TYPE_CHECKING:
    from simkv.sending import Source


def answer(source: Source, query: Query) -> None:
    """Let a source send what a query lacks, as text and as KV."""
    _send_text(source, query)
    if source.gpu is None:
        _send_stored(source, query)
    else:
        _send_computed(source, query)


def _send_computed(source: Source, query: Query) -> None:
    prompt = query.prompt
    for index, run in query.kv:
        chain = prompt.chain(index)
        for gap in _promote_outstanding(source, query, run, "kv"):
            source.begin(Job(query, [gap], chain, "kv", payload_bytes=source.kv_bytes(query, chain[-1], gap)))


def _send_text(source: Source, query: Query) -> None:
    for index, run in query.texts:
        part = query.prompt.parts[index]
        for gap in _promote_outstanding(source, query, run, "text"):
            source.begin(Job(query, [gap], (part,), "text", payload_bytes=source.text_bytes(part, gap)))


def _send_stored(source: Source, query: Query) -> None:
    """Send the front of what is wanted that is stored here; say so for the rest (semantics B4)."""
    ready: list[Run] = []
    unavailable: list[Run] = []
    payload_bytes = 0
    for index, run in query.kv:
        for gap in _promote_outstanding(source, query, run, "kv"):
            count = 0 if unavailable and query.prompt.chained else source.buffer.leading(gap)
            if count:
                ready.append(Run(gap.start, count))
                payload_bytes += source.kv_bytes(query, query.prompt.parts[index], ready[-1])
            if count < gap.count:
                unavailable.append(Run(gap.start + count, gap.count - count))
    if ready:
        source.begin(Job(query, ready, (), "kv", payload_bytes=payload_bytes))
    if unavailable:
        receiver, conversation = query.receiver, query.conversation
        source.tell(receiver, Traffic.DEMAND, lambda: receiver.unavailable(conversation, unavailable))


def _promote_outstanding(source: Source, query: Query, run: Run, kind: Kind) -> list[Run]:
    """Promote what is under way; return the parts of `run` that are not."""
    outstanding = source.outstanding(query.receiver)
    made = outstanding.of("compute", run) if kind == "kv" else []
    for job in (*made, *outstanding.of(kind, run)):
        if job.landed and job.received <= query.received:  # it came, and was gone again when this was asked
            source.forget(job)
        else:
            source.promote(job, query.on_late)
    return outstanding.lacks(kind, run)
