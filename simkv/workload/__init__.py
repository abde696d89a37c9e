"""What do clients ask, and when? Traces, generators, bandwidth series and the arrival process.

`readers` opens and describes recorded traces, `generators` makes them up from measured numbers, `series` reads what
a link can carry, and `convert` writes any of them in simkv's own format.
"""

from simkv.workload.convert import convert, open_told
from simkv.workload.generators import GENERATORS, SERIES_GENERATORS
from simkv.workload.readers import FORMATS, Trace, check, info, is_trace, open_trace
from simkv.workload.series import Series, read_series, write_series

__all__ = [
    "FORMATS",
    "GENERATORS",
    "SERIES_GENERATORS",
    "Series",
    "Trace",
    "check",
    "convert",
    "info",
    "is_trace",
    "open_told",
    "open_trace",
    "read_series",
    "write_series",
]
