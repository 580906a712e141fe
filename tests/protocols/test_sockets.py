"""What wires ask of sockets."""

from __future__ import annotations

import socket
import sys
from unittest import mock

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.internet.interfaces import ISystemHandle, ITCPTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import directlyProvides

from ensemble.protocols.sockets import arrived, host_of, in_short, set_keep_alive, set_no_delay


class Socketless:
    """A TCP transport whose handle is no socket, as under TLS; ``gone`` is what its options raise."""

    def __init__(self, gone: OSError | None = None) -> None:
        directlyProvides(self, ITCPTransport, ISystemHandle)  # as much of them as is asked for here
        self.gone = gone
        self.options: list[tuple[str, bool]] = []

    def setTcpNoDelay(self, on: bool) -> None:
        self._set("no delay", on)

    def setTcpKeepAlive(self, on: bool) -> None:
        self._set("keep alive", on)

    def getHandle(self) -> object:
        return self

    def _set(self, name: str, on: bool) -> None:
        if self.gone is not None:
            raise self.gone
        self.options.append((name, on))


class SocketTests(SynchronousTestCase):
    def test_below_tls(self) -> None:
        """Where the socket itself is out of reach, what the transport offers is still set."""
        transport = Socketless()
        set_no_delay(transport)
        set_keep_alive(transport, True)
        self.assertEqual(transport.options, [("no delay", True), ("keep alive", True)])

    def test_keep_alive_elsewhere(self) -> None:
        """A silent peer is probed after a minute under the name that macOS has for that, too."""
        idle = getattr(socket, "TCP_KEEPIDLE", None)
        if idle is None:
            raise SkipTest("it has no other name here")
        self.enterContext(mock.patch.dict(vars(socket), TCP_KEEPALIVE=idle))
        del socket.TCP_KEEPIDLE
        with socket.socket() as handle:
            transport = Socketless()
            self.patch(transport, "getHandle", lambda: handle)
            set_keep_alive(transport, True)
            self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, idle), 60)

    def test_gone(self) -> None:
        """A connection that is gone already raises nothing: its loss is told elsewhere."""
        transport = Socketless(OSError("gone"))
        set_no_delay(transport)
        set_keep_alive(transport, True)
        self.assertEqual(transport.options, [])

    def test_no_tcp(self) -> None:
        """What is no TCP is left alone."""
        set_no_delay(object())
        set_keep_alive(object(), True)
        self.assertFalse(ITCPTransport.providedBy(object()))

    def test_nobody_can_tell(self) -> None:
        """Of what is no socket of TCP, or not open, or on another system, it is not known what has arrived."""
        self.assertIsNone(arrived(Socketless()))
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        connection = Connection(near, Protocol(), MemoryReactor())
        self.assertIsNone(arrived(connection))
        elsewhere = self.patch(sys, "platform", "darwin")
        self.assertIsNone(arrived(connection))
        elsewhere.restore()
        near.close()
        self.assertIsNone(arrived(connection))

    def test_ends(self) -> None:
        """An end is told in the same short words, whatever text Twisted gave it; what says more is kept."""
        for error, told in (
            (CONNECTION_DONE, "closed cleanly"),
            (ConnectionDone(), "closed cleanly"),
            (CONNECTION_LOST, "cut off"),
            (ConnectionLost(), "cut off"),
            (ConnectionAborted(), "aborted"),
            (ConnectionLost("TLS failed: bad record"), "TLS failed: bad record"),
            (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
            (TimeoutError(), "User timeout caused connection failure"),
            (DNSLookupError("no results"), "DNS lookup failed: no results"),
            (ConnectError(string=Failure(ConnectionDone())), "unreachable, or refused on the way"),
        ):
            self.assertEqual(in_short(Failure(error)), told)

    def test_hosts(self) -> None:
        """The host is what limits per address count by: one spelling per address, empty where there is none."""
        for address, host in (
            (IPv4Address("TCP", "192.0.2.7", 1), "192.0.2.7"),
            (IPv6Address("TCP", "2001:DB8:0::1", 1), "2001:db8::1"),
            (IPv6Address("TCP", "::ffff:192.0.2.7", 1), "192.0.2.7"),
            (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::1%eth0"),
            (UNIXAddress("/run/thrum.sock"), ""),
            (HostnameAddress(b"bob.example", 1), ""),
        ):
            self.assertEqual(host_of(address), host)
