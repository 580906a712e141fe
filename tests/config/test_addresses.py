"""Which address of this machine others would dial."""

from __future__ import annotations

import errno
import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ensemble.config import addresses, outward_addresses

# Where no socket may be connected to: a broadcast nobody asked to send, and a link without its interface.
NOWHERE = {socket.AF_INET: "255.255.255.255", socket.AF_INET6: "fe80::1"}
ALL = ("0.0.0.0", "::")
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000000000000000000003 02 40 00 88     eth0
20010db8000000000000000000000004 02 40 00 c0     eth0
20010db8000000000000000000000005 02 40 00 a0     eth0
20010db8000000000000000000000006 02 40 00 01     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
20010db8000000000000000000000008 02 40 00 80     eth0
"""


class AddressTests(SynchronousTestCase):
    """Nothing is sent to find out."""

    def interfaces(self, text: str, *addresses_4: str) -> None:
        """What the interfaces have, and where the routes lead: nowhere; a port on ``::`` is for IPv4, too."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells")
        path = Path(self.mktemp())
        path.write_text(text)
        self.patch(addresses, "_IF_INET6", path)
        self.patch(addresses, "_of_interfaces_4", lambda: list(addresses_4))
        self.patch(addresses, "_FAR_AWAY", NOWHERE)
        self.patch(addresses, "_is_ipv6_only", lambda: False)

    def test_one(self) -> None:
        """A port on one address has that."""
        self.assertEqual([outward_addresses(each) for each in ("127.0.0.1", "fd00::1")], [["127.0.0.1"], ["fd00::1"]])

    def test_routed(self) -> None:
        """The routing table knows our address, or an interface has it; it is the loopback where there is none."""
        for interface, families in (("0.0.0.0", (4,)), ("::", (6, 4))):
            found = [ip_address(each) for each in outward_addresses(interface)]
            self.assertTrue(found)
            self.assertLessEqual({each.version for each in found}, set(families))
            self.assertFalse(any(each.is_link_local for each in found))
            self.assertEqual(any(each.is_loopback for each in found), len(found) == 1 and found[0].is_loopback)

    def test_no_network(self) -> None:
        """Where the system has no such sockets there is the loopback."""

        class NoNetwork:
            def __init__(self, *args: object) -> None:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

        asks_the_system = addresses._is_ipv6_only
        self.interfaces("")
        self.patch(addresses, "_is_ipv6_only", asks_the_system)
        self.patch(socket, "socket", NoNetwork)
        self.assertEqual([outward_addresses(each) for each in ALL], [["127.0.0.1"], ["::1"]])

    def test_nothing_leads_far_away(self) -> None:
        """On a network of its own it is the first that an interface has, that leads here and stays here."""
        self.interfaces(IF_INET6, "127.0.0.1", "169.254.0.1", "192.0.2.4", "192.0.2.5")
        self.assertEqual(outward_addresses("::"), ["2001:db8::7", "192.0.2.4"])
        self.assertEqual(outward_addresses("0.0.0.0"), ["192.0.2.4"])
        lines = IF_INET6.splitlines(keepends=True)
        self.interfaces("".join(lines[:6]))  # the first that passes, where none stays
        self.assertEqual(outward_addresses("::"), ["2001:db8::5"])
        self.interfaces("".join(lines[:4]), "127.0.0.1")  # another's, and one that is being asked for
        self.assertEqual([outward_addresses(each) for each in ALL], [["127.0.0.1"], ["127.0.0.1"]])

    def test_routes_first(self) -> None:
        """What leads far away is before what only an interface has, whatever the families."""
        self.interfaces(IF_INET6, "192.0.2.4")
        routed = {socket.AF_INET: ["192.0.2.9"], socket.AF_INET6: ["fe80::1%eth0"]}
        self.patch(addresses, "_routed", routed.__getitem__)
        self.assertEqual(outward_addresses("::"), ["192.0.2.9", "2001:db8::7"])

    def test_odd_names(self) -> None:
        """An interface may have any name."""
        odd = IF_INET6.splitlines()[-1].replace("eth0", "a\N{EM SPACE}b").encode() + b"\n"
        self.interfaces("", "192.0.2.4")
        for name in (odd, odd.replace(b"a", b"\xff"), odd.replace(b"b\n", b"\x0b\n")):
            addresses._IF_INET6.write_bytes(name)
            self.assertEqual(outward_addresses("::")[0], "2001:db8::8")

    def test_preference(self) -> None:
        """The system is asked for an address that lasts; where it knows no such question it has one all the same."""
        asked: list[tuple[object, ...]] = []
        if sys.platform != "linux":
            raise SkipTest("only Linux is asked")

        class Probe:
            def __init__(self, *_: object) -> None:
                """Of no network."""

            def __enter__(self) -> Probe:
                return self

            def __exit__(self, *_: object) -> None:
                """Nothing was open."""

            def setsockopt(self, *option: object) -> None:
                asked.append(option)
                raise OSError(errno.ENOPROTOOPT, "")

            def connect(self, _: object) -> None:
                """Nothing is sent."""

            def getsockname(self) -> tuple[str, int]:
                return "2001:db8::9", 1

        self.patch(socket, "socket", Probe)
        self.assertEqual(addresses._routed(socket.AF_INET6), ["2001:db8::9"])
        self.assertEqual(asked, [(socket.IPPROTO_IPV6, 72, 2)])

    def test_ipv6_only(self) -> None:
        """Where a port of IPv6 takes no IPv4 there is no hint of that."""
        self.interfaces(IF_INET6, "192.0.2.4")
        self.patch(addresses, "_is_ipv6_only", lambda: True)
        self.assertEqual(outward_addresses("::"), ["2001:db8::7"])

    def test_real_interfaces(self) -> None:
        """The loopback is up; an interface that is down has no address."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells")
        self.assertIn("127.0.0.1", addresses._of_interfaces_4())
        self.patch(addresses, "_IFF_UP", 0)
        self.assertEqual(addresses._of_interfaces_4(), [])

    def test_lasting(self) -> None:
        """The system is asked for an address that lasts, as far as it knows that question."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells")
        try:
            probe = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        except OSError as error:
            raise SkipTest("this system has no IPv6") from error
        with probe:
            probe.setsockopt(socket.IPPROTO_IPV6, *addresses._PREFERENCES)
            self.assertEqual(probe.getsockopt(socket.IPPROTO_IPV6, addresses._PREFERENCES[0]) & 0x7, 0x2)

    def test_no_such_addresses(self) -> None:
        """A system without IPv6 has none of its addresses."""
        self.interfaces("")
        self.patch(addresses, "_IF_INET6", Path(self.mktemp()))
        self.assertEqual(outward_addresses("::"), ["127.0.0.1"])

    def test_elsewhere(self) -> None:
        """On another system, which has not every name of this one, the routing table alone is asked."""
        self.interfaces(IF_INET6, "192.0.2.4")
        self.patch(sys, "platform", "darwin")
        self.enterContext(mock.patch.dict(vars(socket)))
        del socket.SOCK_CLOEXEC
        self.assertEqual(outward_addresses("0.0.0.0"), ["127.0.0.1"])
