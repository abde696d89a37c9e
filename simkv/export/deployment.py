"""What would a real server have to be told, to do what an arm did? Read from the resolved scenario, for all targets.

What a real server has no setting for is gathered here by name, so that a target can refuse all of it at once: a
configuration that silently leaves out what made an arm fast would be worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simkv import build, model
from simkv.errors import InputError
from simkv.export.chosen import one_arm
from simkv.report.reading import SavedRun, SavedSweep
from simkv.scenario import Scenario
from simkv.units import BITS_PER_BYTE, format_bps, format_bytes, format_seconds
from simkv.workload import read_series
from simkv.workload.series import mean_bps


@dataclass(frozen=True)
class Holder:
    """Where a server gets the KV that it lacks.

    Attributes
    ----------
    size_bytes : [bytes] of KV that it holds.
    computes : whether making KV that it does not hold takes it time.
    holds_all : whether it has all KV from the start, and so is written nothing.
    shared : whether several servers get KV from it.
    rate_bps, round_trip_s : [bit/s], [s] of the links there and back: mean capacity, and delay of both ways.
    """

    name: str
    size_bytes: int
    computes: bool
    holds_all: bool
    shared: bool
    rate_bps: float
    round_trip_s: float

    @property
    def words(self) -> str:
        """What it is, in words for a comment."""
        link = f"{format_bps(self.rate_bps)}, round trip {format_seconds(self.round_trip_s)}"
        return f"{self.name!r}, {format_bytes(self.size_bytes)} of KV, over a link of {link}"


@dataclass(frozen=True)
class Deployment:
    """One kind of server that serves, under one arm.

    Attributes
    ----------
    saved, arm : whose results these are.
    scenario : as the arm has it.
    server, count : its name, and how many alike.
    block_tokens, token_bytes : [tokens] a block, [bytes] of KV a token.
    min_tokens : [tokens] that must lack for KV to be fetched; 0 = always, None = never.
    independent : whether chunks are reused wherever they stand, not as prefixes alone.
    blend_ratio : share of each reused independent chunk that is computed again.
    holder : None = what it lacks it computes.
    """

    saved: SavedRun
    arm: str
    scenario: Scenario
    server: str
    count: int
    block_tokens: int
    token_bytes: int
    min_tokens: int | None
    independent: bool
    blend_ratio: float
    holder: Holder | None

    @property
    def memory_blocks(self) -> int:
        """How many blocks of KV fit into the memory of its GPUs."""
        room_bytes = self.scenario.servers[self.server].buffers["hbm"].size_bytes
        return room_bytes // (self.block_tokens * self.token_bytes)

    @property
    def gpus(self) -> int:
        """How many GPUs its profile stands for."""
        gpu = self.scenario.servers[self.server].gpu
        return int(gpu.params.get("tp") or 1) if gpu is not None else 1

    def wire_s(self, tokens: int) -> float:
        """Return [s] how long the KV of some tokens takes over the holder's link, alone; headers left out."""
        assert self.holder is not None
        return tokens * self.token_bytes * BITS_PER_BYTE / self.holder.rate_bps


def deployments(saved: SavedRun | SavedSweep, arm: str | None, target: str) -> list[Deployment]:
    """Return each kind of server that serves in the arm that is wanted.

    Raises
    ------
    InputError : as `chosen.one_arm` does, or the trace of the scenario cannot be read.
    """
    run, name = one_arm(saved, arm, target)
    scenario = run.scenario.for_arm(name)
    header = build.read_traffic(scenario, 0, int(run.manifest["seed"])).header
    shape = model.get(scenario.model, scenario.path.parent)
    holders = {spec.source for spec in scenario.servers.values() if spec.source is not None}
    return [
        Deployment(
            *(run, name, scenario, server, spec.count, header.block_tokens, shape.kv_bytes_per_token),
            min_tokens=_min_tokens(scenario),
            independent=header.layout == "independent",
            blend_ratio=build.blend_share(scenario, header),
            holder=_holder(scenario, server),
        )
        for server, spec in scenario.servers.items()
        if server not in holders
    ]


def _min_tokens(scenario: Scenario) -> int | None:
    name, params = scenario.policies.acquisition
    return None if name == "text" else int(params.get("min_tokens", 0))


def _holder(scenario: Scenario, server: str) -> Holder | None:
    name = scenario.servers[server].source
    if name is None:
        return None
    spec = scenario.servers[name]
    down = next(link for link in scenario.links.values() if (link.from_, link.to) == (name, server))
    up = next(link for link in scenario.links.values() if (link.from_, link.to) == (server, name))
    rate_bps = down.capacity if isinstance(down.capacity, float) else down.capacity.mean_bps
    if rate_bps is None:
        assert not isinstance(down.capacity, float)
        rate_bps = mean_bps(read_series(down.capacity.series))
    takers = sum(other.count for other in scenario.servers.values() if other.source == name)
    free = spec.gpu is not None and spec.gpu.name == "fixed" and not any(spec.gpu.params.values())
    return Holder(
        name,
        spec.buffers["hbm"].size_bytes,
        computes=spec.gpu is not None and not free,
        holds_all=free,
        shared=takers > 1,
        rate_bps=rate_bps,
        round_trip_s=down.delay_s + up.delay_s,
    )


def refuse(deployment: Deployment, target: str, without: Sequence[str]) -> None:
    """Raise if anything of an arm has no counterpart at the target.

    Parameters
    ----------
    without : "path: why", one each.
    """
    if without:
        raise InputError(
            f"arm {deployment.arm!r} does what {target} has no setting for: " + "; ".join(without),
            str(deployment.saved.path),
        )


def without_counterpart(deployment: Deployment) -> Iterator[str]:
    """Yield what no target has a setting for."""
    policies, holder = deployment.scenario.policies, deployment.holder
    prefetch, acquisition = policies.prefetch, policies.acquisition
    if prefetch.name != "none":
        threshold = prefetch.params.get("threshold")
        told = "" if threshold is None else f", at a probability of {threshold:g},"
        yield f"policies.prefetch: {prefetch.name}{told} moves KV before anybody asks for it"
    if acquisition.name not in ("fetch", "fetch-long", "text"):
        yield f"policies.acquisition: {acquisition.name}; want fetch or fetch-long"
    if policies.codec.name != "identity":
        yield f"policies.codec: {policies.codec.name}; its quantisation is simkv's own"
    if holder is not None and holder.computes and deployment.min_tokens is not None:
        yield f"servers.{holder.name}.gpu: a source that computes what it does not hold; a store only holds"
    if deployment.independent and not deployment.blend_ratio:
        yield "workload.composition: naive; chunks are reused where they stand, with nothing computed again"


def prefixes_alone(deployment: Deployment) -> Iterator[str]:
    """Yield what a cache of prefixes has no setting for."""
    if deployment.independent and deployment.blend_ratio:
        yield "workload.composition: blend; it reuses prefixes alone"


def not_exported(deployment: Deployment) -> Iterator[str]:
    """Yield what was simulated and matters to the results, but is set elsewhere."""
    holder = deployment.holder
    if deployment.count > 1:
        routing = deployment.scenario.policies.routing.name
        yield f"{deployment.count} servers alike, routing {routing}: run as many, behind a router of that rule"
    if holder is not None and deployment.min_tokens is not None:
        yield f"KV came from {holder.words}"
        if holder.holds_all:
            yield f"{holder.name!r} held all KV from the start: fill the store first"
