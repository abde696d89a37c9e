"""Scenario files: strict loading, overrides, the schema, and writing one out with all defaults.

`document` reads YAML and knows places, `schema` says what may stand there, `loading` puts the two together.
"""

from simkv.scenario.json_schema import json_schema
from simkv.scenario.loading import from_text, load
from simkv.scenario.plugins import PlugIn
from simkv.scenario.schema import (
    Arm,
    Buffer,
    Engine,
    Link,
    Policies,
    RunOptions,
    Scenario,
    Series,
    Server,
    Workload,
)
from simkv.scenario.writing import resolved, told

__all__ = [
    "Arm",
    "Buffer",
    "Engine",
    "Link",
    "PlugIn",
    "Policies",
    "RunOptions",
    "Scenario",
    "Series",
    "Server",
    "Workload",
    "from_text",
    "json_schema",
    "load",
    "resolved",
    "told",
]
