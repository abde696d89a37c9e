"""How does missing KV get here? The form in which every acquisition policy answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from simkv.registry import Registry


class Plan(Enum):
    """What to do about the movable KV that a request lacks."""

    FETCH = "fetch"  # the source sends KV in whole blocks, computing it first where it must
    RESEND = "resend"  # the same, and what is resident is sent again
    TEXT = "text"  # the source sends the text, this server prefills it
    ASSUME = "assume"  # it is simply there: only for reference arms


@dataclass(frozen=True, slots=True)
class Delta:
    """The plan to fetch positions instead of blocks: those that no version here has.

    Attributes
    ----------
    version_bytes : [bytes] that name the old and the new version, with every run of blocks that is sent.
    importance_bytes : [bytes] of importance metadata with each position that is sent.
    """

    version_bytes: int
    importance_bytes: int


@dataclass(slots=True)
class AcquisitionView:
    """What an acquisition policy may know; live, valid during the call only.

    Attributes
    ----------
    now_s : [s] the time.
    missing_tokens : [tokens] in the movable blocks that are not resident.
    kv_bytes : [bytes] what fetching them would carry.
    text_bytes : [bytes] what their text would carry.
    """

    now_s: float
    missing_tokens: int
    kv_bytes: int
    text_bytes: int


class Acquisition(Protocol):
    """One method to write."""

    def decide(self, view: AcquisitionView) -> Plan | Delta:
        """Return the plan; asked at every turn that needs something movable, be it resident or not."""


ACQUISITION: Registry[Acquisition] = Registry("acquisition policy", "simkv.acquisition")
