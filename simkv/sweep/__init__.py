"""The same scenario over a grid of values: every point once, kept as soon as it is known, whatever ends the run.

`simkv.scenario.grid` reads what varies, `points` makes the scenarios and their identities, `journal` keeps what is
done, `executors` run points here or in processes, `dask_executor` on a cluster; `running` puts them together, `tables`
and `showing` tell the outcome. `searching` chooses the points itself, by what `proposals` has learned, instead of
running all of a grid.
"""

from simkv.scenario.grid import Axis, read_axis
from simkv.sweep.dask_executor import Dask
from simkv.sweep.executors import Executor, InProcess, Processes
from simkv.sweep.journal import Journal
from simkv.sweep.points import Point, Sweep, plan
from simkv.sweep.running import run, sweep
from simkv.sweep.searching import Search, plan_search, search

__all__ = [
    "Axis",
    "Dask",
    "Executor",
    "InProcess",
    "Journal",
    "Point",
    "Processes",
    "Search",
    "Sweep",
    "plan",
    "plan_search",
    "read_axis",
    "run",
    "search",
    "sweep",
]
