"""
One tone to many peers, encoded once.

A tone of gossip is the same bytes for everybody (wire-0.8 section 5): all the links share the lines of a turn, and
what is written is joined once.  Any other tone has the receiver in its ``to``, and so a line for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ensemble.errors import RouteError
from ensemble.identity import HumdId
from ensemble.mesh.link import Link
from ensemble.mesh.membership import Membership
from ensemble.mesh.peer import Peer
from ensemble.protocols import Block, Turn


class Broadcast:
    """
    Sends to every linked peer, or to those named.

    Both ways return the ids that the tone could not be queued for.
    """

    def __init__(self, members: Membership, turn: Turn) -> None:
        self._members, self._turn = members, turn
        self._block: Block | None = None  # what the last news went into
        self._whom: tuple[Peer, ...] = ()
        self._linked: tuple[Peer, ...] = ()  # the members then: while it is the same tuple, so are their links
        self._links: list[Link] = []
        self._longest = 0  # bytes of one line that all of these links take; 0 where there is a peer without one

    def addressed(self, rest: bytes, peers: Iterable[HumdId] | None) -> list[HumdId]:
        """:param rest: the encoded tone without its first brace, ``from`` and ``to``."""
        known, missed = self._known(peers)
        return missed + self._each(known, lambda peer: peer.address + rest, droppable=False)

    def news(self, line: bytes, peers: Iterable[HumdId] | None) -> list[HumdId]:
        """:param line: the tone as it goes out; where a peer reads too slowly it may be dropped."""
        known, missed = self._known(peers)
        if self._members.linked() is not self._linked or known != self._whom:
            self._look(known)
        if len(line) > self._longest:
            return missed + self._each(known, lambda _: line, droppable=True)
        if self._block is None or not self._block.add(line):
            self._block = Block(line, self._turn)
            for link in self._links:
                link.send_block(self._block)
        return missed

    def _look(self, known: tuple[Peer, ...]) -> None:
        """Note the links of others than before."""
        self._whom, self._linked, self._block = known, self._members.linked(), None
        self._links = [peer.writing for peer in known if peer.writing is not None]
        accepted = [link.shaken.max_tone for link in self._links if link.shaken is not None]
        # A peer without one is between two links: its tones are held.
        self._longest = min(accepted, default=0) if len(accepted) == len(known) else 0

    def _each(self, peers: Iterable[Peer], line: Callable[[Peer], bytes], droppable: bool) -> list[HumdId]:
        missed = []
        for peer in peers:
            try:
                peer.send(line(peer), droppable)
            except RouteError:
                missed.append(peer.id)
        return missed

    def _known(self, peers: Iterable[HumdId] | None) -> tuple[tuple[Peer, ...], list[HumdId]]:
        if peers is None:
            return self._members.linked(), []
        found = [(peer, self._members.get(peer)) for peer in peers]
        known = tuple(peer for _, peer in found if peer is not None)
        return known, [peer for peer, known in found if known is None]
