"""What a scenario says: who talks, over which links, on which GPUs, with how much KV memory, under which policies.

Frozen models; numbers are in inside units (`delay_s`) and keys in YAML carry none (`delay: 20 ms`).
What no YAML key can say alone (names that must exist, pairs that must agree) is checked in `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    Tag,
    model_validator,
)

from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.scenario import checks
from simkv.scenario.fields import (
    Bytes,
    Count,
    Discipline,
    FilePath,
    Label,
    ModelName,
    OfKind,
    OnlyYet,
    PositiveBps,
    PositiveBytes,
    PositivePerSecond,
    PositiveSeconds,
    Seconds,
    Slug,
    SweepBlock,
    Version,
)
from simkv.scenario.part import Part
from simkv.scenario.plugins import PlugIn


class Hints(Part):
    """Clients that say ahead of time what they will ask.

    Attributes
    ----------
    lead_s : [s] median time from a hint to the query; never before the answer that precedes it has ended.
    lead_sigma : of ln(lead).
    accuracy : probability that a hint is right.
    """

    lead_s: PositiveSeconds = Field(alias="lead")
    lead_sigma: Annotated[float, Field(ge=0)] = 0.0
    accuracy: Annotated[float, Field(ge=0, le=1)] = 1.0


class Workload(Part):
    """Whose sessions arrive, and when.

    Attributes
    ----------
    trace : file of recorded sessions; or else
    generator : what makes them up.
    format : of the trace, with what the file does not say; None = told by its first record.
    sessions : drawn per replication, for Poisson starts; None = as many as there are.
    session_rate_per_s : [1/s] of Poisson starts.
    starts : "poisson", or "recorded" = as the trace has them.
    max_input_tokens : [tokens] a session is cut before its first request with more input.
    composition : how independent chunks are reused; None where the layout leaves no choice.
    limit : requests read from the trace; None = all.
    think : where think times come from that the trace lacks (semantics H4); None = it has its own.
    hints : what clients say ahead of time; None = nothing.
    """

    trace: FilePath | None = None
    format: Annotated[PlugIn, OfKind("trace-format")] | None = None
    generator: Annotated[PlugIn, OfKind("generator")] | None = None
    sessions: Count | None = None
    session_rate_per_s: PositivePerSecond | None = Field(default=None, alias="session_rate")
    starts: Literal["poisson", "recorded"] = "recorded"
    max_input_tokens: Count | None = None
    composition: Annotated[PlugIn, OfKind("composition")] | None = None
    limit: Count | None = None
    think: Annotated[PlugIn, OfKind("think")] | None = None
    hints: Hints | None = None
    _trace_text: str | None = PrivateAttr(default=None)

    @property
    def trace_text(self) -> str | None:
        """The trace's path as the scenario writes it."""
        return self._trace_text

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: Any, handler: ModelWrapValidatorHandler[Workload]) -> Workload:
        """Gather a generator's parameters, which stand beside its name; choose the default of `starts`."""
        if not isinstance(data, Mapping):
            return handler(data)
        told = dict(data)
        if isinstance(told.get("generator"), str):
            params = {key: told.pop(key) for key in list(told) if key not in cls.written_keys()}
            told["generator"] = {"name": told["generator"], **params}
        if "session_rate" in told:
            told.setdefault("starts", "poisson")
        made = handler(told)
        made._trace_text = told.get("trace")
        return made

    @model_validator(mode="after")
    def _agree(self) -> Workload:
        checks.raise_all(checks.workload(self))
        return self


class Engine(Part):
    """How a server's GPU batches.

    Attributes
    ----------
    preset : which engine's memory rules: "reserve-ahead" (Orca's) takes room for an answer with its prompt;
        "vllm-0.19" lets it grow block by block, and takes memory back from who came last; it schedules
        asynchronously unless told otherwise.
    speculative : when the GPU may compute what nobody has asked for yet (semantics D3): when no demand can run, or
        in what demand leaves of a step's tokens.
    async_scheduling : decide the batch of a step when the one before begins.
    host_s : [s] of the host a step: hidden behind the GPU's work with `async_scheduling`, else added.
    speculative_step : [tokens] of one speculative step: the longest that a new demand waits for it.
    token_budget : [tokens] a step.
    max_sequences : in a batch.
    """

    preset: Literal["reserve-ahead", "vllm-0.19"] = "reserve-ahead"
    speculative: Literal["idle_only", "leftover"] = "idle_only"
    async_scheduling: bool = False
    host_s: Seconds = Field(default=0.0, alias="host_time")
    speculative_step: Count = 256
    token_budget: Count = 2048
    max_sequences: Count = 256

    @model_validator(mode="before")
    @classmethod
    def _as_preset(cls, data: Any) -> Any:
        """Choose the default of `async_scheduling`."""
        if not isinstance(data, Mapping):
            return data
        return {"async_scheduling": data.get("preset") == "vllm-0.19", **data}


class Buffer(Part):
    """A bounded store of KV blocks; `size_bytes` is what KV may fill, weights not included."""

    size_bytes: PositiveBytes = Field(alias="size")


Buffers = Annotated[
    dict[Annotated[str, OnlyYet("hbm")], Buffer],
    Field(json_schema_extra={"propertyNames": {"enum": ["hbm"]}, "required": ["hbm"]}),
]


class Server(Part):
    """A node that serves or holds KV.

    Attributes
    ----------
    gpu : what its GPU steps cost; None = no GPU.
    count : how many alike; each has its own GPU and buffers, they share the links.
    source : the server from which KV that is missing here comes.
    """

    gpu: Annotated[PlugIn, OfKind("gpu")] | None = None
    count: Count = 1
    source: str | None = None
    engine: Engine = Engine()
    buffers: Buffers


class Series(Part):
    """Capacity replayed from a file; `mean_bps` rescales it, None = as recorded."""

    series: FilePath
    mean_bps: PositiveBps | None = Field(default=None, alias="mean")
    _series_text: str | None = PrivateAttr(default=None)

    @property
    def series_text(self) -> str | None:
        """The file's path as the scenario writes it."""
        return self._series_text

    @model_validator(mode="wrap")
    @classmethod
    def _remember(cls, data: Any, handler: ModelWrapValidatorHandler[Series]) -> Series:
        made = handler(data)
        if isinstance(data, Mapping):
            made._series_text = data.get("series")
        return made


def _capacity_form(value: object) -> str:
    return "<series>" if isinstance(value, Mapping | Series) else "<rate>"


Capacity = Annotated[
    Annotated[PositiveBps, Tag("<rate>")] | Annotated[Series, Tag("<series>")],
    Discriminator(_capacity_form),
]


class Link(Part):
    """One direction between two servers.

    Attributes
    ----------
    from_, to : names of servers.
    delay_s : [s] one way.
    capacity : [bit/s] on the wire, or a series of it.
    transport : what headers and start-up cost.
    discipline : "strict" classes, or "ps": all classes share alike.
    committed_bytes : [bytes] below the scheduler that a demand cannot overtake (semantics C3); None =
        capacity x round-trip time, 0 for the ideal transport.
    """

    from_: str = Field(alias="from")
    to: str
    delay_s: Seconds = Field(alias="delay")
    capacity: Capacity
    transport: Literal["ideal", "warm"]
    discipline: Discipline = "strict"
    committed_bytes: Bytes | None = None


Routing = Annotated[PlugIn, OfKind("routing")]
Batching = Annotated[PlugIn, OfKind("batching")]
Admission = Annotated[PlugIn, OfKind("admission")]
Eviction = Annotated[PlugIn, OfKind("eviction")]
Acquisition = Annotated[PlugIn, OfKind("acquisition")]
Prefetch = Annotated[PlugIn, OfKind("prefetch")]
Predictor = Annotated[PlugIn, OfKind("predictor")]
Codec = Annotated[PlugIn, OfKind("codec")]
Initiator = Annotated[PlugIn, OfKind("initiator")]
Timing = Annotated[PlugIn, OfKind("timing")]
Estimator = Annotated[PlugIn, OfKind("estimator")]


class Policies(Part):
    """Who answers each question, unless an arm says otherwise."""

    routing: Routing = Field(default="sticky", validate_default=True)
    batching: Batching = Field(default="chunked-fcfs", validate_default=True)
    admission: Admission = Field(default="always", validate_default=True)
    eviction: Eviction = Field(default="lru", validate_default=True)
    acquisition: Acquisition = Field(default="fetch", validate_default=True)
    prefetch: Prefetch = Field(default="none", validate_default=True)
    predictor: Predictor = Field(default="sequential", validate_default=True)
    codec: Codec = Field(default="identity", validate_default=True)
    initiator: Initiator = Field(default="push", validate_default=True)
    timing: Timing = Field(default="semi-markov", validate_default=True)
    estimator: Estimator = Field(default="ewma", validate_default=True)


class PolicyChanges(Part):
    """The answers that an arm changes; None = as in the scenario's. A change is whole: it inherits no parameter."""

    routing: Routing | None = None
    batching: Batching | None = None
    admission: Admission | None = None
    eviction: Eviction | None = None
    acquisition: Acquisition | None = None
    prefetch: Prefetch | None = None
    predictor: Predictor | None = None
    codec: Codec | None = None
    initiator: Initiator | None = None
    timing: Timing | None = None
    estimator: Estimator | None = None


class ServerChanges(Part):
    """What an arm changes of a server: its buffers."""

    buffers: Buffers


class Arm(Part):
    """One of the ways that are compared: what it changes."""

    name: Slug
    policies: PolicyChanges = PolicyChanges()
    servers: dict[str, ServerChanges] = Field(default_factory=dict)


class RunOptions(Part):
    """How to run.

    Attributes
    ----------
    step_by_step : True = one event a GPU step, as a check on leaping (semantics D4).
    horizon_s : [s] when to stop; None = when all sessions have ended.
    control_message_bytes : [bytes] of a query, arrival or eviction message. 64: an id, a session, a run
        and a few flags; smaller than any header it travels in matters little.
    text_bytes_per_token : [bytes] of text a token; about 4 in English (semantics A1).
    """

    step_by_step: bool = False
    horizon_s: PositiveSeconds | None = Field(default=None, alias="horizon")
    control_message_bytes: Bytes = Field(default=64, alias="control_message")
    text_bytes_per_token: PositiveBytes = Field(default=4, alias="text_per_token")


class Scenario(Part):
    """A whole scenario; the same file, seed and version give the same results, byte by byte.

    Attributes
    ----------
    simkv : version of this schema.
    name : of the scenario; names the results folder too.
    model : a built-in model's name, or the absolute path of a Hugging Face `config.json`.
    seed : of all random streams.
    replications : independent repetitions with resampled sessions.
    arms : the ways that are compared, in order; one called "default" when the file names none.
    sweep : what `simkv sweep` varies, path -> values as written; no part of what a run depends on.
    """

    simkv: Annotated[int, Version(1)]
    name: Slug
    model: ModelName
    seed: Annotated[int, Field(ge=0)]
    replications: Count = 20
    workload: Workload
    servers: dict[Label, Server]
    links: dict[Label, Link] = Field(default_factory=dict)
    policies: Policies = Field(default_factory=Policies)
    arms: tuple[Arm, ...] = Field(default=({"name": "default"},), validate_default=True)
    run: RunOptions = Field(default_factory=RunOptions)
    sweep: Annotated[dict[str, Any] | None, SweepBlock()] = None
    _path: Path = PrivateAttr(default=Path("scenario.yaml"))

    @property
    def path(self) -> Path:
        """The file that it was read from."""
        return self._path

    @model_validator(mode="after")
    def _agree(self) -> Scenario:
        checks.raise_all(checks.scenario(self))
        return self

    def for_arm(self, name: str) -> Scenario:
        """Return the scenario as one arm has it.

        Parameters
        ----------
        name : of the arm.

        Returns
        -------
        A scenario whose policies and buffers are the arm's and whose only arm this is.

        Raises
        ------
        InputError : there is no such arm.
        """
        found = next((arm for arm in self.arms if arm.name == name), None)
        if found is None:
            known = [arm.name for arm in self.arms]
            raise InputError(f"no arm {name!r}{did_you_mean(name, known)}; arms: {', '.join(known)}", str(self.path))
        changes = {key: value for key, value in found.policies.__dict__.items() if value is not None}
        servers = {
            key: server.model_copy(update={"buffers": server.buffers | found.servers[key].buffers})
            if key in found.servers
            else server
            for key, server in self.servers.items()
        }
        policies = self.policies.model_copy(update=changes)
        return self.model_copy(update={"policies": policies, "servers": servers, "arms": (found,)})
