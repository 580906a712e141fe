"""
One other humd: its links (the rule is `PeerLinks`), where tones to it are written, and what waits for a link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.errors import QueueFull, ToneTooLarge, UnknownPeer
from ensemble.identity import HumdId
from ensemble.mesh.allowance import Allowance, malformed_bucket
from ensemble.mesh.limits import Limits
from ensemble.mesh.link import Link
from ensemble.mesh.link_actions import (
    Action,
    CloseDrained,
    CloseNow,
    GoodbyeReason,
    PauseReading,
    PeerLost,
    PeerUp,
    Refuse,
    ResumeReading,
    SayGoodbye,
    TwoProcesses,
    WriteOn,
)
from ensemble.mesh.link_order import LinkOrder
from ensemble.mesh.link_owner import State
from ensemble.mesh.peer_links import PeerLinks
from ensemble.mesh.reading import Reason
from ensemble.protocols import BYE_FEATURE, Bucket, BudgetExceeded, Level, LineBudget, Standing
from ensemble.tone import Qualifier


def no_link(peer: HumdId) -> UnknownPeer:
    """The error for a tone to whom no link leads."""
    if peer.is_short:  # as our tables have it, where a linked one stands too
        return UnknownPeer(f"{peer.short} is only the beginning of an id: put all of it (`ensemble peers --json`)")
    return UnknownPeer(f"no link to {peer.full}; `ensemble peers` tells why: is it in peers.json, and running?")


class PeerOwner(Protocol):
    """Who is told about a peer."""

    def links_changed(self) -> None:
        """A link came or went, or tones move to another one."""

    def peer_up(self, peer: Peer) -> None:
        """The first link is up."""

    def peer_lost(self, peer: Peer, reason: str) -> None:
        """A loss (wire-0.8 section 6.7); a newer link may be up already."""

    def has_room(self, link: Link) -> None:
        """What was held has left over ``link``, whose queue is at most half full with it."""

    def link_superseded(self, link: Link) -> None:
        """A second link was refused."""

    def hold_shed(self, peer: Peer, cause: str) -> None:
        """What waits for a link to it was the longest of too long queues: it was dropped, and there is room."""

    def undelivered(self, peer: Peer, line: bytes, qualifier: Qualifier) -> None:
        """A tone was held for a link that did not come, or that did not take it."""

    def two_processes(self, peer: Peer) -> None:
        """Links were replaced so often that two processes may share a key."""


class Peer:
    """
    The links to one id.

    :ivar address: how a line of ours to it begins: ``from`` and ``to``, spliced in front of an encoded tone.
    :ivar allowance: what it may send, over all its links; None for no limit.
    :ivar order: which of its links is the older; outlives this.
    :ivar hold: tones that wait for a link that is being made or moved, oldest first.
    :ivar coming: links that are pending towards this id, dialled by us or given to ``install``.
    :ivar standing: of what it and its links hold; whom we dial without a link to it has a row.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_doing",
        "_hold_size",
        "_limits",
        "_links",
        "_owner",
        "_queues",
        "_todo",
        "address",
        "allowance",
        "coming",
        "hold",
        "id",
        "order",
        "standing",
        "waits",
        "writing",
    )

    def __init__(
        self,
        me: HumdId,
        peer: HumdId,
        owner: PeerOwner,
        clock: IReactorTime,
        limits: Limits,
        queues: LineBudget,
        order: LinkOrder,
    ) -> None:
        self.id = peer
        self.address = f'{{"from":"{me.full}","to":"{peer.full}",'.encode()
        self._owner, self._clock = owner, clock
        self._limits, self._queues = limits, queues
        self._links: PeerLinks[Link] = PeerLinks(me, peer, attrgetter("heard"), order, limits.link_close_seconds)
        self.order = order
        self._deadline: IDelayedCall | None = None
        self._todo: deque[Action[Link]] = deque()
        self._doing = False
        self.writing: Link | None = None
        self.allowance: Allowance | None = None
        self.hold: deque[tuple[bytes, bool]] = deque()
        self._hold_size = 0
        self.coming: set[Link] = set()
        self.waits = False
        self.standing = Standing.KNOWN

    @property
    def linked(self) -> bool:
        """True while the peer counts as linked, also while its tones move from one link to another."""
        return self._links.up

    @property
    def up_links(self) -> list[Link]:
        """Its links that are up: one, or for a moment two that were dialled at once."""
        return [link for link in self._links.links() if link.state is State.UP]

    @property
    def idle(self) -> bool:
        """True when nothing is left to remember: no link, none coming, none draining."""
        return not self.linked and not self.coming and not self._links.links()

    def send(self, line: bytes, droppable: bool = False) -> bool:
        """
        Queue one line, stamped already, for the link, or hold it for the one that is coming.

        :returns: True where the source should pause: more than half of the queue is full.
        :raises UnknownPeer: no link, and none is coming.
        :raises QueueFull: the queue, or what is held, is at its bound.
        :raises ToneTooLarge: longer than the peer accepts.
        """
        if self.writing is not None:
            return self.writing.send(line, droppable)
        if self._links.up or self.coming:
            if self._hold_size + len(line) > self._limits.peer_hold_bytes:
                raise QueueFull("the link is not up yet and too much waits for it; try again later")
            self.hold.append((line, droppable))
            self._hold_size += len(line)
            self._queues.note(self, self._hold_size)
            return self._hold_size * 2 > self._limits.peer_hold_bytes
        raise no_link(self.id)

    def set_pace(self, known: bool, strangers: Bucket) -> None:
        """
        How fast it may send, and what it may hold where memory is short, from now on.

        :param known: it has a row.
        :param strangers: for lines that are no tones, of all that have none.
        """
        self.standing = Standing.KNOWN if known else Standing.STRANGER
        for link in self._links.links():
            link.wire.standing = self.standing
        tones, size = self._limits.pace(known)
        if self.allowance is None and (tones or size):
            self.allowance = Allowance(self._limits.throttled_seconds)
        if self.allowance is not None:
            now = self._clock.seconds()
            malformed = malformed_bucket(now) if known else strangers
            self.allowance.set_pace(tones, size, self._limits.burst_seconds, malformed, now)
            for link in self._links.links():
                link.reading.count_for(self.allowance)

    # LineHolder: what is held, among all queues

    def budget_exceeded(self, error: BudgetExceeded) -> None:
        self._clock.callLater(0, self._shed, self._take_held(), str(error))  # somebody is in the middle of a push

    # what happens to links of this peer

    def came_up(self, link: Link) -> None:
        """The handshake of ``link`` is done."""
        shaken = link.shaken
        assert shaken is not None
        self.coming.discard(link)
        link.wire.standing = self.standing
        link.reading.count_for(self.allowance)
        bye = BYE_FEATURE in shaken.features
        self._do(
            self._links.came_up(
                link,
                self._clock.seconds(),
                dialled=link.wire.dialled,
                level=int(shaken.level),
                instance=shaken.instance,
                bye=bye,
                began=link.began,
            )
        )
        # Without proofs a dial of ours may be up at the other side: then both are, and are made one; or it is the newer
        # one there, where we dialled the other, too, and is here as soon as we read its hello.
        proven, ours = shaken.level is Level.PROVEN, link.wire.dialled
        for dial in [other for other in self.coming if self.linked and other.wire.dialled]:
            if not dial.may_be_dropped or (not proven and bye and not ours):
                self._do(self._links.dial_committed(dial, self._clock.seconds()))
            elif proven or not ours:
                self._owner.link_superseded(dial)

    def goodbye_read(self, link: Link, reason: str) -> None:
        """The peer's last line on ``link`` was read."""
        self._do(self._links.goodbye_read(link, reason, self._clock.seconds(), wrote=link.wrote))

    def gone(self, link: Link, reason: str, clean: bool) -> None:
        """The wire of ``link`` is gone, up or not."""
        self.coming.discard(link)
        self._do(self._links.lost(link, self._clock.seconds(), reason=reason, clean=clean))
        if not self.coming and not self.linked:
            self._drop(self._take_held(), Qualifier.ROUTE_SEND_FAILED)

    def leave(self, reason: GoodbyeReason, message: str = "") -> None:
        """
        Our last line where it may still be said, then an orderly close; what is pending is dropped.

        :param message: what the line says to people; empty: the usual words for the reason.
        """
        for link in list(self.coming):
            link.abort()
        self._do(self._links.leave(reason, self._clock.seconds(), message))

    def set_waiting(self, waits: bool) -> None:
        """Somebody waits for an answer of this peer, or nobody does any more."""
        if waits is not self.waits:
            self.waits = waits
            if self.writing is not None:
                self.writing.set_waiting(waits)

    def _do(self, actions: list[Action[Link]]) -> None:
        """Execute in order; what an action leads to comes behind the actions that were there before it."""
        self._owner.links_changed()
        self._todo.extend(actions)
        if self._doing:
            return
        self._doing = True
        try:
            while self._todo:
                self._execute(self._todo.popleft())
        finally:
            self._doing = False
        self._arm()

    def _execute(self, action: Action[Link]) -> None:
        if isinstance(action, WriteOn):
            self._write_on(action.link)
        elif isinstance(action, Refuse):
            self._owner.link_superseded(action.link)
        elif isinstance(action, CloseNow):
            action.link.abort()
        elif isinstance(action, SayGoodbye):
            action.link.say_goodbye(action.reason, action.message)
        elif isinstance(action, CloseDrained):
            action.link.close()
        elif isinstance(action, PauseReading):
            action.link.reading.pause(Reason.SETTLING)
        elif isinstance(action, ResumeReading):
            action.link.reading.resume(Reason.SETTLING)
        elif isinstance(action, PeerUp):
            self._owner.peer_up(self)
        elif isinstance(action, PeerLost):
            self._drop(self._take_held(), Qualifier.PEER_LOST)
            self._owner.peer_lost(self, action.reason)
        elif isinstance(action, TwoProcesses):
            self._owner.two_processes(self)

    def _write_on(self, link: Link | None) -> None:
        self.writing = link
        self._owner.links_changed()
        if link is None:
            return
        if self.waits:
            link.set_waiting(True)
        room = bool(self.hold)
        while self.hold and self.writing is link and link.state is State.UP:
            line, droppable = self.hold.popleft()
            self._hold_size -= len(line)
            self._queues.note(self, self._hold_size)
            try:
                room = not link.send(line, droppable)
            except QueueFull:
                room = False
                self._owner.undelivered(self, line, Qualifier.QUEUE_FULL)
            except ToneTooLarge:
                self._owner.undelivered(self, line, Qualifier.TONE_TOO_LARGE)
        if room:
            self._owner.has_room(link)

    def _take_held(self) -> deque[tuple[bytes, bool]]:
        held, self.hold, self._hold_size = self.hold, deque(), 0
        self._queues.note(self, 0)
        return held

    def _drop(self, held: Iterable[tuple[bytes, bool]], why: Qualifier) -> None:
        for line, _ in held:
            self._owner.undelivered(self, line, why)

    def _shed(self, held: Iterable[tuple[bytes, bool]], cause: str) -> None:
        self._drop(held, Qualifier.QUEUE_FULL)
        self._owner.hold_shed(self, cause)

    def _arm(self) -> None:
        timer, self._deadline = self._deadline, None
        if timer is not None and timer.active():
            timer.cancel()
        deadline = self._links.next_deadline()
        if deadline is not None:
            self._deadline = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._tick)

    def _tick(self) -> None:
        self._deadline = None
        self._do(self._links.tick(self._clock.seconds()))
