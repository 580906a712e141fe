"""
The links that shake hands: which of them is late, and which goes when too many were accepted (wire-0.8 section 2).

Accepting never pauses: a flood would otherwise keep out the one peer that is expected.  Over the limit one goes, by
this order:

1. those without an admissible hello before those with one: a hello costs the flooder an id that we admit;
2. of those, the links of the address that has the most of them (IPv6: of its /64, for a /64 is what one customer
   gets); several addresses with the same number: the one whose first link is oldest;
3. of those, the oldest: it had the longest to speak.

The newcomer is counted with its crowd, but does not itself go: it had no time to speak.  Were it the first to go
wherever all others have spoken, then 26 hellos a second in the name of one id that we admit (a hello is not yet a
proof, and ids are public) would keep everybody out.

An address may besides have no more than its part of the places: beyond that its own go, by the same order.  That the
oldest goes, and not the newcomer, is for those who share an address with a flooder (one NAT, one machine): to keep
them out he must open so many connections in the time of one handshake, and not in ten seconds.  But a connection that
has to go cost us more than it cost him, and a hundred honest peers of one address, all back at once, must not throw
each other out.  So whoever accepts asks `PendingLinks.has_room` first, and refuses a newcomer whose address is full
of links that are younger than `SETTLED_SECONDS`, before anything is made of it.

Each step costs a few logarithms: the crowds stand in a heap, with entries that are no longer true skipped when they
come to the top; the links of a crowd, and all deadlines, stand in lists by age, where nearly all come to the end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from math import inf
from operator import itemgetter
from typing import Final, Generic, TypeVar

from attrs import define

from ensemble.mesh.defaults import PENDING_LINKS, SETTLED_SECONDS
from ensemble.protocols import PENDING_SECONDS, crowd_of

L = TypeVar("L", bound=Hashable)

_FIRST: Final = itemgetter(0)


class _Crowds(Generic[L]):
    """Links by crowd, and which one is to go: the oldest of the largest."""

    def __init__(self) -> None:
        self._members: dict[str, list[tuple[int, L]]] = {}  # crowd: number and link, the oldest first
        self._heap: list[tuple[int, int, str]] = []  # (-size, number of the oldest, crowd)

    def add(self, link: L, crowd: str, number: int) -> None:
        insort(self._members.setdefault(crowd, []), (number, link), key=_FIRST)  # links speak in any order
        self._note(crowd)

    def discard(self, crowd: str, number: int) -> None:
        members = self._members[crowd]
        del members[bisect_left(members, number, key=_FIRST)]
        if members:
            self._note(crowd)
        else:
            del self._members[crowd]

    def size(self, crowd: str) -> int:
        return len(self._members.get(crowd, ()))

    def oldest_of(self, crowd: str) -> L:
        """The oldest link of this crowd; there must be one."""
        return self._members[crowd][0][1]

    def worst(self) -> L:
        """The link that is to go first; there must be one."""
        while self._entry(self._heap[0][2]) != self._heap[0]:
            heappop(self._heap)
        return self.oldest_of(self._heap[0][2])

    def _entry(self, crowd: str) -> tuple[int, int, str] | None:
        members = self._members.get(crowd)
        if members is None:
            return None
        return -len(members), members[0][0], crowd

    def _note(self, crowd: str) -> None:
        entry = self._entry(crowd)
        assert entry is not None
        heappush(self._heap, entry)
        if len(self._heap) > 4 * len(self._members) + 64:  # mostly stale: start afresh
            self._heap = [entry for known in self._members if (entry := self._entry(known)) is not None]
            heapify(self._heap)


@define(eq=False)
class _Pending:
    """One link that is pending."""

    until: float
    number: int
    crowd: str | None  # None where we dialled
    admissible: bool = False


class PendingLinks(Generic[L]):
    """The pending links of one humd, of all its wires."""

    def __init__(
        self, limit: int = PENDING_LINKS, seconds: float = PENDING_SECONDS, per_address: int | None = None
    ) -> None:
        """
        :param limit: accepted links that may be pending at once, at least 1; our own dials are not counted.
        :param seconds: from accept or connect to up.
        :param per_address: of them from one address (IPv6: /64), at least 1; None for as many as all together.
        """
        self._limit, self._seconds = max(1, limit), seconds
        self._per_address = max(1, self._limit if per_address is None else per_address)
        self._links: dict[L, _Pending] = {}
        self._deadlines: list[tuple[tuple[float, int], L]] = []  # with the number of each, the first first
        self._accepted = 0
        self._numbers = 0
        self._silent: _Crowds[L] = _Crowds()
        self._spoke: _Crowds[L] = _Crowds()

    def __len__(self) -> int:
        """How many accepted links are pending."""
        return self._accepted

    def __contains__(self, link: L) -> bool:
        """Is it pending?"""
        return link in self._links

    def accepted(self, link: L, address: str, now: float) -> tuple[L, bool] | None:
        """
        A connection was accepted.

        :param address: the host that it came from, without port.
        :param now: when it was connected, before TLS was spoken.
        :returns: the link that has to go, and True where only its address has too many; it is forgotten here already.
        """
        crowd = crowd_of(address)
        self._begin(link, crowd, now)
        self._accepted += 1
        self._silent.add(link, crowd, self._numbers)
        of_address = self._size(crowd) > self._per_address
        if of_address:
            worst = self._silent.oldest_of(crowd)
            if worst == link:  # the only one of its address that has not spoken
                worst = self._spoke.oldest_of(crowd)  # there is one: both limits are at least 1
        elif self._accepted > self._limit:
            worst = self._silent.worst()
            if worst == link:  # the only one that has not spoken, for of equal crowds the oldest goes
                worst = self._spoke.worst()
        else:
            return None
        self.gone(worst)
        return worst, of_address and self._per_address < self._limit

    def has_room(self, address: str, now: float) -> bool:
        """
        Should another connection of this address be accepted?

        :returns: False where the link that would have to go for it has only just come.
        """
        crowd = crowd_of(address)
        if self._size(crowd) < self._per_address:
            return True
        first = (self._silent if self._silent.size(crowd) else self._spoke).oldest_of(crowd)
        return self._links[first].until - self._seconds + SETTLED_SECONDS <= now

    def dialled(self, link: L, now: float) -> None:
        """We began to connect: it has a deadline, and is not counted."""
        self._begin(link, None, now)

    def admissible(self, link: L) -> None:
        """A hello that we may admit was read on it.  Nothing for a link that is not pending, or our own."""
        pending = self._links.get(link)
        if pending is None or pending.crowd is None or pending.admissible:
            return
        self._silent.discard(pending.crowd, pending.number)
        pending.admissible = True
        self._spoke.add(link, pending.crowd, pending.number)

    def gone(self, link: L) -> None:
        """It is up, refused or lost.  Nothing for a link that is not pending."""
        pending = self._links.pop(link, None)
        if pending is None:
            return
        del self._deadlines[bisect_left(self._deadlines, (pending.until, pending.number), key=_FIRST)]
        if pending.crowd is not None:
            self._accepted -= 1
            (self._spoke if pending.admissible else self._silent).discard(pending.crowd, pending.number)

    def tick(self, now: float) -> list[L]:
        """:returns: the links whose time is over, oldest first; they are forgotten here already."""
        late = [link for _, link in self._deadlines[: bisect_right(self._deadlines, (now, inf), key=_FIRST)]]
        for link in reversed(late):  # a list is cheaper to shorten behind
            self.gone(link)
        return late

    def next_deadline(self) -> float | None:
        """When to call `tick`; None while nothing is pending."""
        return self._deadlines[0][0][0] if self._deadlines else None

    def _size(self, crowd: str) -> int:
        return self._silent.size(crowd) + self._spoke.size(crowd)

    def _begin(self, link: L, crowd: str | None, now: float) -> None:
        self._numbers += 1
        until = now + self._seconds
        self._links[link] = _Pending(until, self._numbers, crowd)
        insort(self._deadlines, ((until, self._numbers), link), key=_FIRST)  # a dial tells of itself after TLS
