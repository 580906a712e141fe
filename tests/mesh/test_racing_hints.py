"""Hints of one peer that race over a slow network: to whom the peer listens, and which of them stays."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import Hint, HumdAddr, HumdId
from ensemble.interfaces import IWire
from ensemble.mesh import Dialler, Ensemble, KnownPeer
from ensemble.protocols import InMemoryEndpoint
from ensemble.testing import World

TRIPS = (0.1, 0.3, 0.4, 0.5, 0.55, 0.8, 1.5)  # seconds there and back; hints start 0.25 apart


class RacingHintsTests(SynchronousTestCase):
    """A humd, one row, and a peer that is far away."""

    def setUp(self) -> None:
        self.world = World()
        self.me = self.world.humd()
        dials = {"tcp": self.dial, "tls": self.dial}
        self.dialler = Dialler(self.me, dials, self.world.clock, self.world.random.random)
        self.dialler.startService()
        self.changes: list[bool] = []
        self.me.watch(lambda _peer, up: self.changes.append(up))
        self.trip = 0.0
        self.there: Ensemble | None = None
        self.refusing: set[str] = set()  # schemes
        self.dialled: list[str] = []

    def dial(self, hint: Hint, addr: HumdAddr) -> Deferred[IWire]:
        """Connected a trip later; what is written arrives half a trip later."""
        connected: Deferred[IWire] = Deferred()
        self.dialled.append(hint.scheme)
        if hint.scheme in self.refusing:
            connected.errback(ConnectionRefusedError())
        else:
            self.world.clock.callLater(self.trip, self.accept, addr.id, connected)
        return connected

    def accept(self, peer: HumdId, connected: Deferred[IWire]) -> None:
        near, far = InMemoryEndpoint.pair(self.me.me, None, peer, None, self.world.clock)
        near.latency = far.latency = self.trip / 2
        far.peer = None
        assert self.there is not None
        self.there.install(far).addErrback(lambda _: None)
        connected.callback(near)

    def a_peer(self, proves: bool) -> Ensemble:
        if proves:
            return self.world.humd()
        clock, wall = self.world.clock, self.world.wall
        there = Ensemble(self.world.key().humd_id(), clock=clock, wall=wall, entropy=self.world.random.randbytes)
        there.startService()
        return there

    def race(self, trip: float, proves: bool) -> Ensemble:
        """Four hints, two minutes."""
        self.trip = trip
        there = self.there = self.a_peer(proves)
        self.dialler.set_peers([KnownPeer(there.me, tuple(f"tcp:{name}.test:1" for name in "abcd"))])
        self.world.advance(120, step=0.05)
        self.assertEqual((self.me.peers(), there.peers()), ([there.me], [self.me.me]), trip)
        return there

    def test_proven(self) -> None:
        """However long a line takes, only one gets our proof: the peer comes up once and is not lost."""
        for trip in TRIPS:
            self.setUp()
            there = self.race(trip, proves=True)
            self.assertEqual((self.changes, there.counters["peers.lost"]), ([True], 0), trip)

    def test_without_proofs(self) -> None:
        """Our hello may be the last line, and a link at the other side: the newest stays at both, and is not lost."""
        for trip in TRIPS:
            self.setUp()
            there = self.race(trip, proves=False)
            lost = there.counters["peers.lost"]
            self.assertEqual(self.changes, [True, *[False, True] * lost], trip)
            self.assertLess(lost, 4, trip)

    def test_secure_first(self) -> None:
        """A secure hint that failed stays before the plain one: who drops packets does not choose for us."""
        self.there, self.trip, self.refusing = self.a_peer(proves=True), 0.1, {"tls"}
        peer = self.there.me
        hints = ("tls:a.test:1", "tls:b.test:1", "tcp:a.test:2")
        self.dialler.set_peers([KnownPeer(peer, hints, plain=True)])
        self.world.advance(5, step=0.05)
        self.assertEqual((self.changes, self.dialled), ([True], ["tls", "tls", "tcp"]))
        self.refusing = set()
        for _ in range(3):
            self.dialled.clear()
            link = self.me.link_to(peer)
            assert link is not None
            link.abort()
            self.world.advance(70, step=0.05)
            self.assertEqual((self.dialled[0], self.me.peers()), ("tls", [peer]))
            self.assertNotIn("tcp", self.dialled)
