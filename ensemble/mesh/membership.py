"""Who is linked, and who is told when that changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ensemble.errors import Untargeted
from ensemble.identity import BadHumdId, HumdId
from ensemble.mesh.limits import Limits
from ensemble.mesh.link import Link
from ensemble.mesh.listener import MeshListener
from ensemble.mesh.peer import Peer, no_link
from ensemble.mesh.reception import Reception
from ensemble.tone import Qualifier

Watcher = Callable[[HumdId, bool], None]


class Membership:
    """
    The peers of one ensemble, linked or about to be.

    :ivar listener: told of every change, before the watchers.
    :ivar watchers: called with an id and whether it is up; a loss is told also where a newer link is up already.
    """

    log = Logger()

    def __init__(
        self, me: HumdId, clock: IReactorTime, reception: Reception, counters: Counter[str], limits: Limits
    ) -> None:
        self.listener: MeshListener | None = None
        self.watchers: list[Watcher] = []
        self._me, self._clock, self._reception, self._counters = me, clock, reception, counters
        self._limits = limits
        self._peers: dict[HumdId, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def linked(self) -> list[Peer]:
        """Those with a link that is up, in the order in which they came."""
        return [peer for peer in self._peers.values() if peer.linked]

    def get(self, peer: HumdId) -> Peer | None:
        """What is known of C{peer}; None where there is no link and none is coming."""
        return self._peers.get(peer)

    def known(self, peer: HumdId) -> Peer:
        """:raises UnknownPeer: there is no link to it, and none is coming."""
        known = self._peers.get(peer)
        if known is None:
            raise no_link(peer)
        return known

    def target(self, to: object) -> Peer:
        """
        The peer that a tone's C{to} names.

        :raises Untargeted: it names nobody.
        :raises UnknownPeer: as L{known}.
        """
        if not isinstance(to, str):
            raise Untargeted("the tone has no `to`: put the humd id of the receiver there")
        try:
            return self.known(HumdId.parse(to))
        except BadHumdId as error:
            raise Untargeted(f"the tone's `to` is no humd id: {error}") from None

    def expected(self, peer: HumdId) -> Peer:
        """What is known of C{peer}, made where it was nothing."""
        known = self._peers.get(peer)
        if known is None:
            known = self._peers[peer] = Peer(self._me, peer, self, self._clock, self._undelivered, self._limits)
        return known

    def gone(self, link: Link, reason: str, clean: bool) -> None:
        """The wire of C{link} is gone; a peer with nothing left is forgotten."""
        known = self._peers.get(link.peer) if link.peer is not None else None
        if known is None:
            return
        known.gone(link, reason, clean)
        if known.idle and self._peers.get(known.id) is known:
            del self._peers[known.id]

    # PeerOwner

    def peer_up(self, peer: Peer) -> None:
        link = peer.writing
        if link is not None and link.shaken is not None:
            self.log.info(
                "linked {peer} over {wire} ({proof})",
                peer=peer.id.full,
                wire=link.wire.kind,
                proof=link.shaken.level.name.lower(),
            )
        if self.listener is not None:
            self.listener.peer_up(peer.id)
        self._tell(peer.id, True)

    def peer_lost(self, peer: Peer, reason: str) -> None:
        self._counters["peers.lost"] += 1
        self.log.info("lost {peer}: {reason}", peer=peer.id.full, reason=reason)
        if self.listener is not None:
            self.listener.peer_lost(peer.id, reason)
        self._tell(peer.id, False)

    def link_superseded(self, link: Link, cause: str) -> None:
        self._counters["links.superseded"] += 1
        known = self._peers.get(link.peer) if link.peer is not None else None
        if known is not None and known.linked:
            self._reception.ended(link, known.id)
        link.abort()

    def two_processes(self, peer: Peer) -> None:
        self.log.warn("{peer} was replaced three times in a minute: do two processes share its key?", peer=peer.id.full)

    def _tell(self, peer: HumdId, up: bool) -> None:
        for watcher in list(self.watchers):
            watcher(peer, up)

    def _undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier) -> None:
        self._counters["tones.undelivered"] += 1
        if self.listener is not None:
            self.listener.undelivered(peer, line, qualifier)
