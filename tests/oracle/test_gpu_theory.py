"""The GPU loop against queueing theory: one sequence at a time it is a single server, first come, first served.

The intervals are 99.9 % Student intervals over replications with fixed seeds: theory must lie inside, and they
must be narrow enough to say something. Every run drains.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import pytest
from scipy.stats import t as student
from simpy import Environment

from simkv.clock import Order, call_at
from simkv.compute.gpu import Gpu, GpuSequence
from simkv.compute.steptime import FixedStepTime
from simkv.policies import BATCHING
from simkv.rng import stream

STEP_S = 1e-3  # of a decode, or of a token of prefill: a service of a second is a thousand of them
WARM_UP = 300  # customers left out at the beginning
SEEDS = range(10)


class Visit(NamedTuple):
    """One sequence: when it came, how long it needs the GPU, when it was done, all in seconds."""

    arrival_s: float
    service_s: float
    end_s: float

    @property
    def sojourn_s(self) -> float:
        """[s] in the system."""
        return self.end_s - self.arrival_s


Tokens = Callable[[random.Random], int]
"""Draws how many tokens a sequence computes, mean 1,000."""


def fixed(draw: random.Random) -> int:
    """Give everybody 1,000 tokens."""
    return 1_000


def geometric(draw: random.Random) -> int:
    """Draw from the geometric law on 1, 2, ... of mean 1,000: the exponential law of whole tokens."""
    return 1 + math.floor(math.log(1.0 - draw.random()) / math.log1p(-1 / 1_000))


def short_and_long(draw: random.Random) -> int:
    """Draw 500 nine times in ten, else 5,500."""
    return 5_500 if draw.random() < 0.1 else 500


#: Second moment of the service [s^2] of each law; the geometric one has (2 - p) / p^2 tokens^2.
SECOND_MOMENT_S2 = {
    fixed: 1.0,
    geometric: (2 - 1e-3) / 1e-3**2 * STEP_S**2,
    short_and_long: 0.9 * 0.5**2 + 0.1 * 5.5**2,
}


def decoded(tokens: int) -> tuple[FixedStepTime, tuple[int, int, int]]:
    """Return a price list and a sequence that decodes so many tokens; its prefill costs nothing."""
    return FixedStepTime(0.0, STEP_S), (1, 0, tokens + 1)  # the first token comes with the prefill


def prefilled(tokens: int) -> tuple[FixedStepTime, tuple[int, int, int]]:
    """Return a price list and a sequence that prefills so many tokens, in chunks, and decodes nothing."""
    return FixedStepTime(STEP_S, 0.0), (tokens, 0, 0)


Work = Callable[[int], tuple[FixedStepTime, tuple[int, int, int]]]


def replication(
    seed: int, load: float, tokens: Tokens, work: Work, count: int, vacation_tokens: int = 0
) -> list[Visit]:
    """Send `count` sequences in a Poisson stream to a GPU that takes one at a time; return them in order.

    With `vacation_tokens`, the GPU has speculative prefill to do whenever it would be idle, that many tokens a step.
    """
    env, draw, visits = Environment(), stream(seed, "gpu theory"), []
    gpu = Gpu(
        env,
        work(1)[0],
        BATCHING.create("chunked-fcfs"),
        max_sequences=1,
        token_budget=700,
        speculative_step_tokens=max(1, vacation_tokens),
    )
    endless = GpuSequence(10**12, speculative=True, on_finished=lambda: None)
    if vacation_tokens:
        gpu.submit(endless)

    def ended(arrival_s: float, service_s: float) -> None:
        visits.append(Visit(arrival_s, service_s, env.now))
        if len(visits) == count:
            gpu.cancel(endless)

    def arrive(number: int) -> None:
        amount = tokens(draw)
        arrival_s = env.now
        gpu.submit(GpuSequence(*work(amount)[1], on_finished=lambda: ended(arrival_s, amount * STEP_S)))
        if number + 1 < count:
            call_at(env, env.now + draw.expovariate(load), Order.ARRIVAL, lambda: arrive(number + 1))

    call_at(env, draw.expovariate(load), Order.ARRIVAL, lambda: arrive(0))
    env.run()
    assert len(visits) == count
    assert gpu.demand_s == pytest.approx(sum(visit.service_s for visit in visits), rel=1e-9)
    if vacation_tokens:
        assert gpu.demand_s + gpu.speculative_s == pytest.approx(env.now, rel=1e-9)  # never idle
    return visits


def assert_within(theory: float, means: Sequence[float], half_width: float = 0.12) -> None:
    """Assert that theory is in the 99.9 % interval of the replications' means, and that this is narrow."""
    half = float(student.ppf(0.9995, len(means) - 1)) * stdev(means) / math.sqrt(len(means))
    assert half < half_width * theory
    assert fmean(means) - half < theory < fmean(means) + half


both_works = pytest.mark.parametrize("work", [decoded, prefilled])


@pytest.mark.parametrize(
    ("work", "tokens", "load", "count"),
    [
        (decoded, fixed, 0.7, 2_000),
        (prefilled, fixed, 0.7, 2_000),
        (decoded, geometric, 0.6, 3_000),
        (prefilled, geometric, 0.6, 3_000),
        (prefilled, short_and_long, 0.5, 4_000),
    ],
    ids=["M/D/1, decoded", "M/D/1, prefilled", "M/M/1, decoded", "M/M/1, prefilled", "M/G/1, prefilled"],
)
def test_mean_sojourn_is_that_of_pollaczek_and_khinchine(work: Work, tokens: Tokens, load: float, count: int) -> None:
    """E[T] = E[S] + lambda E[S^2] / 2(1 - rho), with E[S] = 1 s."""
    theory_s = 1.0 + load * SECOND_MOMENT_S2[tokens] / (2 * (1 - load))
    means = [
        fmean(visit.sojourn_s for visit in replication(seed, load, tokens, work, count)[WARM_UP:]) for seed in SEEDS
    ]
    assert_within(theory_s, means)


def test_whole_tokens_are_as_good_as_exponential() -> None:
    """The geometric law's second moment is that of the exponential one to one part in two thousand: M/M/1."""
    mm1_s = 1 / (1 - 0.6)
    assert 1.0 + 0.6 * SECOND_MOMENT_S2[geometric] / (2 * 0.4) == pytest.approx(mm1_s, rel=1e-3)


@both_works
@pytest.mark.parametrize("tokens", [fixed, geometric, short_and_long])
@pytest.mark.parametrize("load", [0.5, 0.95, 1.3])
def test_every_single_sojourn_obeys_lindley(work: Work, tokens: Tokens, load: float) -> None:
    """D(n) = max(A(n), D(n-1)) + S(n), for every customer of one path, also where the queue grows without end."""
    end_s = 0.0
    for visit in replication(7, load, tokens, work, 1_000):
        end_s = max(visit.arrival_s, end_s) + visit.service_s
        assert visit.end_s == pytest.approx(end_s, rel=1e-9)


@pytest.mark.parametrize("vacation_tokens", [250, 1_000])
def test_speculation_costs_demand_half_a_step(vacation_tokens: int) -> None:
    """A GPU that speculates whenever idle is a server with vacations: M/G/1 plus the residual vacation, V/2.

    Doshi, "Queueing systems with vacations: a survey", Queueing Systems 1, 1986: the wait is that without
    vacations plus E[V^2] / 2 E[V] (semantics D3: `idle_only`).
    """
    load = 0.5
    theory_s = 1.0 + load * SECOND_MOMENT_S2[fixed] / (2 * (1 - load)) + vacation_tokens * STEP_S / 2
    means = [
        fmean(visit.sojourn_s for visit in replication(seed, load, fixed, prefilled, 1_500, vacation_tokens)[WARM_UP:])
        for seed in SEEDS
    ]
    assert_within(theory_s, means)
