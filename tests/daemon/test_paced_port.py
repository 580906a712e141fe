"""A port that accepts within its share of the time."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ensemble.daemon.descriptors import Descriptors
from ensemble.daemon.listeners import Listeners
from ensemble.daemon.paced_port import ACCEPTS_AT_ONCE, PacedPort
from ensemble.protocols import Porch
from ensemble.protocols.share import FLOW_BYTES


class Port:
    """
    One of Twisted's: to accept takes time.

    :ivar cost: seconds.
    """

    def __init__(self, clock: MemoryReactorClock) -> None:
        self.clock, self.cost, self.numberAccepts, self.reads, self.lost = clock, 0.0, 100, 0, False

    def fileno(self) -> int:
        return 7

    def logPrefix(self) -> str:
        return "port"

    def doRead(self) -> None:
        self.reads += 1
        self.clock.rightNow += self.cost  # as time passes while we work: no timer fires meanwhile

    def connectionLost(self, reason: Failure) -> None:
        self.lost = True


@implementer(IReadDescriptor)
class Opened(Port):
    """One that somebody opens, and closes."""

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)

    def stopListening(self) -> None:
        """It is a port's owner that reads it no more."""


class ListenersTests(SynchronousTestCase):
    """Where there are such ports."""

    def test_every_port(self) -> None:
        """Whoever listens has something else read each port in its place, until it stops."""
        reactor: Any = MemoryReactorClock()

        def listen(*_: object, **more: object) -> Opened:
            reactor.addReader(port := Opened(reactor))
            return port

        reactor.listenTCP = listen
        listeners = Listeners(reactor, ["tcp:1", "tls:2"], Descriptors())
        listeners.bind()
        self.assertEqual([type(reader) for reader in reactor.getReaders()], [PacedPort, PacedPort])
        listeners.stopService()
        self.assertEqual(reactor.getReaders(), [])


class PacedPortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.port = Port(self.reactor)
        self.reactor.addReader(self.port)
        self.porch = Porch(self.reactor, traffic=self.traffic, accept_percent=10)
        self.porch.accepting.wait(-1.0)  # the first look at the traffic
        self.paced = PacedPort(self.reactor, self.port, lambda: self.porch.accepting)

    def traffic(self) -> int:
        """Tones flow."""
        return FLOW_BYTES

    def test_in_its_place(self) -> None:
        """It reads instead of the port, a few connections at a time, and is the port to everybody else."""
        self.assertEqual(list(self.reactor.getReaders()), [self.paced])
        self.assertIsNone(self.paced.doRead())
        self.assertEqual((self.port.reads, self.port.numberAccepts), (1, ACCEPTS_AT_ONCE))
        self.assertEqual((self.paced.fileno(), self.paced.logPrefix()), (7, "port"))
        self.paced.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.port.lost)

    def test_rest(self) -> None:
        """What took more than its share is earned back before the next accept."""
        self.port.cost = 0.15
        self.paced.doRead()
        self.assertEqual(list(self.reactor.getReaders()), [])
        self.reactor.advance(0.9)
        self.assertEqual(list(self.reactor.getReaders()), [])
        self.reactor.advance(0.11)
        self.assertEqual(list(self.reactor.getReaders()), [self.paced])

    def test_stop(self) -> None:
        """Stopped, it reads no more, resting or not."""
        self.paced.stop()
        self.assertEqual(list(self.reactor.getReaders()), [])
        self.reactor.addReader(self.port)
        other = PacedPort(self.reactor, self.port, lambda: self.porch.accepting)
        self.port.cost = 0.3
        other.doRead()
        other.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
