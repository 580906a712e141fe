"""The addresses of this machine: which of them others would dial."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

# Documentation addresses: to ask the routing table takes an address far away, and nothing is ever sent there.
_FAR_AWAY: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_SIOCGIFADDR: Final = 0x8915  # linux/sockios.h
_IFREQ: Final = struct.Struct("16s4x4s16x")  # linux/if.h: the name, and of a sockaddr_in the address
_IF_INET6: Final = Path("/proc/net/if_inet6")


def outward_address(family: int) -> str | None:
    """
    Our address of this family as others see it.

    :returns: what the routing table would use for a machine far away.  Where nothing leads there, as on a network of
        its own: the first that an interface has, on Linux.  None where there is none, or only for this machine.
    """
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            try:
                probe.connect((_FAR_AWAY[socket.AddressFamily(family)], 9))
            except OSError:
                found = _of_interfaces(probe) if sys.platform == "linux" else iter(())
                return next((each for each in found if not ip_address(each).is_loopback), None)
            return str(probe.getsockname()[0]).partition("%")[0]
    except OSError:
        return None  # of such addresses the system knows nothing


def _of_interfaces(probe: socket.socket) -> Iterator[str]:
    """What the interfaces have, in the order of the system, of the family of C{probe}."""
    if probe.family == socket.AF_INET6:
        for line in _IF_INET6.read_text().splitlines():
            address = IPv6Address(bytes.fromhex(line.split()[0]))
            if not address.is_link_local:  # such a one means nothing without an interface of whoever dials
                yield str(address)
        return
    for _, name in socket.if_nameindex():
        try:
            told = fcntl.ioctl(probe, _SIOCGIFADDR, _IFREQ.pack(name.encode(), bytes(4)))
        except OSError:
            continue  # it has none
        yield socket.inet_ntoa(_IFREQ.unpack(told)[1])
