"""Errors of ours that peers have no room for yet."""

from __future__ import annotations

from typing import Final

from ensemble.conversations.asks import MAX_ASKS
from ensemble.conversations.outputs import ToPeer
from ensemble.identity import HumdId

MAX_OWED: Final = MAX_ASKS  # errors for one peer
MAX_OWED_BYTES: Final = 4 * 1024 * 1024  # of these: what they quote is as long as its sender likes
MAX_ALL_BYTES: Final = 64 * 1024 * 1024  # of all errors for all peers
SHARE: Final = 64 * 1024  # bytes; a peer that is owed less is not refused for what others are owed
OVERHEAD: Final = 512  # bytes of one error, without its line


class Owed:
    """
    They wait until the queue of their peer drained.

    :ivar size: bytes of all of them.
    """

    def __init__(self) -> None:
        self._kept: dict[HumdId, list[ToPeer]] = {}
        self._sizes: dict[HumdId, int] = {}
        self.size = 0

    def keep(self, output: ToPeer) -> bool:
        """:returns: False where that would be too much, of this peer or of all; then it is not kept."""
        kept, before = self._kept.get(output.peer, []), self._sizes.get(output.peer, 0)
        more = len(output.line) + OVERHEAD
        if len(kept) >= MAX_OWED or before + more > MAX_OWED_BYTES:
            return False
        if self.size + more > MAX_ALL_BYTES and before + more > SHARE:
            return False
        kept.append(output)
        self._kept[output.peer], self._sizes[output.peer] = kept, before + more
        self.size += more
        return True

    def take(self, peer: HumdId) -> list[ToPeer]:
        """What ``peer`` is owed, in order; it is not kept any more."""
        self.size -= self._sizes.pop(peer, 0)
        return self._kept.pop(peer, [])
