"""Links that are not up yet: who waits for them, how long they may take, and which goes when there are too many."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.errors import LinkRefused
from ensemble.identity import HumdId
from ensemble.mesh.link import Link
from ensemble.mesh.pending import PendingLinks
from ensemble.mesh.refusals import Refusals
from ensemble.protocols import Refused


class Reception:
    """The pending links of one ensemble, over all its wires."""

    def __init__(self, clock: IReactorTime, refusals: Refusals, limit: int) -> None:
        """:param limit: accepted links that may be pending at once; our own dials are not counted."""
        self._clock, self._refusals, self._limit = clock, refusals, limit
        self._pending: PendingLinks[Link] = PendingLinks(limit)
        self._timer: IDelayedCall | None = None
        self._waiting: dict[Link, Deferred[HumdId]] = {}

    def __len__(self) -> int:
        """How many accepted links are pending."""
        return len(self._pending)

    def begin(self, link: Link) -> Deferred[HumdId]:
        """
        A wire was dialled or accepted.

        :returns: fires with the peer's id, or L{LinkRefused}.  Cancelling drops the link.
        """
        began, evicted = link.wire.began, None
        now = self._clock.seconds() if began is None else began
        done: Deferred[HumdId] = Deferred(lambda _: self._given_up(link))
        self._waiting[link] = done
        if link.wire.dialled:
            self._pending.dialled(link, now)
        else:
            evicted = self._pending.accepted(link, link.wire.address, now)
        if evicted is not None:
            self._refusals.refused("pending.limit", f"more than {self._limit} links are pending", evicted.wire.address)
            evicted.abort()
        self._arm()
        return done

    def admissible(self, link: Link) -> None:
        """It showed a hello that would be let in."""
        self._pending.admissible(link)

    def refused(self, link: Link, refused: Refused) -> None:
        """The handshake of C{link} failed."""
        who = refused.peer if refused.peer is not None else link.peer
        name = who.full if who is not None else link.wire.address
        if refused.counter != "dial.superseded":
            self._refusals.refused(refused.counter, refused.cause, name, refused.mend)
        self.ended(link, LinkRefused(f"{name}: {refused.cause}", refused.mend))

    def came_up(self, link: Link) -> Callable[[HumdId], None]:
        """
        C{link} is up, and not pending any more.

        :returns: tells whoever waits for it; to be called when everybody else has been told.
        """
        self._pending.gone(link)
        done = self._waiting.pop(link, None)

        def tell(peer: HumdId) -> None:
            if done is not None and not done.called:  # who is told of the link first may give this up
                done.callback(peer)

        return tell

    def ended(self, link: Link, outcome: HumdId | LinkRefused) -> None:
        """C{link} will never be up.  Nothing for a link that is not pending."""
        self._pending.gone(link)
        done = self._waiting.pop(link, None)
        if done is None or done.called:
            return
        if isinstance(outcome, LinkRefused):
            done.errback(outcome)
        else:
            done.callback(outcome)

    def lost(self, link: Link, reason: str) -> None:
        """The wire of C{link} is gone.  Nothing for a link that is not pending."""
        told = f"the connection was lost before the link was up: {reason}"
        if link.wire.dialled:
            # To somebody it does not know the other side may not say why, so both usual causes are named.
            told += (
                "; the other humd closed it: does its peers.json have a row for us (`ensemble id` shows what to run "
                "there), and does it want more proof?"
            )
        self.ended(link, LinkRefused(told))

    def close(self) -> None:
        """Drop all that is pending."""
        for link in list(self._waiting):
            link.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _given_up(self, link: Link) -> None:
        if link in self._waiting:
            link.abort()

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
        for link in self._pending.tick(self._clock.seconds()):
            link.too_late()
        self._arm()
