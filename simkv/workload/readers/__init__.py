"""Which sessions does a trace file hold, and what are they like? One module per format.

`trace` opens a file of any format, `summary` describes it; `lines`, `records` and `fields` are what all formats stand
on, `blocks`, `timed`, `tables` and `text_tokens` what several share.
"""

from simkv.workload.readers.question import FORMATS, TraceFormat
from simkv.workload.readers.summary import check, info
from simkv.workload.readers.trace import Trace, is_trace, open_trace

__all__ = ["FORMATS", "Trace", "TraceFormat", "check", "info", "is_trace", "open_trace"]
