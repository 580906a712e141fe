"""
Which of the links to one peer is the older, and may bring tones that are older than what was read (docs/one-link.rst).

A network may hold back the last handshake line of a link, and the tones behind it, until the peer has given that link
up and spoken on another.  So a link that comes up late is refused where the peer may have lost it before.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final, Generic, TypeVar

from attrs import frozen

from ensemble.identity import HumdId
from ensemble.mesh.defaults import CROSSED_SECONDS, REPLACED_OFTEN, REPLACED_SECONDS
from ensemble.protocols import PENDING_SECONDS

L = TypeVar("L", bound=Hashable)

RECENT_SECONDS: Final = CROSSED_SECONDS + PENDING_SECONDS  # no link that began so long ago comes up
MOST_PAST: Final = 4096  # peers without a link that are remembered at once


@frozen(eq=False)
class Up(Generic[L]):
    """
    A link that came up, as it was then.

    :ivar began: when it was accepted or dialled; None where that is not known.
    """

    link: L
    dialled: bool
    level: int
    instance: str | None
    bye: bool
    since: float
    began: float | None


class Contest(Generic[L]):
    """Whether links replace each other as if two processes had the key of one peer."""

    __slots__ = ("_replaced_at",)

    def __init__(self) -> None:
        self._replaced_at: tuple[float, ...] = ()  # the last of them, twice where it was another instance

    def replaced(self, olds: Sequence[Up[L]], new: Up[L], now: float) -> bool:
        """
        ``new`` took the place of ``olds``.

        One process replaces its own links where it loses them before we notice, which its growing pauses allow five
        times within a minute; but what it says is its instance, another may say, too.  So that counts half.
        :returns: True for what is one time too many.
        """
        same = olds and new.instance is not None and all(old.instance == new.instance for old in olds)
        ats = (*self._replaced_at, *(now for _ in range(1 if same else 2)))[-2 * REPLACED_OFTEN :]
        often = len(ats) == 2 * REPLACED_OFTEN and now - ats[0] <= REPLACED_SECONDS
        self._replaced_at = () if often else ats
        return often


class LinkOrder:
    """
    What came up and stayed, and when something was lost.

    :ivar lost_at: the latest loss, on the clock of the owner.
    """

    __slots__ = ("_accepted", "_latest", "lost_at")

    def __init__(self) -> None:
        self.lost_at = -math.inf
        self._latest: Up[None] | None = None  # of a link that is remembered, and not kept
        self._accepted: Up[None] | None = None  # the latest that we did not dial

    def came_up(self, new: Up[L]) -> None:
        """It was not refused."""
        self._latest = Up(None, new.dialled, new.level, new.instance, new.bye, new.since, new.began)
        if not new.dialled:
            self._accepted = self._latest

    def late(self, new: Up[L]) -> bool:
        """
        May the peer have given ``new`` up before it said what was read last?

        Who dials anew has given up what it dialled before.  Of two processes the later one is that whose link began
        later, for it was there when it began.  And what began before a loss may have been lost before it.
        """
        last = self._latest
        if last is None or last.began is None or new.began is None:
            return False
        if new.since < max(last.since, self.lost_at):
            return False  # the clock was set back
        if new.dialled is last.dialled or new.instance != last.instance:
            return new.began < last.began
        return new.began < self.lost_at

    def outlived(self, loser: Up[L]) -> bool:
        """Is the winner, for which the peer leaves this link, one that came and went here before?"""
        last = self._accepted
        return last is not None and last.instance == loser.instance and loser.since - last.since < RECENT_SECONDS


class PastOrders:
    """Those of peers that have no link now, for as long as one that began before may come up."""

    def __init__(self) -> None:
        self._kept: OrderedDict[HumdId, tuple[float, LinkOrder]] = OrderedDict()  # since when; the oldest first

    def keep(self, peer: HumdId, order: LinkOrder, now: float) -> None:
        """Its last link is gone; nothing where none was up."""
        if order.lost_at == -math.inf:
            return
        while self._kept:
            oldest, (since, _) = next(iter(self._kept.items()))
            if len(self._kept) < MOST_PAST and now - since < RECENT_SECONDS:
                break
            del self._kept[oldest]
        self._kept[peer] = (now, order)

    def take(self, peer: HumdId) -> LinkOrder:
        """What was kept of ``peer``, or a new one, which is the caller's now."""
        _, order = self._kept.pop(peer, (0.0, None))
        return order if order is not None else LinkOrder()
