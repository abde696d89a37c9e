"""Do a scenario and its trace fit together? What the scenario's own checks cannot know, they not having read the trace.

And what no scenario of several servers may ask yet: it is refused here rather than ignored.
"""

from __future__ import annotations

from collections.abc import Iterable

from simkv.errors import InputError
from simkv.policies import BATCHING, EVICTION, PREFETCH
from simkv.policies.eviction.question import Told
from simkv.policies.prefetch import moments_of
from simkv.predictors import PREDICTORS
from simkv.request import Session, TraceHeader
from simkv.scenario import Scenario
from simkv.workload.readers.question import CHUNKS, MISSING, THINK_TIMES


def check(scenario: Scenario, header: TraceHeader) -> None:
    """Refuse what a scenario asks and cannot have.

    Parameters
    ----------
    scenario : as `Scenario.for_arm` returns it.
    header : of its trace.

    Raises
    ------
    InputError : a policy has nothing to work on, or a server could not do what it is asked.
    """
    _check_servers(scenario)
    _check_told(scenario)
    if scenario.policies.eviction.params.get("bypass"):
        raise InputError("only `simkv trace mrc` can bypass a buffer; want bypass: false", "policies.eviction.bypass")
    check_missing(scenario, header)
    _check_idle_settings(scenario, header)
    if not header.has_sessions:
        _check_open_loop(scenario)
        clock_quantum_s(header)
    if header.layout is None:
        _check_block_runs(scenario)


def clock_quantum_s(header: TraceHeader) -> float:
    """Return [s] the resolution of a trace's clock, which its provenance states; 0 = exact.

    Raises
    ------
    InputError : it is no time.

    Examples
    --------
    >>> clock_quantum_s(TraceHeader(512, None, "global", False, {"timestamp_quantum_s": 3}))
    3.0
    """
    quantum_s = header.provenance.get("timestamp_quantum_s", 0.0)
    if isinstance(quantum_s, bool) or not isinstance(quantum_s, int | float) or quantum_s < 0:
        raise InputError(f"timestamp_quantum_s: want seconds, at least 0, got {quantum_s!r}", "provenance of the trace")
    return float(quantum_s)


def check_missing(scenario: Scenario, header: TraceHeader) -> None:
    """Refuse a trace that lacks what the scenario does not bring, and a scenario that brings what the trace has.

    Raises
    ------
    InputError : it says which.
    """
    missing = header.provenance.get(MISSING, [])
    known = (THINK_TIMES, CHUNKS)
    if not isinstance(missing, list) or not all(item in known for item in missing):
        raise InputError(f"{MISSING}: want a list of {' and '.join(known)}, got {missing!r}", "provenance of the trace")
    if CHUNKS in missing:
        raise InputError(
            "these dialogues have no passages, so nothing says which KV a turn needs: they can be read for lengths and"
            " words, not played",
            "workload.trace",
        )
    if THINK_TIMES in missing and scenario.workload.think is None:
        raise InputError(
            "this trace has no think times; want their source, such as think: claude-code, or think: {name: log-normal,"
            " median: 30 s, sigma: 1, source: ...}",
            "workload",
        )
    if THINK_TIMES not in missing and scenario.workload.think is not None:
        raise InputError("this workload has think times of its own; remove think", "workload.think")


def _check_servers(scenario: Scenario) -> None:
    sources = {spec.source for spec in scenario.servers.values()}
    for name, spec in scenario.servers.items():
        if name in sources and spec.count > 1:
            raise InputError(f"server {name!r} is a source, of which there can be one; want count 1", f"servers.{name}")
        if name in sources and spec.source is not None:
            raise InputError(
                f"server {name!r} is a source and has a source of its own; simkv simulates one hop: want no source",
                f"servers.{name}.source",
            )
        if name not in sources and spec.gpu is None:
            raise InputError(f"server {name!r} serves requests and has no gpu", f"servers.{name}")


def check_words(scenario: Scenario, sessions: Iterable[Session]) -> None:
    """Refuse a predictor that reads words where nobody says any, or where they are not known.

    Parameters
    ----------
    sessions : those that the scenario plays.

    Raises
    ------
    InputError : it would predict nothing.
    """
    policies = scenario.policies
    asks = getattr(PREFETCH.get(policies.prefetch.name), "asks_predictor", True)
    if not asks or not getattr(PREDICTORS.get(policies.predictor.name), "needs_words", False):
        return
    if policies.initiator.name == "pull":
        raise InputError(
            f"predictor {policies.predictor.name!r} needs the words of the document's chunks, and a receiver that pulls"
            " does not have the document; want initiator: push",
            "policies.predictor",
        )
    if not any(session.chunk_words for session in sessions):
        raise InputError(
            f"predictor {policies.predictor.name!r} needs words of questions and chunks, and this trace has none;"
            " want a trace with `words` and `chunk_words`, or another predictor",
            "policies.predictor",
        )


def _check_idle_settings(scenario: Scenario, header: TraceHeader) -> None:
    """Refuse what would be accepted and do nothing."""
    policies, workload = scenario.policies, scenario.workload
    if moments_of(PREFETCH.get(policies.prefetch.name)) == {"hint"} and workload.hints is None:
        raise InputError(
            f"prefetch {policies.prefetch.name!r} acts on hints, and clients give none; want workload.hints, such as"
            " {lead: 10 s}",
            "policies.prefetch",
        )
    if workload.hints is not None and not header.has_sessions:
        raise InputError("requests without session identity give no hints; want no hints", "workload.hints")
    if policies.prefetch.params.get("kind") == "compute" and policies.acquisition.name == "text":
        raise InputError(
            "KV that the source makes ahead of time is never sent where text is acquired; want acquisition: fetch or"
            " another kind",
            "policies.prefetch.kind",
        )
    if workload.composition is not None and workload.composition.name == "blend" and header.layout != "independent":
        raise InputError(
            f"only independent chunks are blended, and this trace has {header.layout or 'block runs'}; want no"
            " composition",
            "workload.composition",
        )


def _check_told(scenario: Scenario) -> None:
    policies = scenario.policies
    if not issubclass(EVICTION.get(policies.eviction.name), Told):
        return
    if not hasattr(PREDICTORS.get(policies.predictor.name), "steps"):
        knowing = [name for name in PREDICTORS.names() if hasattr(PREDICTORS.get(name), "steps")]
        raise InputError(
            f"eviction {policies.eviction.name!r} must be told how many steps off a next use is, and predictor"
            f" {policies.predictor.name!r} does not know; want {' or '.join(map(repr, knowing))}",
            "policies.eviction",
        )
    if not any(spec.source for spec in scenario.servers.values()):
        raise InputError(
            f"eviction {policies.eviction.name!r} is told by a source, and no server has one", "policies.eviction"
        )


def _check_open_loop(scenario: Scenario) -> None:
    prefetch, workload = scenario.policies.prefetch.name, scenario.workload
    if prefetch != "none" and not PREFETCH.is_oracle(prefetch):
        raise InputError(
            f"prefetch {prefetch!r} predicts within sessions, and this trace has no session identity; want"
            " 'none' or 'oracle'",
            "policies.prefetch",
        )
    if workload.sessions is not None or workload.starts == "poisson":
        raise InputError(
            "this trace has no session identity: its requests come when they were recorded; want neither sessions"
            " nor session_rate",
            "workload",
        )


def _check_block_runs(scenario: Scenario) -> None:
    policies = scenario.policies
    used = {"prefetch": PREFETCH.get(policies.prefetch.name)}
    if getattr(used["prefetch"], "asks_predictor", True):
        used["predictor"] = PREDICTORS.get(policies.predictor.name)
    for question, plugin in used.items():
        if getattr(plugin, "needs_chunks", False):
            raise InputError(
                f"{question} {getattr(policies, question).name!r} needs a document of chunks, and this trace names"
                " block runs",
                f"policies.{question}",
            )


def check_priorities(scenario: Scenario, sessions: Iterable[Session]) -> None:
    """Refuse a batching policy that goes by priorities where all have the same.

    Raises
    ------
    InputError : it would be first come, first served.
    """
    name = scenario.policies.batching.name
    if getattr(BATCHING.get(name), "needs_priorities", False) and len({each.priority for each in sessions}) < 2:
        raise InputError(
            f"batching policy {name!r} needs sessions of different `priority`, and this trace has none; want a trace"
            " that has them, or another policy",
            "policies.batching",
        )
