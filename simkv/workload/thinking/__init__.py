"""How long does a reader think, where a trace does not say? One source a file; the question is in `question.py`."""

from simkv.workload.thinking import claude_code, log_normal
from simkv.workload.thinking.question import THINK, ThinkTimes, with_think_times

__all__ = ["THINK", "ThinkTimes", "claude_code", "log_normal", "with_think_times"]
