"""When does prefetching pay? The theorem, through the production path (scenario, policies, link, ledger).

On a link that all classes share alike, with demand load rho and items used with probability p, mean access time
is t(n) = (1 - np)(s/B) / (1 - rho(1 - np + n)) for n prefetches a request: prefetching pays only if p > rho.
Jiang and Kleinrock, "An adaptive network prefetch scheme", IEEE JSAC 16(3), 1998.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest
from scipy import stats

from simkv.scenario import from_text
from simkv.simulation import run

REPLICATIONS = 8
STATIONARY_S = (200.0, 4000.0)  # before it the triggers' requests are missing, after it all others are
SCENARIO = """
simkv: 1
name: threshold-theorem
model: Qwen2.5-0.5B          # 12,288 bytes a token: a chunk of 16 tokens takes 1 s
seed: 3
workload:
  generator: independent-trigger
  request_rate: 0.5 /s
  p: {p}
  n: 0.3
  horizon: 4000 s
  settle: 100 s              # a hundred service times: every prefetch has arrived by then
  composition: naive
servers:
  sender: {{gpu: {{name: fixed}}, buffers: {{hbm: {{size: 1 TiB}}}}}}
  receiver: {{source: sender, gpu: {{name: fixed}}, buffers: {{hbm: {{size: 1 TiB}}}}}}
links:
  down: {{from: sender, to: receiver, delay: 0 s, capacity: 1572.864 kbit/s, transport: ideal, discipline: ps}}
  up: {{from: receiver, to: sender, delay: 0 s, capacity: 1572.864 kbit/s, transport: ideal}}
run: {{control_message: 0 B}}
arms:
  - {{name: none}}
  - {{name: prefetch, policies: {{prefetch: sequential}}}}
"""


def mean_access_s(p: float, arm: str) -> list[float]:
    """Return the mean access time of each replication; turns that want nothing do not count."""
    scenario = from_text(SCENARIO.format(p=p), Path("threshold.yaml"))
    means = []
    for replication in range(REPLICATIONS):
        requests = run(scenario, arm, replication).requests
        assert set(requests["status"]) == {"finished"}
        rows = zip(requests["first_token_s"], requests["arrival_s"], requests["needed_units"], strict=True)
        begin_s, end_s = STATIONARY_S
        waits = [first - arrival for first, arrival, needed in rows if needed and begin_s <= arrival < end_s]
        means.append(statistics.fmean(waits))
    return means


def interval(values: list[float], level: float = 0.999) -> tuple[float, float]:
    centre = statistics.fmean(values)
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return centre - half, centre + half


def theory_s(p: float, n: float) -> float:
    hits = n * p
    return (1 - hits) / (1 - 0.5 * (1 - hits + n))


@pytest.mark.evidence  # in short: law 1 of docs/theory.md
@pytest.mark.parametrize(("p", "quoted_s"), [(0.4, 2.146), (0.6, 1.864)])
def test_mean_access_time_is_the_theorems(p: float, quoted_s: float) -> None:
    assert theory_s(p, 0.3) == pytest.approx(quoted_s, abs=5e-4)
    with_s, without_s = mean_access_s(p, "prefetch"), mean_access_s(p, "none")
    low, high = interval(with_s)
    assert low <= theory_s(p, 0.3) <= high
    low, high = interval(without_s)
    assert low <= 2.0 <= high
    low, high = interval([a - b for a, b in zip(with_s, without_s, strict=True)])
    assert low <= theory_s(p, 0.3) - 2.0 <= high
    assert (statistics.fmean(with_s) < statistics.fmean(without_s)) == (p > 0.5)  # the threshold is the load
