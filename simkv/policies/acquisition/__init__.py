"""How does missing KV get here? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.acquisition import fetch, perfect_residency, text
from simkv.policies.acquisition.question import ACQUISITION, Acquisition, AcquisitionView, Plan

__all__ = ["ACQUISITION", "Acquisition", "AcquisitionView", "Plan", "fetch", "perfect_residency", "text"]
