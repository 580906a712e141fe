"""The addresses of this machine: which of them others would dial."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

# Documentation addresses: to ask the routing table takes an address far away, and nothing is ever sent there.
_FAR_AWAY: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_EVERYWHERE: Final = {"0.0.0.0": (socket.AF_INET,), "::": (socket.AF_INET6, socket.AF_INET)}
_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_PREFERENCES: Final = (72, 0x0002)  # linux/in6.h: IPV6_ADDR_PREFERENCES, IPV6_PREFER_SRC_PUBLIC (RFC 5014)
_SIOCGIFFLAGS: Final = 0x8913  # linux/sockios.h
_SIOCGIFADDR: Final = 0x8915
_IFF_UP: Final = 0x1
_IFREQ: Final = struct.Struct("16s4x4s16x")  # linux/if.h: the name, and of a sockaddr_in the address
_IFREQ_FLAGS: Final = struct.Struct("16sH22x")
_IF_INET6: Final = Path("/proc/net/if_inet6")
_NOT_OURS: Final = 0x08 | 0x40  # linux/if_addr.h: DADFAILED, another has it; TENTATIVE, that is being asked
_PASSING: Final = 0x01 | 0x20  # TEMPORARY, DEPRECATED


def outward_addresses(interface: str) -> list[str]:
    """
    What others dial for a port of ours.

    :param interface: an address; ``0.0.0.0`` for all of IPv4, and ``::`` for all, of IPv4 too where the system has it
        so.
    :returns: that address; else one of each family, as others see us.  The first is what the routing table would use
        for a machine far away.  Where nothing leads there, as on a network of its own, it is the first that an
        interface has, on Linux; and where there is none, the loopback address.
    """
    families = _EVERYWHERE.get(interface)
    if families is None:
        return [interface]
    if interface == "::" and _is_ipv6_only():
        families = families[:1]
    found: dict[int, str] = {}
    for place in (_routed, _of_interfaces) if sys.platform == "linux" else (_routed,):
        for family in families:
            if family in found:
                continue
            if (first := next(filter(_leads_here, place(family)), None)) is not None:
                found[family] = first
    return list(found.values()) or [_LOOPBACK[families[-1]]]


def _leads_here(address: str) -> bool:
    """From elsewhere; a link-local one means nothing without an interface of whoever dials."""
    ip = ip_address(address)
    return not (ip.is_loopback or ip.is_link_local)


def _is_ipv6_only() -> bool:
    """What the system makes of a socket that listens on ``::``."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            return bool(probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    except OSError:
        return True


def _routed(family: int) -> list[str]:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if family == socket.AF_INET6 and sys.platform == "linux":
                # What is pasted elsewhere is to last: no address that is another one next week (RFC 8981).
                with suppress(OSError):
                    probe.setsockopt(socket.IPPROTO_IPV6, *_PREFERENCES)
            probe.connect((_FAR_AWAY[socket.AddressFamily(family)], 9))
            return [str(probe.getsockname()[0])]
    except OSError:
        return []


def _of_interfaces(family: int) -> list[str]:
    return _of_interfaces_6() if family == socket.AF_INET6 else _of_interfaces_4()


def _of_interfaces_6() -> list[str]:
    """What interfaces have; what lasts is first."""
    try:
        lines = _IF_INET6.read_text("latin-1").rstrip("\n").split("\n")  # a name may have any byte but a few
    except OSError:
        return []  # the system knows no such addresses
    fields = [line.split(maxsplit=5) for line in lines if line]
    rows = [(int(flags, 16), digits) for digits, _, _, _, flags, _ in fields]
    rows.sort(key=lambda row: bool(row[0] & _PASSING))
    return [str(IPv6Address(bytes.fromhex(digits))) for flags, digits in rows if not flags & _NOT_OURS]


def _of_interfaces_4() -> list[str]:
    """What interfaces have that are up, in the order of the system."""
    found = []
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for _, name in socket.if_nameindex():
                try:
                    told = fcntl.ioctl(probe, _SIOCGIFADDR, _IFREQ.pack(os.fsencode(name), bytes(4)))
                    (_, flags) = _IFREQ_FLAGS.unpack(fcntl.ioctl(probe, _SIOCGIFFLAGS, bytes(told)))
                except OSError:
                    continue  # it has none
                if flags & _IFF_UP:
                    found.append(socket.inet_ntoa(_IFREQ.unpack(told)[1]))
    except OSError:
        pass  # as above
    return found
