"""Which address of this machine others would dial."""

from __future__ import annotations

import errno
import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ensemble.config import addresses, outward_address

# Where no socket may be connected to: a broadcast nobody asked to send, and a link without its interface.
NOWHERE = {socket.AF_INET: "255.255.255.255", socket.AF_INET6: "fe80::1"}
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
20010db8000000000000000000000008 02 40 00 80     eth0
"""


class AddressTests(SynchronousTestCase):
    """Nothing is sent to find out."""

    def interfaces(self, text: str) -> None:
        """What the system says of IPv6."""
        path = Path(self.mktemp())
        path.write_text(text)
        self.patch(addresses, "_IF_INET6", path)

    def test_routed(self) -> None:
        """The routing table knows our address, or it is one of an interface, and never one of this machine only."""
        for family in (socket.AF_INET, socket.AF_INET6):
            found = outward_address(family)
            if found is not None:
                socket.inet_pton(family, found)
                self.assertFalse(ip_address(found).is_loopback)

    def test_no_network(self) -> None:
        """Where the system has no such sockets there is no address."""

        class NoNetwork:
            def __init__(self, *args: object) -> None:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

        self.patch(socket, "socket", NoNetwork)
        self.assertIsNone(outward_address(socket.AF_INET))

    def test_nothing_leads_far_away(self) -> None:
        """On a network of its own it is the first address of an interface that is not for this machine only."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells")
        self.patch(addresses, "_FAR_AWAY", NOWHERE)
        self.interfaces(IF_INET6)
        self.assertEqual(outward_address(socket.AF_INET6), "2001:db8::7")
        self.interfaces(IF_INET6[:54])
        self.assertIsNone(outward_address(socket.AF_INET6))
        self.assertIn("127.0.0.1", addresses._of_interfaces_4())
        away = addresses._of_interfaces(socket.AF_INET)
        self.assertNotIn("127.0.0.1", away)
        self.assertEqual(outward_address(socket.AF_INET), away[0] if away else None)

    def test_families(self) -> None:
        """What leads far away is before what only an interface has, whatever the families; else the first has it."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells")
        self.interfaces(IF_INET6)
        self.patch(addresses, "_of_interfaces_4", lambda: ["192.0.2.4"])
        both = (socket.AF_INET6, socket.AF_INET)
        self.patch(addresses, "_FAR_AWAY", NOWHERE | {socket.AF_INET: "127.0.0.1"})  # a route that any machine has
        self.assertEqual(outward_address(*both), "127.0.0.1")
        self.patch(addresses, "_FAR_AWAY", NOWHERE)
        self.assertEqual([outward_address(*both), outward_address(*both[::-1])], ["2001:db8::7", "192.0.2.4"])

    def test_no_such_addresses(self) -> None:
        """A system without IPv6 has none of its addresses."""
        self.patch(addresses, "_FAR_AWAY", NOWHERE)
        self.patch(addresses, "_IF_INET6", Path(self.mktemp()))
        self.assertIsNone(outward_address(socket.AF_INET6))

    def test_elsewhere(self) -> None:
        """On another system the routing table alone is asked."""
        self.patch(addresses, "_FAR_AWAY", NOWHERE)
        self.patch(sys, "platform", "darwin")
        self.assertIsNone(outward_address(socket.AF_INET))
