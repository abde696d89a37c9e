"""What state are stored blocks in, and what does a look at some of them find?"""

from __future__ import annotations

from dataclasses import dataclass

from simkv.kv.block import Run


class Entry:
    """The state that the blocks of one run share.

    Attributes
    ----------
    arriving : room is reserved, content is not here yet.
    pins : how many users hold it.
    known : the eviction policy has it on its books.
    mark : what the owner attached (the speculated unit that brought it); cut runs share it.
    """

    __slots__ = ("arriving", "known", "mark", "pins")

    def __init__(self, arriving: bool, mark: object = None) -> None:
        self.arriving = arriving
        self.pins = 0
        self.known = False
        self.mark = mark

    def copy(self) -> Entry:
        """Return an equal entry for the other side of a cut."""
        twin = Entry(self.arriving, self.mark)
        twin.pins, twin.known = self.pins, self.known
        return twin


@dataclass(slots=True)
class Survey:
    """What is and is not in a buffer of one run of blocks; each list in order of id.

    Attributes
    ----------
    absent, arriving, resident : pieces.
    idle_blocks : resident blocks that nobody uses.
    is_marked : some of it carries a mark.
    """

    absent: list[Run]
    arriving: list[Run]
    resident: list[Run]
    idle_blocks: int
    is_marked: bool

    @property
    def absent_blocks(self) -> int:
        """How many blocks are absent."""
        return sum([run[1] for run in self.absent])


def room_for(looks: list[Survey]) -> int:
    """Return how many blocks must be taken or kept from eviction; what is in use already cannot make room."""
    return sum(look.absent_blocks + look.idle_blocks for look in looks)
