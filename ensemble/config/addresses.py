"""The addresses of this machine: which of them others would dial."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

# Documentation addresses: to ask the routing table takes an address far away, and nothing is ever sent there.
_FAR_AWAY: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_SIOCGIFADDR: Final = 0x8915  # linux/sockios.h
_IFREQ: Final = struct.Struct("16s4x4s16x")  # linux/if.h: the name, and of a sockaddr_in the address
_IF_INET6: Final = Path("/proc/net/if_inet6")


def outward_address(*families: int) -> str | None:
    """
    Our address as others see it.

    :param families: of addresses, the best first.
    :returns: what the routing table would use for a machine far away.  Where nothing leads there, as on a network of
        its own: the first that an interface has, on Linux.  None where there is none, or only for this machine.
    """
    places = (_routed, _of_interfaces) if sys.platform == "linux" else (_routed,)
    return next((found for place in places for family in families for found in place(family)), None)


def _routed(family: int) -> list[str]:
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect((_FAR_AWAY[socket.AddressFamily(family)], 9))
            return [str(probe.getsockname()[0]).partition("%")[0]]
    except OSError:
        return []


def _of_interfaces(family: int) -> list[str]:
    """What the interfaces have that leads here from elsewhere, in the order of the system."""
    found = _of_interfaces_6() if family == socket.AF_INET6 else _of_interfaces_4()
    # A link-local one means nothing without an interface of whoever dials.
    return [each for each in found if not (ip_address(each).is_loopback or ip_address(each).is_link_local)]


def _of_interfaces_6() -> list[str]:
    try:
        lines = _IF_INET6.read_text().splitlines()
    except OSError:
        return []  # the system knows no such addresses
    return [str(IPv6Address(bytes.fromhex(line.split()[0]))) for line in lines]


def _of_interfaces_4() -> list[str]:
    found = []
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            for _, name in socket.if_nameindex():
                try:
                    told = fcntl.ioctl(probe, _SIOCGIFADDR, _IFREQ.pack(name.encode(), bytes(4)))
                except OSError:
                    continue  # it has none
                found.append(socket.inet_ntoa(_IFREQ.unpack(told)[1]))
    except OSError:
        pass  # as above
    return found
