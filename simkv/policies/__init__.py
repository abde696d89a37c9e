"""The questions that policies answer, one registry each; a policy is one file in its question's folder.

A policy gets a view and returns a decision: it cannot touch the simulation and sees nothing that a real
system could not know, unless it is registered as an oracle (semantics C1).
"""

from simkv.policies.acquisition import ACQUISITION
from simkv.policies.batching import BATCHING
from simkv.policies.estimation import ESTIMATORS
from simkv.policies.eviction import EVICTION
from simkv.policies.prefetch import PREFETCH
from simkv.policies.routing import ROUTING

__all__ = ["ACQUISITION", "BATCHING", "ESTIMATORS", "EVICTION", "PREFETCH", "ROUTING"]
