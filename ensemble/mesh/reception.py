"""Links that are not up yet: who waits for them, how long they may take, and which goes when there are too many."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.errors import LinkRefused
from ensemble.identity import HumdId
from ensemble.interfaces import IWire
from ensemble.mesh.limits import Limits
from ensemble.mesh.link import Link
from ensemble.mesh.pending import PendingLinks
from ensemble.mesh.refusals import Refusals
from ensemble.protocols import Porch, Refused, SomebodyElse, Traffic

NAMELESS: Final = "a nameless socket"  # a Unix one


class Reception:
    """
    The pending links of one ensemble, over all its wires; and the wires that are no links yet: they wait for a turn,
    and TLS comes first.
    """

    def __init__(self, clock: IReactorTime, refusals: Refusals, limits: Limits, traffic: Traffic) -> None:
        """:param traffic: of the links that are up."""
        self._clock, self._refusals, self._limits = clock, refusals, limits
        self._pending: PendingLinks[IWire] = PendingLinks(
            limits.pending_links, limits.pending_seconds, limits.address_pending_links
        )
        self.porch = Porch(
            clock,
            self,
            traffic=traffic,
            handshake_percent=limits.handshake_percent,
            accept_percent=limits.accept_percent,
        )
        self._timer: IDelayedCall | None = None
        self._waiting: dict[Link, Deferred[HumdId]] = {}
        self._links: dict[IWire, Link] = {}  # of those that wait

    def __len__(self) -> int:
        """How many accepted links are pending."""
        return len(self._pending)

    def has_room(self, address: str) -> bool:
        if self._pending.has_room(address, self._clock.seconds()):
            return True
        self._crowded("pending.address", address)
        return False

    def came(self, wire: IWire) -> None:
        too_many = self._pending.accepted(wire, wire.address, self._began(wire))
        if too_many is not None:
            evicted, of_address = too_many
            self._crowded("pending.address" if of_address else "pending.limit", evicted.address)
            self._links.get(evicted, evicted).abort()
        self._arm()

    def gone(self, wire: IWire) -> None:
        self._pending.gone(wire)

    def begin(self, link: Link) -> Deferred[HumdId]:
        """
        A wire was dialled or accepted.

        :returns: fires with the peer's id, or `LinkRefused`.  Cancelling drops the link.
        """
        done: Deferred[HumdId] = Deferred(lambda _: self._given_up(link))
        self._waiting[link], self._links[link.wire] = done, link
        if link.wire.dialled:
            self._pending.dialled(link.wire, self._began(link.wire))
            self._arm()
        elif link.wire not in self._pending:  # nobody's porch has told of it
            self.came(link.wire)
        return done

    def admissible(self, link: Link) -> None:
        """It showed a hello that would be let in."""
        self._pending.admissible(link.wire)

    def refused(self, link: Link, refused: Refused) -> None:
        """The handshake of ``link`` failed."""
        who = refused.peer if refused.peer is not None else link.peer
        name = who.full if who is not None else link.wire.address or NAMELESS
        if refused.counter != "dial.superseded":
            self._refusals.refused(refused.counter, refused.cause, name, refused.mend)
        cause = f"{name}: {refused.cause}"
        if who is not None and refused.counter == "handshake.other-id":
            self.ended(link, SomebodyElse(cause, who))
        else:
            self.ended(link, LinkRefused(cause, refused.mend))

    def came_up(self, link: Link) -> Callable[[HumdId | LinkRefused], None]:
        """
        ``link`` is up, and not pending any more.

        :returns: tells whoever waits for it; to be called when everybody else has been told.
        """
        return partial(_tell, self._taken(link))

    def ended(self, link: Link, outcome: HumdId | LinkRefused) -> None:
        """``link`` will never be up.  Nothing for a link that is not pending."""
        _tell(self._taken(link), outcome)

    def lost(self, link: Link, reason: str) -> None:
        """The wire of ``link`` is gone.  Nothing for a link that is not pending."""
        told = f"the connection was lost before the link was up: {reason}"
        if link.wire.dialled and not link.wire.broken:
            # To somebody it does not know the other side may not say why, so both usual causes are named.
            told += (
                "; the other side closed it: does its peers.json have a row for us (`ensemble id` shows what to run "
                "there), does it want more proof"
            )
            told += ", does it refuse plain TCP, or is it a tls: port?" if link.wire.kind == "tcp" else "?"
        self.ended(link, LinkRefused(told))

    def close(self) -> None:
        """Drop all that is pending."""
        for wire in self._pending.tick(float("inf")):
            self._links.get(wire, wire).abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _given_up(self, link: Link) -> None:
        if link in self._waiting:
            link.abort()

    def _taken(self, link: Link) -> Deferred[HumdId] | None:
        """
        ``link`` is not pending any more.

        :returns: who waits for it.
        """
        self._pending.gone(link.wire)
        self._links.pop(link.wire, None)
        return self._waiting.pop(link, None)

    def _began(self, wire: IWire) -> float:
        return self._clock.seconds() if wire.began is None else wire.began

    def _crowded(self, counter: str, address: str) -> None:
        if counter == "pending.limit":
            cause, limit = f"more than {self._limits.pending_links} links are pending", "pending_links"
        else:
            most, limit = self._limits.address_pending_links, "address_pending_links"
            cause = f"more than {most} links of its address are pending"
        self._refusals.refused(counter, cause, address, f"--limit {limit}=… allows more")

    def _arm(self) -> None:
        """One timer for all of them; it is left alone while it fires early enough."""
        deadline = self._pending.next_deadline()
        if deadline is None:
            return
        left = max(0.0, deadline - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(left, self._due)
        elif self._timer.getTime() > self._clock.seconds() + left:
            self._timer.reset(left)

    def _due(self) -> None:
        self._timer = None
        for wire in self._pending.tick(self._clock.seconds()):
            link = self._links.get(wire)
            if link is not None:
                link.too_late()
            elif not wire.secure:  # where TLS is still spoken the wire has the same deadline
                cause = f"it had no turn within {self._limits.pending_seconds} s"
                self._refusals.refused("handshake.timeout", cause, wire.address or NAMELESS)
                wire.abort()
        self._arm()


def _tell(done: Deferred[HumdId] | None, outcome: HumdId | LinkRefused) -> None:
    if done is None or done.called:  # who is told of the link first may give this up
        return
    if isinstance(outcome, LinkRefused):
        done.errback(outcome)
    else:
        done.callback(outcome)
