"""An ensemble that stops: what it waits for, what comes meanwhile, and that it can be started again."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused
from ensemble.mesh import TapClosed
from ensemble.protocols import InMemoryEndpoint, TlsTransport
from ensemble.testing import World


class StoppingTests(SynchronousTestCase):
    """A peer that takes nothing keeps it from being done."""

    def setUp(self) -> None:
        self.world = World()
        self.a, self.b = self.world.humd(), self.world.humd()
        self.world.link(self.a, self.b)
        link = self.a.link_to(self.b.me)
        assert link is not None
        link.wire_full()
        self.stopped = self.a.stopService()

    def test_started_again(self) -> None:
        """The end of a stop is for the links that there were: those that are made meanwhile stay."""
        self.world.advance(1)
        self.a.startService()
        other = self.world.humd()
        self.world.link(other, self.a)
        self.assertNoResult(self.stopped)
        self.world.advance(1)
        self.successResultOf(self.stopped)
        self.assertEqual((self.a.peers(), other.peers()), ([other.me], [self.a.me]))

    def test_cancelled(self) -> None:
        """Whoever does not wait for the end leaves nothing behind that would cut links later."""
        self.stopped.cancel()
        self.failureResultOf(self.stopped, CancelledError)
        self.a.startService()
        other = self.world.humd()
        self.world.link(other, self.a)
        self.world.advance(3)
        self.assertEqual(self.a.peers(), [other.me])

    def test_transport_that_does_not_end(self) -> None:
        """What does not end when it is cut, as the pipe to a process, is not waited for."""
        mine, other = self.world.humd(), self.world.humd()
        self.world.link(mine, other)
        link = mine.link_to(other.me)
        assert link is not None
        link.wire_full()
        self.patch(InMemoryEndpoint, "abort", lambda _: None)
        stopped = mine.stopService()
        self.world.advance(1.7, step=0.1)
        self.assertNoResult(stopped)
        self.world.advance(0.2, step=0.1)
        self.successResultOf(stopped)


class StoppedTests(SynchronousTestCase):
    """What comes after the stop."""

    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd()
        assert self.humd.key is not None
        tls = TlsTransport(self.world.clock, self.humd.key)
        self.factories: tuple[Any, ...] = (self.humd.factory(), self.humd.factory(tls))
        self.successResultOf(self.humd.stopService())

    def test_connections(self) -> None:
        """A port that is still open takes nobody in, and does again after the next start."""
        came = IPv4Address("TCP", "192.0.2.1", 1)
        self.assertEqual([each.buildProtocol(came) for each in self.factories], [None, None])
        self.humd.startService()
        for factory in self.factories:
            self.assertIsNotNone(factory.buildProtocol(came))

    def test_wires(self) -> None:
        """A wire is refused, with the reason."""
        wire, _ = InMemoryEndpoint.pair(self.humd.me, None, self.world.key().humd_id(), None, self.world.clock)
        refused = self.failureResultOf(self.humd.install(wire), LinkRefused)
        self.assertIn("has stopped", str(refused.value))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_taps(self) -> None:
        """A tap is closed from the start: nobody would ever close it."""
        self.failureResultOf(self.humd.subscribe().get(), TapClosed)
        self.humd.startService()
        self.assertNoResult(self.humd.subscribe().get())
