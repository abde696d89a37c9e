"""Which arm shows what an arm loses by guessing, or by evicting, as it does?

The arm that differs from it in nothing but that one question, and answers it with knowledge of the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from simkv.report.comparison import ArmInfo

#: Regret -> the policies in which an arm and its reference may differ.
_MAY_DIFFER = {"prefetch": ("prefetch", "predictor", "timing"), "eviction": ("eviction",)}


def with_references(scenario: Any, arms: Sequence[ArmInfo]) -> tuple[ArmInfo, ...]:
    """Return the arms, each with the names of those that its regrets may be measured against, oracles themselves too.

    Parameters
    ----------
    scenario : whose arms these are.
    """
    from simkv.policies import EVICTION, PREFETCH  # noqa: PLC0415 - as in compare.py
    from simkv.predictors import PREDICTORS  # noqa: PLC0415

    knowing = {
        "prefetch": [
            arm.name
            for arm in arms
            if PREFETCH.is_oracle(arm.prefetch) or (arm.is_speculative and PREDICTORS.is_oracle(arm.predictor))
        ],
        "eviction": [arm.name for arm in arms if EVICTION.is_oracle(arm.eviction)],
    }
    found = []
    for arm in arms:
        like = {
            question: tuple(
                name for name in oracles if _rest(scenario, name, question) == _rest(scenario, arm.name, question)
            )
            for question, oracles in knowing.items()
        }
        found.append(replace(arm, prefetch_oracles=like["prefetch"], eviction_oracles=like["eviction"]))
    return tuple(found)


def _rest(scenario: Any, name: str, question: str) -> tuple[dict[str, Any], Any]:
    """Return all that an arm is made of but the answer to one question."""
    arm = scenario.for_arm(name)
    policies = {asked: answer for asked, answer in vars(arm.policies).items() if asked not in _MAY_DIFFER[question]}
    return policies, getattr(arm, "servers", None)
