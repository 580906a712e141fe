"""Who is linked, and who is told when that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from ensemble.errors import Untargeted
from ensemble.identity import BadHumdId, HumdId
from ensemble.mesh.allowance import malformed_bucket
from ensemble.mesh.chronicle import STRANGERS
from ensemble.mesh.history import History
from ensemble.mesh.limits import Limits
from ensemble.mesh.link import Link
from ensemble.mesh.link_actions import GoodbyeReason
from ensemble.mesh.link_order import PastOrders
from ensemble.mesh.listener import MeshListener
from ensemble.mesh.peer import Peer, no_link
from ensemble.mesh.policy import Policy
from ensemble.mesh.reception import Reception
from ensemble.mesh.refusals import Refusals
from ensemble.protocols import LineBudget, Standing
from ensemble.tone import Envelope, Qualifier

Watcher = Callable[[HumdId, bool], None]


class Membership:
    """
    The peers of one ensemble, linked or about to be.

    :ivar listener: told of every change, before the watchers.
    :ivar watchers: called with an id and whether it is up; a loss is told also where a newer link is up already.
    """

    log = Logger()

    def __init__(
        self,
        me: HumdId,
        clock: IReactorTime,
        reception: Reception,
        refusals: Refusals,
        limits: Limits,
        queues: LineBudget,
    ) -> None:
        self.listener: MeshListener | None = None
        self.watchers: list[Watcher] = []
        self._me, self._clock, self._reception = me, clock, reception
        self._counters, self._chronicle = refusals.counters, refusals.chronicle
        self._limits, self._queues = limits, queues
        self._strangers = malformed_bucket(clock.seconds())
        self._peers: dict[str, Peer] = {}  # by full id: as tones name them, and hashed faster than an id
        self._past = PastOrders()
        self.history = History(clock)
        self._linked: tuple[Peer, ...] | None = None  # until something changes

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def linked(self) -> tuple[Peer, ...]:
        """Those with a link that is up, in the order in which they came; the same tuple until a link changes."""
        if self._linked is None:
            self._linked = tuple(peer for peer in self._peers.values() if peer.linked)
        return self._linked

    def traffic(self) -> int:
        """The bytes of lines that came and went on the links that are up, since this was asked last."""
        fresh = 0
        for peer in self._peers.values():
            link = peer.writing
            if link is not None:  # in here and without a snapshot: it is asked fifty times a second, of all links
                count = link.wire.sent + link.wire.received
                fresh += count - link.counted
                link.counted = count
        return fresh

    def get(self, peer: HumdId) -> Peer | None:
        """What is known of ``peer``; None where there is no link and none is coming."""
        return self._peers.get(peer.full)

    def is_linked(self, peer: HumdId) -> bool:
        """True while there is a link to ``peer``, or its tones are moving from one to another."""
        known = self.get(peer)
        return known is not None and known.linked

    def known(self, peer: HumdId) -> Peer:
        """:raises UnknownPeer: there is no link to it, and none is coming."""
        known = self._peers.get(peer.full)
        if known is None:
            raise no_link(peer)
        return known

    def target(self, to: object) -> Peer:
        """
        The peer that a tone's ``to`` names.

        :raises Untargeted: it names nobody.
        :raises UnknownPeer: as `known`.
        """
        if not isinstance(to, str):
            raise Untargeted("the tone has no `to`: put the humd id of the receiver there")
        found = self._peers.get(to)
        if found is not None:
            return found
        try:
            return self.known(HumdId.parse(to))
        except BadHumdId as error:
            raise Untargeted(f"the tone's `to` is no humd id: {error}") from None

    def expected(self, peer: HumdId) -> Peer:
        """What is known of ``peer``, made where it was nothing."""
        known = self._peers.get(peer.full)
        if known is None:
            order = self._past.take(peer)
            known = Peer(self._me, peer, self, self._clock, self._limits, self._queues, order)
            self._peers[peer.full] = known
        return known

    def came_up(self, link: Link, known: bool) -> None:
        """:param known: the peer has a row; a stranger's pace is another."""
        assert link.peer is not None
        peer = self.expected(link.peer)
        if not peer.linked:
            peer.set_pace(known, self._strangers)
        peer.came_up(link)

    def has_room(self, link: Link) -> None:
        """The queue of ``link``, which was more than half full, is not any more; or what was held fits into it."""
        if self.listener is not None and link.peer is not None:
            self._told(self.listener.peer_has_room, link.peer)

    def garbled(self, peer: HumdId, envelope: Envelope, cause: str) -> None:
        """A line of ``peer`` is no tone; ``envelope`` is what could be read of it."""
        if self.listener is not None:
            self._told(self.listener.garbled, peer, envelope, cause)

    def shed(self, link: Link) -> None:
        """Part from the peer of ``link``, whose queue was thrown away; another link of it may be up by now."""
        known = self._of(link)
        if known is not None and known.writing is link:
            known.leave(GoodbyeReason.LIMIT)
        else:
            link.abort()

    def gone(self, link: Link, reason: str, clean: bool) -> None:
        """The wire of ``link`` is gone; a peer with nothing left is forgotten."""
        if link.dropped:
            self._counters["links.dropped"] += link.dropped
        known = self._of(link)
        if known is None:
            return
        known.gone(link, reason, clean)
        self._forget(known)

    def judge(self, policy: Policy) -> None:
        """Say goodbye on links that these rules do not admit, or not at their level."""
        for peer in self:
            links = peer.up_links
            if not links:
                continue
            known = peer.id in policy.known
            if known != (peer.standing is Standing.KNOWN):  # or it would have full buckets again
                peer.set_pace(known, self._strangers)
            if (barred := policy.barred.get(peer.id)) is not None:
                peer.leave(GoodbyeReason.REMOVED, f"this humd refuses {peer.id.full}: {barred}")
            elif policy.admits(peer.id, wire_secure=True) is not None:
                peer.leave(GoodbyeReason.REMOVED)
            elif any(policy.admits(peer.id, link.wire.secure) is not None for link in links):
                peer.leave(GoodbyeReason.AUTH, "this humd now wants a secure wire")
            elif any(link.shaken.level < policy.level_for(peer.id) for link in links if link.shaken is not None):
                peer.leave(GoodbyeReason.AUTH)

    # PeerOwner

    def links_changed(self) -> None:
        self._linked = None

    def peer_up(self, peer: Peer) -> None:
        self.history.came_up(peer.id)
        link = peer.writing
        if link is not None and link.shaken is not None:
            wire, proof = link.wire.kind, link.shaken.level.word
            self.told_of(peer, LogLevel.info, "linked {peer} over {wire} ({proof})", wire=wire, proof=proof)
        if self.listener is not None:
            self._told(self.listener.peer_up, peer.id)
        self._tell(peer.id, True)

    def peer_lost(self, peer: Peer, reason: str) -> None:
        self._counters["peers.lost"] += 1
        if peer.standing != Standing.STRANGER:  # who come and go, and nobody asks after them
            self.history.lost(peer.id, reason)
        self.told_of(peer, LogLevel.info, "lost {peer}: {reason}", reason=reason)
        if self.listener is not None:
            self._told(self.listener.peer_lost, peer.id, reason)
        self._tell(peer.id, False)
        self._forget(peer)  # its links may be gone long since, while it moved from one to another

    def link_superseded(self, link: Link) -> None:
        self._counters["links.superseded"] += 1
        known = self._of(link)
        if known is not None and known.linked:
            self._reception.ended(link, known.id)
        link.abort()

    def hold_shed(self, peer: Peer, cause: str) -> None:
        self._counters["holds.shed"] += 1
        self.told_of(peer, LogLevel.warn, "dropped what waits for a link to {peer}: {cause}", cause=cause)
        if self.listener is not None:
            self._told(self.listener.peer_has_room, peer.id)

    def undelivered(self, peer: Peer, line: bytes, qualifier: Qualifier) -> None:
        self._counters["tones.undelivered"] += 1
        if self.listener is not None:
            self._told(self.listener.undelivered, peer.id, line, qualifier)

    def two_processes(self, peer: Peer) -> None:
        self.history.two_processes(peer.id)
        form = "{peer} was replaced three times in a minute: do two processes share its key?"
        self.told_of(peer, LogLevel.warn, form)

    def told_of(self, peer: Peer, level: LogLevel, form: str, **fields: object) -> None:
        """A line of the log about ``peer``, whose full id is its ``peer``, unless there were too many."""
        whose = STRANGERS if peer.standing == Standing.STRANGER else peer.id
        self._chronicle.tell(self.log, level, whose, form, peer=peer.id.full, **fields)

    def _of(self, link: Link) -> Peer | None:
        return None if link.peer is None else self.get(link.peer)

    def _forget(self, peer: Peer) -> None:
        if peer.idle and self._peers.get(peer.id.full) is peer:
            del self._peers[peer.id.full]
            self._past.keep(peer.id, peer.order, self._clock.seconds())

    def _tell(self, peer: HumdId, up: bool) -> None:
        for watcher in list(self.watchers):
            self._told(watcher, peer, up)

    def _told(self, told: Callable[..., object], *what: object) -> None:
        try:
            told(*what)
        except Exception:  # noqa: BLE001
            # A bug there must not keep from the next, a Dialler for instance, that a peer is gone.
            self.log.failure("who was told of a peer died")
