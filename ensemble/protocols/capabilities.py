"""
What a humd says of itself in its hello: mesh 4.4.

Nobody is refused for a bad capability: a field of the wrong type means its default, a member of the wrong type is
passed over.  All of it is a claim, and no more true for being signed.

Headroom is how much room is left, and how that feels.  The reference computes with 32-bit floats, and at the edges
(19 of 20 taken is exactly 0.95) that decides, so we round where it does.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Any, Final, TypeGuard

from attrs import field, frozen

MAX_U32: Final = 2**32 - 1
MAX_U64: Final = 2**64 - 1


def _single(value: float) -> float:
    """The nearest 32-bit float."""
    (rounded,) = struct.unpack("!f", struct.pack("!f", value))
    return float(rounded)


WARM_FROM: Final = _single(0.5)  # of the slots taken
HOT_FROM: Final = _single(0.8)
REFUSE_FROM: Final = _single(0.95)


class Pressure(StrEnum):
    """How full a humd is."""

    COOL = "cool"
    WARM = "warm"
    HOT = "hot"
    REFUSE = "refuse"


_PRESSURES: Final = {pressure.value: pressure for pressure in Pressure}


@frozen
class Headroom:
    """
    How much room is left.  The default says nothing: no slots of none.

    :ivar free_slots: 0 to 2**32 - 1.
    :ivar total_slots: the same.
    :ivar p95_latency_ms: the same, or None where it is not known.
    :ivar pressure: as the humd itself sees it.
    """

    free_slots: int = 0
    total_slots: int = 0
    p95_latency_ms: int | None = None
    pressure: Pressure = Pressure.COOL

    @classmethod
    def measured(cls, free_slots: int, total_slots: int, p95_latency_ms: int | None = None) -> Headroom:
        """
        The headroom of so many free slots out of so many, with the pressure that follows.

        :param free_slots: taken as ``total_slots`` where it is more.
        """
        free = min(free_slots, total_slots)
        return cls(free, total_slots, p95_latency_ms, _pressure(total_slots - free, total_slots))

    @classmethod
    def from_json(cls, value: object) -> Headroom:
        """What a hello says; the default where it cannot be read."""
        if not isinstance(value, dict):
            return _UNSAID
        free, total = value.get("free_slots"), value.get("total_slots")
        p95, pressure = value.get("p95_latency_ms"), value.get("pressure")
        if not (_is_count(free, MAX_U32) and _is_count(total, MAX_U32)):
            return cls()
        if p95 is not None and not _is_count(p95, MAX_U32):
            return cls()
        if not isinstance(pressure, str) or pressure not in _PRESSURES:
            return cls()
        return cls(free, total, p95, _PRESSURES[pressure])

    def to_json(self) -> dict[str, Any]:
        """The object of the hello."""
        said: dict[str, Any] = {"free_slots": self.free_slots, "total_slots": self.total_slots}
        if self.p95_latency_ms is not None:
            said["p95_latency_ms"] = self.p95_latency_ms
        return {**said, "pressure": self.pressure.value}


_UNSAID: Final = Headroom()


def _pressure(taken: int, total: int) -> Pressure:
    # A quotient of two 32-bit floats, rounded once to 53 bits and once to 24, is the 32-bit quotient.
    occupancy = _single(_single(taken) / _single(total)) if total else 0.0
    if occupancy < WARM_FROM:
        return Pressure.COOL
    if occupancy < HOT_FROM:
        return Pressure.WARM
    return Pressure.HOT if occupancy < REFUSE_FROM else Pressure.REFUSE


@frozen
class PeerCapabilities:
    """
    What a humd offers.

    :ivar proto_version: what the peer said.  Our own hello says ``THRUM_VERSION``, whatever stands here.
    :ivar nests: the hive kinds that it hosts.
    :ivar hosts: the hums that it hosts.
    :ivar can_relay: it passes on tones of its neighbours.
    :ivar free_slots: None is unbounded or not said, 0 is full.
    :ivar headroom: the default where nothing was said.
    """

    proto_version: str = ""
    nests: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    hosts: tuple[str, ...] = field(default=(), converter=tuple[str, ...])
    can_relay: bool = False
    free_slots: int | None = None
    headroom: Headroom = _UNSAID

    @classmethod
    def from_hello(cls, hello: dict[str, Any]) -> PeerCapabilities:
        """
        What a hello offers.  Never fails.

        :param hello: the decoded tone; its size is the caller's business.
        """
        version, slots = hello.get("proto_version"), hello.get("free_slots")
        return cls(
            proto_version=version if isinstance(version, str) else "",
            nests=_strings(hello.get("nests")),
            hosts=_strings(hello.get("hosts")),
            can_relay=hello.get("can_relay") is True,
            free_slots=slots if _is_count(slots, MAX_U64) else None,
            headroom=Headroom.from_json(hello.get("headroom")),
        )

    def to_hello(self) -> dict[str, Any]:
        """The fields of a hello behind ``proto_version``, in their order; ``headroom`` only where there is any."""
        said: dict[str, Any] = {
            "nests": list(self.nests),
            "hosts": list(self.hosts),
            "can_relay": self.can_relay,
            "free_slots": self.free_slots,
        }
        return {**said, "headroom": self.headroom.to_json()} if self.headroom != _UNSAID else said


def _is_count(value: object, ceiling: int) -> TypeGuard[int]:
    # A bool is an int in Python and a boolean on the wire.
    return type(value) is int and 0 <= value <= ceiling


def _strings(value: object) -> tuple[str, ...]:
    return tuple(member for member in value if isinstance(member, str)) if isinstance(value, list) else ()
