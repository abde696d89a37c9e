"""A small file of every trace format, written by hand from what its publishers document; none of theirs is copied."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def jsonl(records: Iterable[dict[str, Any]]) -> bytes:
    """Return records as JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records).encode()


HEADER = {
    "format": "simkv.sessions",
    "version": 1,
    "block_tokens": 16,
    "layout": None,
    "block_scope": "session",
    "provenance": {},
}
TURN = {"new_tokens": 5, "answer_tokens": 5, "think_s": 1.0, "gap_kind": "human"}
NATIVE = [
    HEADER,
    {
        "session_id": "r",
        "turns": [TURN | {"block_runs": [[0, 4], [9, 4]]}],
        "shared_prefix": {"key": "k", "blocks": 2},
    },
    {"session_id": "s", "layout": "independent", "chunk_tokens": [32, 32], "turns": [TURN | {"chunks": [1]}, TURN]},
]

MOONCAKE = [
    {"timestamp": 0, "input_length": 1100, "output_length": 3, "hash_ids": [0, 1, 2]},
    {"timestamp": 3000, "input_length": 1100, "output_length": 9, "hash_ids": [0, 1, 9]},
]

_ASKED = {"t": 0, "type": "n", "in": 200, "out": 5, "stop": "tool_use", "hash_runs": [[1, 2], [7, 1]]}
CLAUDE_CODE = [
    {
        **{"id": "one", "block_size": 64, "hash_id_scope": "local", "tool_tokens": 9, "system_tokens": 60},
        "requests": [
            _ASKED,
            {"t": 2.5, "type": "subagent", "agent_id": "a", "requests": [_ASKED]},
            _ASKED | {"t": 9},
        ],
        "dup_group": "g",
    }
]

CANARD = [{"dialog_id": "d", "section": "s", "turns": [{"n": 1, "question": "Who sang?", "answer": "Nobody did"}]}]
MTRAG = [
    {
        **{"conversation_id": "c", "domain": "d", "user_questions": ["Why?"]},
        "turns": [{"n": 1, "question": "Why?", "passages": ["p-0-40"]}],
    }
]
SQUAD = [
    {
        **{"article": 0, "paragraph": 0, "context": "One two three four five."},
        "qas": [{"question": "What comes first?", "answers": [{"text": "One", "answer_start": 0}]}],
    }
]

AZURE = b"""TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:50.9951691,879,0
2023-11-16 18:15:51.2224670,879,55
"""
#: The form of 2024: microseconds and a zone.
AZURE_2024 = b"""TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 23:59:59.999000+00:00,2162,5
2024-05-11 00:00:01+00:00,2399,6
"""

BURSTGPT_OLD = b"""Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
118,GPT-4,417,0,417,API log
119.5,GPT-4,417,276,693,API log
"""
BURSTGPT = b"""Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
100,7,4.5,ChatGPT,40,60,100,Conversation log
103,,2,GPT-4,417,276,693,API log
110,7,5,ChatGPT,130,30,160,Conversation log
111,8,1,ChatGPT,20,0,20,Conversation log
113,7,2,ChatGPT,170,20,190,Conversation log
"""

SHAREGPT = [
    {
        "id": "secretname_0",
        "conversations": [
            {"from": "system", "value": "Be brief, my little owl."},  # 24 characters: 6 tokens
            {"from": "human", "value": "x" * 38},  # 10 tokens
            {"from": "gpt", "value": "y" * 80},  # 20
            {"from": "human", "value": "quetzalcoatlus"},  # 4
            {"from": "gpt", "value": "z" * 5},  # 2
            {"from": "human", "value": "And then?"},
        ],
    },
    {"id": "b", "conversations": [{"from": "gpt", "value": "nobody asked"}]},
    {"id": "c", "conversations": [{"from": "user", "value": 'a, [b] {c} "d" ü'}, {"from": "gpt", "value": "x"}]},
]
SHAREGPT_LENGTHS = [
    {"id": "a", "turns": [["s", 6], ["u", 10], ["a", 20], ["u", 4], ["a", 2], ["u", 3]]},
    {"id": "b", "turns": [["a", 3]]},
    {"id": "c", "turns": [["u", 4], ["a", 1]]},
]

BAILIAN = [
    {
        **{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 40, "output_length": 30},
        **{"type": "text", "turn": 1, "hash_ids": [0, 1, 2]},
    },
    {
        **{"chat_id": 2, "parent_chat_id": -1, "timestamp": 1.0, "input_length": 32, "output_length": 8},
        **{"type": "search", "turn": 1, "hash_ids": [0, 5]},
    },
    {
        **{"chat_id": 3, "parent_chat_id": 1, "timestamp": 61.25, "input_length": 90, "output_length": 9},
        **{"type": "text", "turn": 2, "hash_ids": [0, 1, 6, 7, 8, 9]},
    },
    {
        **{"chat_id": 4, "parent_chat_id": 1, "timestamp": 70.25, "input_length": 48, "output_length": 9},
        **{"type": "text", "turn": 2, "hash_ids": [0, 1, 10]},
    },
    {
        **{"chat_id": 6, "parent_chat_id": 5, "timestamp": 71.0, "input_length": 15, "output_length": 0},
        **{"type": "file", "turn": 9, "hash_ids": [11]},
    },
]

_SYSTEM = {"role": "system", "content": "You are a careful clerk of the harbour office. " * 4}
_QUESTION = {"role": "user", "content": "When does the zeppelin leave?"}
OPENAI_LOG = [
    {
        **{"id": "chatcmpl-secret", "created": 1_700_000_060, "model": "m", "messages": [_SYSTEM, _QUESTION]},
        "usage": {"prompt_tokens": 60, "completion_tokens": 12, "total_tokens": 72},
    },
    {
        **{"created": 1_700_000_000.5, "messages": [_SYSTEM, {"role": "user", "content": "Hello"}]},
        "choices": [{"message": {"role": "assistant", "content": "w" * 30}}],
    },
    {
        "created": 1_700_000_090,
        "messages": [_SYSTEM, _QUESTION, {"role": "assistant", "content": "At dusk."}, _QUESTION],
        "usage": {"prompt_tokens": 80, "completion_tokens": 3},
    },
    {"created": 1_700_000_095, "messages": [_QUESTION], "error": {"message": "rate limit"}},
]
OPENAI_BATCH_INPUT = [
    {
        **{"custom_id": "r1", "method": "POST", "url": "/v1/chat/completions"},
        "body": {"model": "m", "messages": [_SYSTEM, _QUESTION]},
    }
]
OPENAI_BATCH_OUTPUT = [
    {
        **{"id": "b1", "custom_id": "r1", "error": None},
        "response": {
            "status_code": 200,
            "body": {"created": 5, "choices": [], "usage": {"prompt_tokens": 60, "completion_tokens": 12}},
        },
    },
    {"id": "b2", "custom_id": "r2", "error": None, "response": {"status_code": 429, "body": {"error": {}}}},
]


def measured(start_s: float, end_s: float, tokens: int, answer: int, **metadata: Any) -> dict[str, Any]:
    """Return a line of aiperf's per-request export."""
    origin_ns = 1_700_000_000_000_000_000
    return {
        "metadata": {
            "session_num": 0,
            "x_request_id": "r",
            "request_start_ns": origin_ns + round(start_s * 1e9),
            "request_ack_ns": None,
            "request_end_ns": origin_ns + round(end_s * 1e9),
            "benchmark_phase": "profiling",
            "was_cancelled": False,
            **metadata,
        },
        "metrics": {
            "input_sequence_length": {"value": tokens, "unit": "tokens"},
            "output_sequence_length": {"value": answer, "unit": "tokens"},
            "time_to_first_token": {"value": 45.5, "unit": "ms"},
        },
        "error": None,
    }


AIPERF = [
    measured(0, 1, 9, 9, benchmark_phase="warmup"),
    measured(12.0, 14.0, 130, 20, conversation_id="c1", turn_index=0),
    measured(10.0, 15.0, 40, 60, conversation_id="c0", turn_index=0),
    measured(11.0, 16.0, 50, 7, conversation_id="c2", turn_index=0, was_cancelled=True),
    measured(18.5, 19.0, 140, 30, conversation_id="c0", turn_index=1),
    measured(19.0, 20.0, 5, 5, conversation_id="c3", turn_index=0) | {"error": {"code": 500}},
    measured(30.0, 31.0, 44, 6, conversation_id="c0", turn_index=0),
]
AIPERF[0]["metadata"] |= {"conversation_id": "w", "turn_index": 0}
AIPERF[3]["metadata"]["request_end_ns"] = None
AIPERF_OPEN = [measured(12.0, 14.0, 130, 20), measured(10.0, 15.0, 40, 60)]

VLLM_BENCH = {
    **{"date": "20260101-000000", "backend": "vllm", "completed": 2, "mean_ttft_ms": 12.5},
    "input_lens": [100, 32, 7, 8],
    "output_lens": [20, 5, 4, 0],
    "ttfts": [0.01, 0.02, 0.0, 0.0],
    "itls": [[0.01, 0.02], [0.01], [], []],
    "start_times": [1012.5, 1010.0, 1011.0, 1011.0],
    "generated_texts": ["quetzalcoatlus", "b", "c", ""],
    "errors": ["", "", "timed out", ""],
}

REPLAYED = [
    {
        **{"id": 1, "arrival_s": 0.3, "input_tokens": 40, "output_tokens": 2, "block_ids": [1, 5]},
        **{"queued_s": 0.4, "scheduled_s": 0.5, "first_token_s": 0.75, "last_token_s": 1.5},
    },
    {
        **{"id": 0, "arrival_s": 0.0, "input_tokens": 32, "output_tokens": 1, "block_ids": [1, 2]},
        **{"queued_s": 0.0, "scheduled_s": 0.1, "first_token_s": 0.25, "last_token_s": 0.25},
    },
]
REPLAYED_THEIRS = [
    {
        **{"request_id": "0", "arrival_time": 1.7e9, "input_toks": 40, "output_toks": 2},
        **{"queued_ts": 900.5, "scheduled_ts": 900.6, "first_token_ts": 901.0, "last_token_ts": 902.0},
    }
]

LMCACHE = [
    {
        **{"agent": "a", "session_id": "x", "turn": 0, "t_s": 0.0, "input_length": 40, "output_length": 9},
        "hash_runs": [[0, 2]],
    },
    {
        **{"agent": "a", "session_id": "x", "turn": 1, "t_s": 2.5, "input_length": 64, "output_length": 0},
        "hash_runs": [[0, 2], [7, 2]],
    },
    {"agent": "b", "session_id": "y", "turn": 0, "t_s": 0.0, "input_length": 0, "output_length": 1, "hash_runs": []},
    {
        **{"agent": "b", "session_id": "y", "turn": 1, "t_s": 0.5, "input_length": 20, "output_length": 1},
        "hash_runs": [[0, 1]],
    },
]
LMCACHE_TEXT = [
    {"session_id": "x", "timestamp_us": 1_700_000_000_000_000, "input": "a" * 160, "output": "quetzalcoatlus"},
    {"session_id": "x", "timestamp_us": 1_700_000_002_500_000, "input": "a" * 160 + "b" * 96, "output": ""},
    {"session_id": "y", "timestamp_us": 1_700_000_000_000_000, "input": "a" * 64 + "c" * 16, "output": "d"},
]

PLAIN_DIALOGUE = b"""document: The zeppelin leaves at dusk.
It carries quetzalcoatlus feathers.
system: Be brief.
user: When does it leave?
assistant: At dusk.
user: With what?
assistant:
Feathers.
---
user: Hello
assistant: Good day.
"""

#: Of each format, one file.
FILES: dict[str, bytes] = {
    "aiperf": jsonl(AIPERF),
    "azure-llm": AZURE,
    "burstgpt": BURSTGPT,
    "canard": jsonl(CANARD),
    "claude-code": jsonl(CLAUDE_CODE),
    "llmservingsim": jsonl(REPLAYED),
    "lmcache-agents": jsonl(LMCACHE),
    "mooncake": jsonl(MOONCAKE),
    "mtrag": jsonl(MTRAG),
    "openai-log": jsonl(OPENAI_LOG),
    "plain-dialogue": PLAIN_DIALOGUE,
    "qwen-bailian": jsonl(BAILIAN),
    "sharegpt": json.dumps(SHAREGPT, indent=1).encode(),
    "sharegpt-lengths": jsonl(SHAREGPT_LENGTHS),
    "simkv.sessions": jsonl(NATIVE),
    "squad": jsonl(SQUAD),
    "vllm-bench": jsonl([VLLM_BENCH]),
}
#: The same formats in another dress.
OTHER_FILES: dict[str, tuple[str, bytes]] = {
    "azure of 2024": ("azure-llm", AZURE_2024),
    "burstgpt without sessions": ("burstgpt", BURSTGPT_OLD),
    "sharegpt a line": ("sharegpt", jsonl(SHAREGPT)),
    "sharegpt in one line": ("sharegpt", json.dumps(SHAREGPT).encode()),
    "batch output": ("openai-log", jsonl(OPENAI_BATCH_OUTPUT)),
    "aiperf without turns": ("aiperf", jsonl(AIPERF_OPEN)),
    "vllm-bench, indented": ("vllm-bench", json.dumps(VLLM_BENCH, indent=2).encode()),
    "llmservingsim's own names": ("llmservingsim", jsonl(REPLAYED_THEIRS)),
    "lmcache with text": ("lmcache-agents", jsonl(LMCACHE_TEXT)),
}
