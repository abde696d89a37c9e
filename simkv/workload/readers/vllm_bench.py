"""What `vllm bench serve --save-result --save-detailed` writes: one JSON object of arrays, a place a request.

Arrays are in seconds; the summary beside them, in milliseconds, is not read, nor are the texts. Requests have neither
sessions nor prefixes: open loop, each with content of its own. What failed or has no answer is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from simkv.request import Session, TraceHeader, Turn
from simkv.workload.readers import fields
from simkv.workload.readers.blocks import BLOCK_TOKENS, check_form
from simkv.workload.readers.question import ASSUMED, FORMATS
from simkv.workload.readers.records import Record
from simkv.workload.readers.timed import Timed, sessions_in_order


@FORMATS.register("vllm-bench")
@dataclass
class VllmBenchFormat:
    """Detailed results of vLLM's serving benchmark: start, input and output length of each request; failures left out.

    Attributes
    ----------
    block_tokens : [tokens] a block when the trace is played; it has none of its own.

    Source: github.com/vllm-project/vllm, vllm/benchmarks/serve.py.
    """

    block_tokens: int = BLOCK_TOKENS
    left_out: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        check_form(self.block_tokens)

    def recognises(self, first: dict[str, Any]) -> bool:
        """Return whether it has the arrays of lengths."""
        return "input_lens" in first and "output_lens" in first

    def header(self, first: dict[str, Any]) -> TraceHeader:
        """Return what is true of every trace of this format."""
        provenance: dict[str, object] = {
            "format": "vllm-bench",
            "time_unit": "s, on the benchmark's clock; starts count from the first request",
            ASSUMED: [
                "every prompt has content of its own: the results tell no prefixes",
                f"blocks of {self.block_tokens} tokens",
            ],
        }
        return TraceHeader(self.block_tokens, None, "global", has_sessions=False, provenance=provenance)

    def sessions(self, records: Iterable[Record]) -> Iterator[Session]:
        """Yield each request that was answered, in order of its start."""
        found: list[Timed] = []
        for place, (_, record) in enumerate(records):
            if place:
                raise ValueError("a second result; want one run a file (not --append-result)")
            found.extend(self._requests(record))
        yield from sessions_in_order(found)

    def _requests(self, record: dict[str, Any]) -> Iterator[Timed]:
        if "start_times" not in record:
            raise ValueError("start_times is missing, so nothing tells when requests came; want a newer vLLM's results")
        inputs, outputs, starts = (
            fields.items(record.get(name), name, "numbers") for name in ("input_lens", "output_lens", "start_times")
        )
        errors = fields.items(record.get("errors", []), "errors", "texts")
        counts = {"output_lens": len(outputs), "start_times": len(starts), "errors": len(errors) or len(inputs)}
        for name, count in counts.items():
            if count != len(inputs):
                raise ValueError(f"{name}: want {len(inputs)} as there are input_lens, got {count}")
        for index, (tokens, answer, start) in enumerate(zip(inputs, outputs, starts, strict=True)):
            at_s = fields.seconds(start, f"start_times[{index}]")
            answer_tokens = fields.whole(answer, f"output_lens[{index}]")
            input_tokens = fields.whole(tokens, f"input_lens[{index}]")
            if (errors and errors[index]) or not answer_tokens or not input_tokens:
                self.left_out["failed_requests"] += 1
                continue
            yield Timed(at_s, index, Turn(input_tokens, answer_tokens))
