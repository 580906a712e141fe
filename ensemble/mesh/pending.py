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

Each step costs the logarithm of the number of addresses and a look at the links of one: a heap of crowds, with
entries that are no longer true skipped when they come to the top.  Deadlines need no heap: they are looked
through when one is due.  (All links have the same ten seconds, but those over TLS come here with some of them used.)
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from ipaddress import AddressValueError, IPv6Address
from operator import itemgetter
from typing import Generic, TypeVar

from attrs import define

from ensemble.mesh.defaults import PENDING_LINKS, PENDING_SECONDS

L = TypeVar("L", bound=Hashable)


def crowd_of(address: str) -> str:
    """
    Who counts as one: an IPv6 address stands for its /64, an IPv4 one (also written as ``::ffff:1.2.3.4``) for itself.

    :param address: a host without port; what is no IP address stands for itself.
    """
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


class _Crowds(Generic[L]):
    """Links by crowd, and which one is to go: the oldest of the largest."""

    def __init__(self) -> None:
        self._members: dict[str, dict[L, int]] = {}  # crowd: link: its number; not by age, for links speak in any order
        self._heap: list[tuple[int, int, str]] = []  # (-size, number of the oldest, crowd)

    def add(self, link: L, crowd: str, number: int) -> None:
        self._members.setdefault(crowd, {})[link] = number
        self._note(crowd)

    def discard(self, link: L, crowd: str) -> None:
        members = self._members[crowd]
        del members[link]
        if members:
            self._note(crowd)
        else:
            del self._members[crowd]

    def worst(self) -> L:
        """The link that is to go first; there must be one."""
        while self._entry(self._heap[0][2]) != self._heap[0]:
            heappop(self._heap)
        return min(self._members[self._heap[0][2]].items(), key=itemgetter(1))[0]

    def _entry(self, crowd: str) -> tuple[int, int, str] | None:
        members = self._members.get(crowd)
        if members is None:
            return None
        return -len(members), min(members.values()), crowd

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

    def __init__(self, limit: int = PENDING_LINKS, seconds: float = PENDING_SECONDS) -> None:
        """
        :param limit: accepted links that may be pending at once, at least 1; our own dials are not counted.
        :param seconds: from accept or connect to up.
        """
        self._limit, self._seconds = max(1, limit), seconds
        self._links: dict[L, _Pending] = {}  # in the order in which they came
        self._accepted = 0
        self._numbers = 0
        self._silent: _Crowds[L] = _Crowds()
        self._spoke: _Crowds[L] = _Crowds()

    def __len__(self) -> int:
        """How many accepted links are pending."""
        return self._accepted

    def accepted(self, link: L, address: str, now: float) -> L | None:
        """
        A connection was accepted.

        :param address: the host that it came from, without port.
        :param now: when it was connected, before TLS was spoken.
        :returns: the link that has to go; it is forgotten here already.
        """
        crowd = crowd_of(address)
        self._begin(link, crowd, now)
        self._accepted += 1
        self._silent.add(link, crowd, self._numbers)
        if self._accepted <= self._limit:
            return None
        worst = self._silent.worst()
        if worst == link:  # the only one that has not spoken, for of equal crowds the oldest goes
            worst = self._spoke.worst()  # there is one: the limit is at least 1
        self.gone(worst)
        return worst

    def dialled(self, link: L, now: float) -> None:
        """We began to connect: it has a deadline, and is not counted."""
        self._begin(link, None, now)

    def admissible(self, link: L) -> None:
        """A hello that we may admit was read on it.  Nothing for a link that is not pending, or our own."""
        pending = self._links.get(link)
        if pending is None or pending.crowd is None or pending.admissible:
            return
        self._silent.discard(link, pending.crowd)
        pending.admissible = True
        self._spoke.add(link, pending.crowd, pending.number)

    def gone(self, link: L) -> None:
        """It is up, refused or lost.  Nothing for a link that is not pending."""
        pending = self._links.pop(link, None)
        if pending is None or pending.crowd is None:
            return
        self._accepted -= 1
        (self._spoke if pending.admissible else self._silent).discard(link, pending.crowd)

    def tick(self, now: float) -> list[L]:
        """:returns: the links whose time is over, oldest first; they are forgotten here already."""
        late = sorted(
            (link for link, pending in self._links.items() if pending.until <= now),
            key=lambda link: self._links[link].until,
        )
        for link in late:
            self.gone(link)
        return late

    def next_deadline(self) -> float | None:
        """When to call L{tick}; None while nothing is pending."""
        return min((pending.until for pending in self._links.values()), default=None)

    def _begin(self, link: L, crowd: str | None, now: float) -> None:
        self._numbers += 1
        self._links[link] = _Pending(now + self._seconds, self._numbers, crowd)
