"""Which workloads and series can be made instead of read? Importing this registers all that come with simkv."""

from simkv.workload.generators import (  # importing them registers them
    agent_dag,
    attachments,
    editing,
    independent_trigger,
    log_ar1,
    sequential_reading,
    topical_follow_up,
)
from simkv.workload.generators.question import GENERATORS, SERIES_GENERATORS, Generator, SeriesGenerator

__all__ = [
    "GENERATORS",
    "SERIES_GENERATORS",
    "Generator",
    "SeriesGenerator",
    "agent_dag",
    "attachments",
    "editing",
    "independent_trigger",
    "log_ar1",
    "sequential_reading",
    "topical_follow_up",
]
