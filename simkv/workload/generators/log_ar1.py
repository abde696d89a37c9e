"""How fast is a cellular link, second by second? Log-normal rates with memory, and outages.

The logarithm of the rate is a first-order autoregressive process; outages (rate 0) begin and end as a two-state
Markov chain, under which the process goes on unseen. Fitted to drive and stand tests of an Irish operator: the
numbers only, no row of the data is in here. What it leaves out: slow changes over minutes (the drive from one cell
to the next makes the real series remember longer than one pole can), and any relation between rate and outage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simkv.rng import stream
from simkv.workload.generators.question import SERIES_GENERATORS, provenance, want
from simkv.workload.series import Series

NAME = "log-ar1"


@SERIES_GENERATORS.register(NAME)
@dataclass
class LogAr1:
    """Capacity of a 5G/LTE downlink: log-AR(1) with outages.

    Parameters
    ----------
    duration_s : [s] length of the series.
    step_s : [s] between two rates; the fitted numbers are per second and are converted to it.
    median_bps : [bit/s] median rate outside outages.
    sigma : standard deviation of ln(rate) outside outages.
    autocorrelation : of ln(rate), from one second to the next.
    outage_start_ratio : probability that an outage begins within a second.
    outage_mean_s : [s] mean length of an outage, at least 1 s.
    ceiling_bps : [bit/s] largest rate.

    Examples
    --------
    >>> LogAr1(duration_s=60).series(seed=1).times_s[-1]
    59.0
    """

    # All fits: rows of the Download traces of bandwidth_irish_5g whose network_mode is 5G or LTE, one a second,
    # an outage being a rate under 0.1 Mbit/s; printed by traces/measure.py, explained in docs/data.md.
    duration_s: float = 10_800.0  # 3 h: replications start at offsets of their own
    step_s: float = 1.0  # the data's step
    median_bps: float = 18.8e6  # 27,211 samples
    sigma: float = 1.50
    autocorrelation: float = 0.859  # 21,284 pairs one second apart
    outage_start_ratio: float = 0.0562
    outage_mean_s: float = 1.61
    ceiling_bps: float = 533e6  # the largest sample

    def __post_init__(self) -> None:
        want(0 < self.step_s < math.inf, f"step_s: want above 0, got {self.step_s}")
        want(self.step_s <= self.duration_s < math.inf, f"duration_s: want at least a step, got {self.duration_s}")
        want(0 < self.median_bps < math.inf, f"median_bps: want above 0, got {self.median_bps}")
        want(0 <= self.sigma < math.inf, f"sigma: want at least 0, got {self.sigma}")
        want(0 <= self.autocorrelation < 1, f"autocorrelation: want 0 to below 1, got {self.autocorrelation}")
        want(0 <= self.outage_start_ratio < 1, f"outage_start_ratio: want 0 to below 1, got {self.outage_start_ratio}")
        want(1 <= self.outage_mean_s < math.inf, f"outage_mean_s: want at least 1, got {self.outage_mean_s}")
        want(self.ceiling_bps >= self.median_bps, f"ceiling_bps: want at least median_bps, got {self.ceiling_bps}")

    def series(self, seed: int) -> Series:
        """Return the series of one seed; rates are whole bits per second."""
        noise = stream(seed, NAME, "rate")
        switch = stream(seed, NAME, "outage")
        memory = self.autocorrelation**self.step_s
        start_ratio = 1 - (1 - self.outage_start_ratio) ** self.step_s
        end_ratio = 1 - (1 - 1 / self.outage_mean_s) ** self.step_s
        innovation = math.sqrt(1 - memory * memory)
        level = noise.gauss(0, 1)  # the stationary distribution: no warm-up
        is_outage = switch.random() < start_ratio / (start_ratio + end_ratio)
        times_s, rates_bps = [], []
        for step in range(math.floor(self.duration_s / self.step_s)):
            rate_bps = min(self.ceiling_bps, self.median_bps * math.exp(self.sigma * level))
            times_s.append(step * self.step_s)
            rates_bps.append(0.0 if is_outage else float(round(rate_bps)))
            level = memory * level + innovation * noise.gauss(0, 1)
            is_outage = switch.random() < (1 - end_ratio if is_outage else start_ratio)
        return Series(times_s, rates_bps, "capacity", provenance(NAME, self))
