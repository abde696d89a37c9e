"""The files of a profile: what `profiling.writing` makes, and every sample beside it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from simkv.compute.calibration import MeasuredProfile
from simkv.profiling.writing import write
from simkv.workload.output import write_lines

from .journal import Burst
from .plan import Plan
from .rounds import Samples, normalised

_COLUMNS = "case,role,round,value_s,normalised_s,wall_s,preempted,samples,error"


def save(
    profile: MeasuredProfile, plan: Plan, bursts: Mapping[str, Mapping[int, Burst]], path: Path
) -> MeasuredProfile:
    """Write NAME.samples.csv.gz, NAME.csv.gz and NAME.json; return the profile as it stands there.

    Parameters
    ----------
    profile : what was found.
    plan : which of the points were held out.
    bursts : all that was measured.
    path : NAME.json.

    Raises
    ------
    InputError : the folder cannot be written.
    """
    samples = path.with_suffix(".samples.csv.gz")
    lines = list(_lines(plan, normalised(bursts)))
    write_lines(samples, lines)
    bound = {
        "file": samples.name,
        "rows": len(lines) - 1,
        "sha256": hashlib.sha256(samples.read_bytes()).hexdigest(),
    }
    assert profile.quality is not None
    whole = dataclasses.replace(profile, quality={**profile.quality, "samples": bound})
    write(whole, path)
    return whole


def _lines(plan: Plan, found: Samples) -> Iterator[str]:
    """Return a row for each burst; a comma inside a point is a semicolon here."""
    roles = {case.key: case.role for case in plan.cases}
    yield _COLUMNS
    for key in sorted(found.bursts):
        for turn, burst in sorted(found.bursts[key].items()):
            factor = found.factors[turn]
            numbers = (burst.value_s, burst.value_s / factor, burst.wall_s, burst.preempted)
            cells = [key.replace(",", ";"), roles.get(key, "anchor"), str(turn), *(f"{value:.9g}" for value in numbers)]
            yield ",".join([*cells, str(burst.samples), burst.error.replace(",", ";")])
