"""How does missing KV get here? One policy a file; the question and its form are in `question.py`."""

from simkv.policies.acquisition import delta, fetch, fetch_long, perfect_residency, resend, text
from simkv.policies.acquisition.question import ACQUISITION, Acquisition, AcquisitionView, Delta, Plan

__all__ = [
    "ACQUISITION",
    "Acquisition",
    "AcquisitionView",
    "Delta",
    "Plan",
    "delta",
    "fetch",
    "fetch_long",
    "perfect_residency",
    "resend",
    "text",
]
