"""Where do the generators' default numbers come from? Measures them from the public data sets.

Usage: python traces/measure.py DATA

DATA is a folder that holds squad_xquad_en, quac_canard, sgd_dev_test, mtrag, tau_bench_airline, lmcache_agent_traces,
claude_code_traces and bandwidth_irish_5g. Prints every number, one a line, with how many observations it rests on.
docs/data.md says what the numbers mean.
"""

from __future__ import annotations

import csv
import itertools
import json
import lzma
import math
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simkv.workload.readers.text import TOKENS_PER_WORD, content_words

#: Equal chunks that each paragraph is split into: as many as it has questions (median 5), so that, as in the
#: generated conversations, reader and document advance together.
CHUNKS = 5
#: [Mbit/s] A rate below this is an outage; hardly any sample lies between 0.01 and 0.1.
OUTAGE_MBPS = 0.1
#: A tool is a step of the workflow from so many calls on, and one step follows another from so many times on.
LEAST_CALLS, LEAST_EDGE = 20, 3
DECILES = [tenth / 10 for tenth in range(1, 10)]


def _records(path: Path) -> Iterator[Any]:
    with lzma.open(path, "rt", encoding="utf8") as file:
        for line in file:
            yield json.loads(line)


def reading_order(data: Path) -> dict[str, float]:
    """Measure how questions move through a paragraph, in equal chunks of its characters."""
    steps: Counter[str] = Counter()
    firsts: Counter[bool] = Counter()
    ahead: Counter[bool] = Counter()
    skips: Counter[bool] = Counter()
    for paragraph in _records(data / "squad_xquad_en" / "paragraphs_shared.jsonl.xz"):
        length = len(paragraph["context"])
        chunks = [question["answers"][0]["answer_start"] * CHUNKS // length for question in paragraph["qas"]]
        firsts[chunks[0] == 0] += 1
        for here, there in itertools.pairwise(chunks):
            if here == CHUNKS - 1:
                continue  # nothing is next: such steps would bias the shares
            kind = "stay" if there == here else "next" if there == here + 1 else "jump"
            steps[kind] += 1
            if kind == "jump" and 0 < here < CHUNKS - 2:  # both directions are open
                ahead[there > here] += 1
            if there > here + 1:
                skips[True] += there - here - 2  # chunks passed beyond the next one
                skips[False] += there < CHUNKS - 1  # stopped, though another could have been passed
    return {
        "stay_ratio": steps["stay"] / steps.total(),
        "next_ratio": steps["next"] / steps.total(),
        "steps": steps.total(),
        "jump_forward_ratio": ahead[True] / ahead.total(),
        "jumps": ahead.total(),
        "skip_ratio": skips[True] / skips.total(),
        "skips": skips.total(),
        "first_chunk_ratio": firsts[True] / firsts.total(),
        "paragraphs": firsts.total(),
    }


def word_sources(data: Path) -> dict[str, float]:
    """Measure where the content words of a question stand: in the chunk of its answer, elsewhere in the paragraph."""
    found: Counter[str] = Counter()
    for paragraph in _records(data / "squad_xquad_en" / "paragraphs_shared.jsonl.xz"):
        text, length = paragraph["context"], len(paragraph["context"])
        everywhere = set(content_words(text))
        chunks = [set(content_words(text[at * length // CHUNKS : (at + 1) * length // CHUNKS])) for at in range(CHUNKS)]
        for question in paragraph["qas"]:
            own = chunks[question["answers"][0]["answer_start"] * CHUNKS // length]
            for word in content_words(question["question"]):
                found["own" if word in own else "topic" if word in everywhere else "neither"] += 1
    return {
        "chunk_word_ratio": found["own"] / found.total(),
        "topic_word_ratio": found["topic"] / found.total(),
        "words": found.total(),
    }


def echoes(data: Path) -> dict[str, float]:
    """Measure how many content words of a question were said before, as typed and as rewritten to stand alone."""
    numbers: dict[str, float] = {}
    for form in ("question", "rewrite"):
        words: list[tuple[bool, bool]] = []
        questions = 0
        for dialogue in _records(data / "quac_canard" / "dialogs_shared.jsonl.xz"):
            said, last = set(content_words(dialogue["title"])), None
            for turn in dialogue["turns"]:
                asked = content_words(turn[form])
                if last is not None:
                    questions += 1
                    words += [(word in last, word in said) for word in asked]
                last = {*content_words(turn["question"]), *content_words(turn["answer"] or "")}
                said |= last
        numbers |= {
            f"{form}_echo_ratio": sum(last for last, _ in words) / len(words),
            f"{form}_history_ratio": sum(said for _, said in words) / len(words),
            f"{form}_content_words_mean": len(words) / questions,
            f"{form}_content_words": len(words),
        }
    return numbers


def topics(data: Path) -> dict[str, float]:
    """Measure how often a user of several services goes on with the same one."""
    stays: Counter[bool] = Counter()
    for dialogue in _records(data / "sgd_dev_test" / "dialogs_shared.jsonl.xz"):
        services = [turn["svc"][-1:] for turn in dialogue["turns"] if turn["s"] == "U"]  # the last one named
        for before, after in itertools.pairwise(services):
            stays[before == after] += 1
    return {"topic_stay_ratio": stays[True] / stays.total(), "user_turns": stays.total()}


def passages(data: Path) -> dict[str, float]:
    """Measure how often a passage that a turn needs, or its document, was needed by an earlier turn."""
    again: list[tuple[bool, bool]] = []
    distinct: list[int] = []
    for conversation in _records(data / "mtrag" / "human_retrieval_shared.jsonl.xz"):
        seen: set[str] = set()
        documents: set[str] = set()
        for index, turn in enumerate(conversation["turns"]):
            named = {name: name.rsplit("-", 2)[0] for name in turn["passages"]}  # without start and end
            if index:
                again += [(name in seen, document in documents) for name, document in named.items()]
            seen.update(named)
            documents.update(named.values())
        distinct.append(len(seen))
    answers = [
        len(text.split())
        for task in _records(data / "mtrag" / "un_reference_tasks_shared.jsonl.xz")
        for text in (
            *(said["text"] for said in task["input"] if said["speaker"] == "agent"),
            *(target["text"] for target in task["targets"]),
        )
    ]
    return {
        "mtrag_answer_tokens_mean": statistics.fmean(answers) * TOKENS_PER_WORD,
        "mtrag_answers": len(answers),
        "repeat_ratio": sum(passage for passage, _ in again) / len(again),
        "document_ratio": sum(document for _, document in again) / len(again),
        "passages": len(again),
        "distinct_passages_mean": statistics.fmean(distinct),
        "conversations": len(distinct),
    }


def workflow(data: Path) -> dict[str, Any]:
    """Count which tool an agent calls after which, as the edges of a graph; what follows no edge ends."""
    calls: list[list[str]] = []
    for trajectory in _records(data / "tau_bench_airline" / "trajectories_shared.jsonl.xz"):
        tools = [call["function"]["name"] for turn in trajectory["traj"] for call in turn.get("tool_calls") or ()]
        calls.append(tools)
    counts = Counter(itertools.chain.from_iterable(calls))
    frequent = {tool for tool, count in counts.items() if count >= LEAST_CALLS}
    edges: Counter[tuple[str, str]] = Counter()
    most_rounds = 0
    for tools in calls:
        kept = [tool for tool in tools if tool in frequent]
        if kept:
            edges.update(itertools.pairwise(["start", *kept, "end"]))
            most_rounds = max(most_rounds, *Counter(kept).values())
    kept_edges = {edge: count for edge, count in edges.items() if count >= LEAST_EDGE}
    totals: Counter[str] = Counter()
    for (before, _), count in kept_edges.items():
        totals[before] += count
    ordered = sorted(
        kept_edges, key=lambda edge: (edge[0] != "start", -counts[edge[0]], edge[0], -kept_edges[edge], edge)
    )
    graph = tuple(f"{a}->{b}:{kept_edges[a, b] / totals[a]:.3f}" for a, b in ordered if b != "end")
    return {"graph": graph, "trajectories": len(calls), "calls": sum(counts.values()), "most_rounds": most_rounds}


def agent_lengths(data: Path) -> dict[str, Any]:
    """Measure prompts and answers of the agents of a team, in tokens."""
    path = data / "lmcache_agent_traces" / "requests_blocks16_shared.jsonl.xz"
    requests = [request for request in _records(path) if request["agent"] == "magagent"]
    median_tokens, sigma = fit_log_normal([request["output_length"] for request in requests])
    return {
        "chunk_tokens": statistics.fmean(request["input_length"] for request in requests),
        "answer_tokens_median": median_tokens,
        "answer_tokens_sigma": sigma,
        "requests": len(requests),
    }


def lengths(data: Path) -> dict[str, Any]:
    """Measure questions and answers in words, and convert their means to tokens."""
    questions: list[int] = []
    answers: list[int] = []
    for dialogue in _records(data / "quac_canard" / "dialogs_shared.jsonl.xz"):
        for turn in dialogue["turns"]:
            questions.append(len(turn["question"].split()))
            if turn["answer"]:
                answers.append(len(turn["answer"].split()))
    return {
        "question_words": _table(questions),
        "question_tokens_mean": statistics.fmean(questions) * TOKENS_PER_WORD,
        "questions": len(questions),
        "answer_words": _table(answers),
        "answer_tokens_mean": statistics.fmean(answers) * TOKENS_PER_WORD,
        "answers": len(answers),
    }


def _table(words: list[int]) -> tuple[int, ...]:
    """Return least, nine deciles and greatest, in whole words."""
    inner = statistics.quantiles(words, n=10, method="inclusive")
    return (min(words), *(round(value) for value in inner), max(words))


def think_times(data: Path) -> dict[str, float]:
    """Fit log-normals to the gaps after tool calls and to all other gaps, each by itself.

    The fit is the least-squares line through the nine deciles of ln(gap) against the normal's. Gaps of 0 (recorded
    in whole seconds) and absent ones are left out; so are sub-agents and all but the first session of a group.
    """
    gaps: dict[str, list[float]] = {"tool": [], "human": []}
    groups: set[str] = set()
    for session in _records(data / "claude_code_traces" / "sessions_shared.jsonl.xz"):
        if session["dup_group"] in groups:
            continue
        groups.add(session["dup_group"])
        own = [request for request in session["requests"] if request["type"] != "subagent"]
        for before, request in itertools.pairwise(own):
            if request.get("think_time", 0) > 0:
                gaps["tool" if before["stop"] == "tool_use" else "human"].append(request["think_time"])
    found: dict[str, float] = {}
    for kind, values in gaps.items():
        median_s, sigma = fit_log_normal(values)
        found |= {f"{kind}_think_median_s": median_s, f"{kind}_think_sigma": sigma, f"{kind}_gaps": len(values)}
    return found


def edits(data: Path) -> dict[str, float]:
    """Measure how often a request drops blocks of the one before it, of the same agent; forks are counted once."""
    seen: set[str] = set()
    dropped: Counter[str] = Counter()
    for session in _records(data / "claude_code_traces" / "sessions_shared.jsonl.xz"):
        if session.get("dup_group") in seen:
            continue
        seen.add(session.get("dup_group"))
        nested = [entry for entry in session["requests"] if entry["type"] == "subagent"]
        own = [entry for entry in session["requests"] if entry["type"] != "subagent"]
        for requests in [own, *(entry["requests"] for entry in nested)]:
            for before, after in itertools.pairwise(requests):
                blocks = sum(count for _, count in before["hash_runs"])
                share = 1 - _common_blocks(before["hash_runs"], after["hash_runs"]) / blocks if blocks else 0.0
                dropped.update({"pairs": 1, "any": share > 0, "tenth": share > 0.1})
    return {
        "edit_pairs": dropped["pairs"],
        "edit_ratio": dropped["tenth"] / dropped["pairs"],
        "edit_ratio_any_block": dropped["any"] / dropped["pairs"],
    }


def _common_blocks(before: list[list[int]], after: list[list[int]]) -> int:
    """Return how many blocks two prompts have in common at their front."""
    common = 0
    for (start, count), (other_start, other_count) in zip(before, after, strict=False):
        if start != other_start:
            break
        common += min(count, other_count)
        if count != other_count:
            break
    return common


def fit_log_normal(values: list[float]) -> tuple[float, float]:
    """Return median and sigma of the log-normal whose deciles lie closest, in the logarithm."""
    logs = [math.log(value) for value in statistics.quantiles(values, n=10, method="inclusive")]
    line = statistics.linear_regression([statistics.NormalDist().inv_cdf(share) for share in DECILES], logs)
    return math.exp(line.intercept), line.slope


def capacity(data: Path) -> dict[str, float]:
    """Fit the log-AR(1) with outages to the downloads in 5G and LTE, one sample a second."""
    logs: list[float] = []
    pairs: list[tuple[float, float]] = []
    turns: Counter[tuple[bool, bool]] = Counter()
    peak_mbps = 0.0
    for samples in _downloads(data).values():
        for time_s, mbps in samples.items():
            peak_mbps = max(peak_mbps, mbps)
            is_outage = mbps < OUTAGE_MBPS
            if not is_outage:
                logs.append(math.log(mbps))
            after = samples.get(time_s + 1)
            if after is None:
                continue
            turns[is_outage, after < OUTAGE_MBPS] += 1
            if not is_outage and after >= OUTAGE_MBPS:
                pairs.append((math.log(mbps), math.log(after)))
    return {
        "median_bps": math.exp(statistics.median(logs)) * 1e6,
        "sigma": statistics.stdev(logs),
        "samples": len(logs),
        "autocorrelation": statistics.correlation(*zip(*pairs, strict=True)),
        "pairs": len(pairs),
        "outage_start_ratio": turns[False, True] / (turns[False, True] + turns[False, False]),
        "outage_mean_s": (turns[True, False] + turns[True, True]) / turns[True, False],
        "outage_ratio": (turns[True, False] + turns[True, True]) / turns.total(),
        "ceiling_bps": peak_mbps * 1e6,
    }


def _downloads(data: Path) -> dict[str, dict[float, float]]:
    """Return [Mbit/s] by second and trace; of two rows of one second the first counts."""
    traces: dict[str, dict[float, float]] = defaultdict(dict)
    with lzma.open(data / "bandwidth_irish_5g" / "traces.csv.xz", "rt", encoding="utf8") as file:
        for row in csv.DictReader(file):
            if row["trace_id"].startswith("Download") and row["network_mode"] in ("5G", "LTE"):
                traces[row["trace_id"]].setdefault(float(row["t_s"]), float(row["dl_mbps"]))
    return traces


def measure(data: Path) -> dict[str, dict[str, Any]]:
    """Measure everything, by data set."""
    return {
        "squad_xquad_en": reading_order(data) | word_sources(data),
        "quac_canard": lengths(data) | echoes(data),
        "sgd_dev_test": topics(data),
        "mtrag": passages(data),
        "tau_bench_airline": workflow(data),
        "lmcache_agent_traces": agent_lengths(data),
        "claude_code_traces": think_times(data) | edits(data),
        "bandwidth_irish_5g": capacity(data),
    }


def main() -> None:
    """Print every number."""
    if not sys.argv[1:]:
        raise SystemExit(__doc__)
    for source, numbers in measure(Path(sys.argv[1])).items():
        for name, value in numbers.items():
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            sys.stdout.write(f"{source}: {name} = {text}\n")


if __name__ == "__main__":
    main()
