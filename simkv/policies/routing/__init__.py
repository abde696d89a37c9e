"""Which server serves this turn? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.routing import least_loaded, power_of_two, prefix_aware, random, round_robin, sticky
from simkv.policies.routing.question import ROUTING, Routing, ServerView, VisibleRequest

__all__ = [
    "ROUTING",
    "Routing",
    "ServerView",
    "VisibleRequest",
    "least_loaded",
    "power_of_two",
    "prefix_aware",
    "random",
    "round_robin",
    "sticky",
]
