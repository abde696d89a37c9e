"""The source sends the positions that are new."""

from __future__ import annotations

from dataclasses import dataclass

from simkv.policies.acquisition.question import ACQUISITION, AcquisitionView, Delta


@ACQUISITION.register("delta")
@dataclass
class DeltaUpdate:
    """Fetch positions, not blocks: the front of a block that an older version holds is not sent again.

    KV of old positions of a causal prefix never changes, so a delta is the new positions and nothing else. Where
    blocks are full and no edit falls inside one it sends what `fetch` sends, and the names of two versions.

    Parameters
    ----------
    version_bytes : [bytes] that name the old and the new version, with every run of blocks that is sent.
    importance_bytes : [bytes] of metadata with each position, such as its attention weight; not KV.

    Source: rsync (Tridgell and Mackerras, TR-CS-96-05, 1996) sends what a named older version lacks.
    """

    version_bytes: int = 64  # two SHA-256 digests
    importance_bytes: int = 0

    def __post_init__(self) -> None:
        for name in ("version_bytes", "importance_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: want at least 0, got {getattr(self, name)}")

    def decide(self, view: AcquisitionView) -> Delta:
        """Return the only plan it has."""
        return Delta(self.version_bytes, self.importance_bytes)
