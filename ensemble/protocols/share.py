"""
How much of our time connections from anybody may take, and whose turn it is.

To accept a connection costs us some tenths of a millisecond, and the signature and the verifications of a TLS handshake
a whole one; to open one costs a flooder next to nothing.  So while many tones flow both have a `Share` of the time,
and what does not fit into it waits, in a `FairQueue`:

- Addresses (IPv6: /64s) take turns.  However many connections one of them opens, another waits for two handshakes of
  each address that waits, and not for one of each connection.
- Within an address the oldest is next.  It is the next to go should there be too many (wire-0.8 section 2), and it has
  the least of its ten seconds left.
- Every second turn is that of the address that came last and had none yet.  Where more addresses come than can be
  served, whoever has waited longest is about to go: to serve nobody else would serve nobody.

No clock in here: time is an argument, in seconds, and may stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Generic, TypeVar

from ensemble.protocols.bucket import Bucket

W = TypeVar("W", bound=Hashable)

BURST_SECONDS: Final = 0.05  # of work that needs no waiting after a rest
FLOW_SECONDS: Final = 1.0  # tones flow where FLOW_BYTES a second came and went within this
# What is less gets its turn beside any flood, for a turn is short and takes 64 KiB from each link.
FLOW_BYTES: Final = 256 * 1024
SPAN_SECONDS: Final = 0.1  # of traffic, at least: what came in less says little about a second
LOOK_SECONDS: Final = 0.02  # between two looks at it, for what a flood takes until we see that tones flow is theirs
LONGEST_SECONDS: Final = 1.0  # of one piece of work; what seems longer is a suspend, or a clock that was set


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


Traffic = Callable[[], int]
"""The bytes of tones that came and went since it was asked last; links that only came or went are no tones."""


class Flow:
    """Do tones flow, so many that work for others could hold them up?"""

    def __init__(self, traffic: Traffic) -> None:
        """:param traffic: asked fifty times a second at most."""
        self._traffic = traffic
        self._since = self._looked = self._flowed = float("-inf")
        self._some = 0  # bytes since ``_since``

    def flows(self, now: float) -> bool:
        """Did they, within the last second?"""
        if abs(now - self._looked) >= LOOK_SECONDS:  # also where the clock was set back
            self._looked, since = now, abs(now - self._since)
            self._some += self._traffic()
            many = self._some >= FLOW_BYTES * min(max(since, SPAN_SECONDS), FLOW_SECONDS)
            if many:
                self._flowed = now
            if many or since >= SPAN_SECONDS:
                self._since, self._some = now, 0  # none is seen twice
        return abs(now - self._flowed) < FLOW_SECONDS


class Share:
    """
    Work that may take a share of the time while tones flow, and all of it else.

    A bucket of seconds.  While tones flow, what is done in any ``t`` seconds by somebody who asks `wait` first is at
    most ``share * t + BURST_SECONDS`` and the last piece of it, of ``LONGEST_SECONDS`` at most.  The burst is for those
    who come after a rest: what was done before tones flowed is taken from it, and nothing is owed for it.
    """

    def __init__(self, share: float, flow: Flow) -> None:
        """:param share: of one second, above 0, at most 1."""
        self._flow = flow
        self._bucket = Bucket(share, BURST_SECONDS, float("-inf"))

    def wait(self, now: float) -> float:
        """Seconds until more may be done; 0 where that is now."""
        return self._bucket.take(0.0, now) if self._flow.flows(now) else 0.0

    def spent(self, seconds: float, now: float) -> None:
        """So much was done until ``now``."""
        spend = self._bucket.take if self._flow.flows(now) else self._bucket.drain
        spend(min(seconds, LONGEST_SECONDS), now)


class FairQueue(Generic[W]):
    """Those who wait, by address: see the module for whose turn it is."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[W, None]] = {}  # crowd: oldest first; the crowd that waits longest is first
        self._new: dict[str, None] = {}  # the crowds that had no turn yet; the last came last
        self._newest = True  # had the last turn
        self._crowds: dict[W, str] = {}

    def __len__(self) -> int:
        return len(self._crowds)

    def add(self, waiter: W, address: str) -> None:
        """:param address: a host without port."""
        crowd = crowd_of(address)
        self._crowds[waiter] = crowd
        if crowd not in self._lines:
            self._lines[crowd] = {}
            self._new[crowd] = None
        self._lines[crowd][waiter] = None

    def discard(self, waiter: W) -> None:
        """It waits no longer.  Nothing for one that does not wait."""
        crowd = self._crowds.pop(waiter, None)
        if crowd is not None:
            line = self._lines[crowd]
            del line[waiter]
            if not line:
                del self._lines[crowd]
                self._new.pop(crowd, None)

    def next(self) -> W:
        """Whose turn it is; it waits no longer.  There must be one."""
        self._newest = not self._newest and bool(self._new)
        crowd = next(reversed(self._new)) if self._newest else next(iter(self._lines))
        line = self._lines[crowd]
        waiter = next(iter(line))
        self.discard(waiter)
        self._new.pop(crowd, None)
        if line:
            self._lines[crowd] = self._lines.pop(crowd)  # behind all others
        return waiter
