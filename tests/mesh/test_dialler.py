"""Configured peers are dialled until they are linked, and again when they are lost."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.defer import fail
from twisted.logger import capturedLogs

from ensemble.mesh import Dial, Dialler, KnownPeer
from ensemble.protocols import SomebodyElse
from tests.mesh.dialling import DiallerTestCase, Net


class DiallerTests(DiallerTestCase):
    """One humd, its rows, and a network."""

    def test_links(self) -> None:
        """A row with a hint that leads there is linked at once, and not dialled again."""
        self.net.hosts["b.test"] = self.other
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        self.world.advance(120)
        self.assertEqual((self.me.peers(), self.names()), ([self.other.me], ["b.test"]))

    def test_backs_off(self) -> None:
        """A peer that is not there is dialled again and again, between one second and sixty apart."""
        self.dialler.set_peers([self.row("tcp:gone.test:1")])
        self.world.advance(400, step=0.25)
        times = [at for at, _ in self.net.dialled]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertTrue(all(1 <= gap <= 61 for gap in gaps), gaps)
        self.assertLess(gaps[0], 3)
        self.assertGreater(gaps[-1], 30)
        self.assertIn("refused", self.dialler.last_failure(self.other.me).lower())

    def test_when_it_dials_again(self) -> None:
        """While it waits it is known for how long; not where it dials, is linked, or never dials."""
        self.assertIsNone(self.dialler.redial_in(self.other.me))
        self.dialler.set_peers([self.row("tcp:gone.test:1")])
        self.world.advance(5, step=0.25)
        before, pause = len(self.net.dialled), self.dialler.redial_in(self.other.me)
        assert pause is not None
        self.world.advance(pause - 0.01)
        self.assertEqual(len(self.net.dialled), before)
        self.world.advance(0.02)
        self.assertEqual(len(self.net.dialled), before + 1)
        self.net.hosts["gone.test"] = self.other
        self.world.advance(120)
        self.assertEqual((self.me.peers(), self.dialler.redial_in(self.other.me)), ([self.other.me], None))
        self.dialler.stopService()
        self.assertIsNone(self.dialler.redial_in(self.other.me))

    def test_waits_for_a_turn(self) -> None:
        """As long as there is no descriptor for its dial it waits; it does not once it dials, or nobody wants it."""
        room: list[int] = []
        dialler = Dialler(
            self.me, {"tcp": self.net.dial}, self.world.clock, self.world.random.random, lambda: bool(room)
        )
        dialler.set_peers([self.row("tcp:other.test:1")])
        self.assertFalse(dialler.waits(self.other.me))
        dialler.startService()
        self.assertTrue(dialler.waits(self.other.me))
        self.assertIsNone(dialler.redial_in(self.other.me))
        room.append(1)
        self.world.advance(1.1)
        self.assertFalse(dialler.waits(self.other.me))
        room.clear()
        dialler.set_peers([self.row("tcp:gone.test:1")])
        self.assertTrue(dialler.waits(self.other.me))
        room.append(1)
        dialler.set_peers([self.row("tcp:slow:1", "tcp:slow:2")])
        self.world.advance(0.01)
        room.clear()
        self.world.advance(1)
        self.assertFalse(dialler.waits(self.other.me), "one of its hints is being dialled")
        dialler.set_peers([self.row("tcp:gone.test:1")])
        dialler.set_peers([])
        self.assertFalse(dialler.waits(self.other.me))

    def test_a_hint_that_failed_goes_to_the_back(self) -> None:
        """The next race begins with the hint that led there in the last one."""
        self.net.hosts["b.test"] = self.other
        self.dialler.set_peers([self.row("tcp:gone.test:1", "tcp:b.test:1")])
        self.world.settle()
        link = self.me.link_to(self.other.me)
        assert link is not None
        link.abort()
        self.world.advance(3)
        self.assertEqual((self.me.peers(), self.names()), ([self.other.me], ["gone.test", "b.test", "b.test"]))

    def test_redials_a_lost_peer(self) -> None:
        """A link that ends for whatever reason is made again, a goodbye included."""
        self.net.hosts["b.test"] = self.other
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        self.world.settle()
        self.other.remove_peer(self.me.me)
        self.world.settle()
        self.assertEqual(self.me.peers(), [])
        self.world.advance(3)
        self.assertEqual(self.me.peers(), [self.other.me])

    def test_a_steady_link_is_redialled_soon(self) -> None:
        """A peer that is lost again and again is redialled ever later; once its link held a minute, after a second."""
        self.net.hosts["b.test"] = self.other
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        delays = []
        for up in (1, 1, 1, 60, 1):
            self.world.advance(up)
            lost_at = self.world.clock.seconds()
            self.other.remove_peer(self.me.me)
            self.world.settle()
            while not self.me.linked(self.other.me):
                self.world.advance(0.5)
            delays.append(self.net.dialled[-1][0] - lost_at)
        for delay, least in zip(delays, (1, 2, 4, 1, 2), strict=True):
            self.assertTrue(least <= delay <= 1.5 * least + 0.5, delays)

    def test_a_slow_hint_does_not_hold_up_the_next(self) -> None:
        """While one hint hangs the next is started a quarter of a second later, and the loser is dropped."""
        self.net.hosts["b.test"] = self.other
        self.dialler.set_peers([self.row("tcp:slow:1", "tcp:b.test:1")])
        self.world.advance(0.2, step=0.1)
        self.assertEqual(self.me.peers(), [])
        self.world.advance(0.2, step=0.1)
        self.assertEqual((self.me.peers(), self.net.cancelled), ([self.other.me], 1))

    def test_secure_hints_only(self) -> None:
        """A row with a secure hint is never dialled in the clear unless it says so."""
        self.net.hosts["clear.test"] = self.other
        self.dialler.set_peers([self.row("tcp:clear.test:1", "tls:gone.test:1")])
        self.world.advance(5)
        self.assertEqual(set(self.names()), {"gone.test"})
        self.dialler.set_peers([self.row("tcp:clear.test:1", "tls:gone.test:1", plain=True)])
        self.world.advance(5)
        self.assertIn("clear.test", self.names())

    def test_no_wire_for_its_hints(self) -> None:
        """A row with no hint that can be dialled says so, in the log once, and still after a link was lost."""
        with capturedLogs() as events:
            self.dialler.set_peers([self.row("udp:b.test:1", "tcp:b.test:1")])
            for _ in range(2):
                self.assertIn("udp:b.test:1", self.dialler.last_failure(self.other.me))
                self.assertIn(f"ensemble trust {self.other.me} --plain", self.dialler.mend(self.other.me))
                self.assertIn(self.dialler.mend(self.other.me), self.dialler.last_failure(self.other.me))
                self.world.link(self.other, self.me)
                self.assertEqual(self.dialler.last_failure(self.other.me), "")
                self.assertEqual(self.dialler.mend(self.other.me), "")
                self.other.remove_peer(self.me.me)
                self.world.settle()
        told = [event for event in events if str(event.get("cause", "")).startswith("none of its hints")]
        self.assertEqual((len(told), self.names()), (1, []))

    def test_no_hints(self) -> None:
        """A row without hints is no failure: that peer dials us."""
        self.dialler.set_peers([self.row()])
        self.assertEqual(self.dialler.last_failure(self.other.me), "")

    def test_an_inbound_link_ends_the_dialling(self) -> None:
        """A peer that reached us first is not dialled any more."""
        self.dialler.set_peers([self.row("tcp:slow:1")])
        self.world.settle()
        self.world.link(self.other, self.me)
        self.assertEqual(self.net.cancelled, 1)
        self.world.advance(120)
        self.assertEqual(self.names(), ["slow"])

    def test_a_removed_row(self) -> None:
        """A row that goes is not dialled any more, and nothing is left behind."""
        self.dialler.set_peers([self.row("tcp:gone.test:1")])
        self.world.advance(2)
        self.dialler.set_peers([])
        before = len(self.net.dialled)
        self.world.advance(200)
        self.assertEqual((len(self.net.dialled), self.world.clock.getDelayedCalls()), (before, []))

    def test_an_unchanged_row_is_left_alone(self) -> None:
        """The same rows again interrupt nothing."""
        self.dialler.set_peers([self.row("tcp:slow:1")])
        self.dialler.set_peers([self.row("tcp:slow:1")])
        self.assertEqual((self.names(), self.net.cancelled), (["slow"], 0))

    def test_stop_drops_what_is_under_way(self) -> None:
        """A stopped dialler dials nothing and holds no timer."""
        self.dialler.set_peers([self.row("tcp:slow:1", "tcp:slow:2"), KnownPeer(peer=self.me.me, hints=("tcp:x:1",))])
        self.dialler.stopService()
        self.assertEqual((self.net.cancelled, self.world.clock.getDelayedCalls()), (1, []))
        self.assertEqual(self.names(), ["slow"])

    def test_a_bug(self) -> None:
        """An error of ours about a dial that failed is told, and the peer is dialled again."""
        self.patch(self.me.rules, "learn", lambda _: 1 / 0)
        found = SomebodyElse("another", self.me.me)
        dials: dict[str, Dial] = {"tls": lambda *_: fail(found)}
        dialler = Dialler(self.me, dials, self.world.clock, self.world.random.random)
        dialler.startService()
        dialler.set_peers([self.row("tls:b.test:1")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.world.advance(2, step=0.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        dialler.stopService()

    def test_held(self) -> None:
        """Whoever is held is not dialled; afterwards as after a loss, ever later unless it was held for a minute."""
        rows = [self.row("tcp:gone.test:1")]
        self.dialler.stopService()
        self.dialler.set_peers(rows, {self.other.me})
        self.dialler.startService()
        delays = []
        for held in (70, 2, 2, 2, 70, 2):
            self.world.advance(held)
            before = len(self.net.dialled)
            released = self.world.clock.seconds()
            self.assertFalse(self.dialler.dials(self.other.me))
            self.dialler.set_peers(rows)
            self.assertTrue(self.dialler.dials(self.other.me))
            while len(self.net.dialled) == before:
                self.world.advance(0.25)
            delays.append(self.net.dialled[-1][0] - released)
            self.dialler.set_peers(rows, {self.other.me})
        self.assertEqual(len(self.net.dialled), len(delays))
        self.assertEqual([delay >= 1 for delay in delays], [True] * 6)
        self.assertTrue(max(delays[0], delays[4]) <= 1.75 < delays[2] < delays[3], delays)

    def test_both_dial_at_once(self) -> None:
        """Two humds that dial each other at once end with one link and no loss."""
        back = Net(self.world, self.other.me)
        other = Dialler(self.other, {"tcp": back.dial}, self.world.clock, self.world.random.random)
        other.startService()
        self.net.hosts["b.test"], back.hosts["a.test"] = self.other, self.me
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        other.set_peers([KnownPeer(peer=self.me.me, hints=("tcp:a.test:1",))])
        self.world.advance(30)
        self.assertEqual((self.me.peers(), self.other.peers()), ([self.other.me], [self.me.me]))
        self.assertEqual((self.me.counters["peers.lost"], self.other.counters["peers.lost"]), (0, 0))
