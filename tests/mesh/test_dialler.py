"""Configured peers are dialled until they are linked, and again when they are lost."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused
from ensemble.identity import Hint, HumdAddr, HumdId, HumdKey, revoke, statements
from ensemble.interfaces import IWire
from ensemble.mesh import Dial, Dialler, Ensemble, KnownPeer, Policy
from ensemble.protocols import InMemoryEndpoint, Level, SomebodyElse
from ensemble.testing import World


class Net:
    """A network in memory: names that lead to ensembles, and a record of every dial."""

    def __init__(self, world: World, me: HumdId) -> None:
        self.world, self.me = world, me
        self.hosts: dict[str, Ensemble] = {}
        self.dialled: list[tuple[float, str]] = []
        self.hanging: list[Deferred[IWire]] = []
        self.cancelled = 0
        self.refusal: Exception = ConnectionRefusedError()

    def dial(self, hint: Hint, addr: HumdAddr) -> Deferred[IWire]:
        """Open a memory wire where somebody lives; ``slow`` never answers, all else refuses."""
        name = hint.host_port()[0]
        self.dialled.append((self.world.clock.seconds(), name))
        wire: Deferred[IWire] = Deferred(self._cancel)
        if name == "slow":
            self.hanging.append(wire)
        elif name in self.hosts:
            other = self.hosts[name]
            near, far = InMemoryEndpoint.pair(self.me, None, addr.id, None, self.world.clock)
            far.peer = None
            other.install(far).addErrback(lambda _: None)
            wire.callback(near)
        else:
            wire.errback(self.refusal)
        return wire

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class DiallerTests(SynchronousTestCase):
    """One humd, its rows, and a network."""

    def setUp(self) -> None:
        self.world = World()
        self.me, self.other = self.world.humd(), self.world.humd()
        self.net = Net(self.world, self.me.me)
        dials = {"tcp": self.net.dial, "tls": self.net.dial}
        self.dialler = Dialler(self.me, dials, self.world.clock, self.world.random.random)
        self.dialler.startService()

    def row(self, *hints: str, plain: bool = False) -> KnownPeer:
        """The other humd's row."""
        return KnownPeer(peer=self.other.me, hints=hints, plain=plain)

    def names(self) -> list[str]:
        """Who was dialled, in order."""
        return [name for _, name in self.net.dialled]

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

    def test_closed_by_the_other_side(self) -> None:
        """A connection that the other side closes before the link is up names what may mend it over there."""
        self.net.hosts["b.test"] = Ensemble(self.other.me, clock=self.world.clock, policy=Policy(admit_any=False))
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        self.world.settle()
        self.assertIn("does its peers.json have a row for us", self.dialler.last_failure(self.other.me))
        self.assertEqual(self.dialler._ensemble.counters["dials.failed"], 1)

    def test_somebody_else_there(self) -> None:
        """A hint that leads to another humd links nothing, and says whom it found."""
        self.net.hosts["b.test"] = self.world.humd()
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        self.world.settle()
        self.assertEqual(self.me.peers(), [])
        self.assertIn("expected was", self.dialler.last_failure(self.other.me))

    def test_another_that_is_known(self) -> None:
        """Where a hint leads to somebody who has a row, or whose key was revoked, no line gives it the other's row."""
        key = HumdKey.generate()
        known = self.net.hosts["b.test"] = self.world.humd(key=key)
        self.me.judge_again(Policy(known=[KnownPeer(known.me)]))
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        self.world.settle()
        self.assertTrue(self.dialler.mend(self.other.me).endswith("give its row the new id"))
        self.me.judge_again(Policy())
        self.me.rules.learn([revoke(key, 1)], anybody=True)
        self.world.advance(10)
        self.assertTrue(self.dialler.mend(self.other.me).endswith("give its row the new id"))

    def test_ourselves_in_the_place_of_another(self) -> None:
        """A certificate of our own key is no changed key of a peer: what it means is said, as of such a hello."""
        error = SomebodyElse("another certificate", self.me.me)
        dialler = Dialler(self.me, {"tls": lambda *_: fail(error)}, self.world.clock, self.world.random.random)
        dialler.startService()
        dialler.set_peers([self.row("tls:b.test:1")])
        for told in (dialler.last_failure(self.other.me), dialler.mend(self.other.me)):
            self.assertIn("that is our own id", told)
            self.assertNotIn("its owner", told)
        dialler.stopService()

    def test_what_a_certificate_says(self) -> None:
        """What whoever is there says of the id that we dialled counts, and may end the very dial that learned it."""
        old, new, thief = (self.world.key() for _ in range(3))
        rows = [KnownPeer(old.humd_id(), ("tls:b.test:1",), follow=True)]
        shown = [SomebodyElse("another", key.humd_id(), [statements.succeed(old, key, 1)]) for key in (new, thief)]
        dialled: list[HumdId] = []

        def dial(_: Hint, addr: HumdAddr) -> Deferred[IWire]:
            dialled.append(addr.id)
            return fail(shown[addr.id != old.humd_id()])

        dialler = Dialler(self.me, {"tls": dial}, self.world.clock, self.world.random.random)
        self.me.rules.changed.append(lambda: dialler.set_peers(self.me.policy.known.values()))
        self.me.judge_again(Policy(Level.PROVEN, admit_any=False, known=rows))
        dialler.set_peers(rows)
        dialler.startService()
        # The heir is dialled at the same place, where a thief says that it has become that id: both are nobody then.
        self.assertEqual(dialled, [old.humd_id(), new.humd_id()])
        self.assertFalse(dialler.dials(old.humd_id()) or dialler.dials(new.humd_id()))
        self.world.advance(120)
        self.assertEqual((len(dialled), self.world.clock.getDelayedCalls()), (2, []))
        self.assertIn("refused", self.me.rules.remarks()[0])

    def test_known_keys(self) -> None:
        """Where the heir or the one before it is there, that is said, and is no advice to go back and forth."""
        old, new = self.world.key(), self.world.key()
        chain = [statements.succeed(old, new, 1)]
        for key, there, follow, level, said in (
            (old, new, True, "info", "is followed"),
            (old, new, False, "warn", f"ensemble untrust {old.humd_id()} && ensemble trust {new.humd_id()}"),
            (new, old, False, "warn", f"it goes on as {new.humd_id()}, which has a row"),
        ):
            me = self.world.humd()
            rows = [KnownPeer(key.humd_id(), ("tls:b.test:1",), follow=follow)]
            me.judge_again(Policy(Level.PROVEN, admit_any=False, known=rows))
            me.rules.learn(chain, anybody=True)
            error = SomebodyElse("another certificate", there.humd_id())
            dials: dict[str, Dial] = {"tls": lambda *_, error=error: fail(error)}
            dialler = Dialler(me, dials, self.world.clock, self.world.random.random)
            dialler.startService()
            with capturedLogs() as events:
                dialler.set_peers(rows)
            (told,) = [(event["log_level"].name, event["cause"]) for event in events if "hint" in event]
            self.assertEqual((told[0], said in told[1]), (level, True), told)
            self.assertEqual(bool(dialler.mend(key.humd_id())), level == "warn")
            self.assertNotIn("correct it", told[1])
            dialler.stopService()

    def test_what_can_be_mended_is_not_hidden(self) -> None:
        """Somebody else at one address is told, and warned of once, although another address is dead each time."""
        stranger = self.net.hosts["b.test"] = self.world.humd()
        with capturedLogs() as events:
            self.dialler.set_peers([self.row("tcp:b.test:1", "tcp:gone.test:1")])
            self.world.advance(30, step=0.25)
        self.assertGreater(self.names().count("gone.test"), 1)
        self.assertIn("expected was", self.dialler.last_failure(self.other.me))
        line = f"`ensemble untrust {self.other.me} && ensemble trust {stranger.me} tcp:b.test:1 tcp:gone.test:1`"
        self.assertTrue(self.dialler.mend(self.other.me).endswith(line))
        self.assertTrue(self.dialler.last_failure(self.other.me).endswith(line))
        told = [(event["hint"], event["log_level"].name) for event in events if "hint" in event]
        self.assertEqual(sorted(told), [("tcp:b.test:1", "warn"), ("tcp:gone.test:1", "info")])
        del self.net.hosts["b.test"]
        self.world.advance(120)
        self.assertIn("refused", self.dialler.last_failure(self.other.me).lower())
        self.assertEqual(self.dialler.mend(self.other.me), "")

    def test_nor_by_what_fails_later(self) -> None:
        """The same where the dead address is the last to fail."""
        self.net.hosts["b.test"] = self.world.humd()
        self.dialler.set_peers([self.row("tcp:b.test:1", "tcp:slow:1")])
        self.world.advance(0.5)
        self.net.hanging.pop().errback(ConnectionRefusedError())
        self.assertIn("expected was", self.dialler.last_failure(self.other.me))

    def test_hint_is_told_once(self) -> None:
        """A line of the log names the hint, and once: a cause may name it, too, and so may what mends it."""
        hint = "tls:gone.test:1"
        for cause in ("no answer", f"{hint}: no answer", f"cannot reach {hint}: no answer"):
            self.net.refusal = LinkRefused(cause, f"`ensemble trust x {hint}`")
            with capturedLogs() as events:
                self.dialler.set_peers([])
                self.dialler.set_peers([self.row(hint)])
            (line,) = [formatEvent(event) for event in events if "hint" in event]
            self.assertEqual(line.partition(";")[0].count(hint), 1, line)

    def test_what_failed_before_a_link(self) -> None:
        """The same cause again and again is one line in the log; after a link in between it is news."""
        self.dialler.set_peers([self.row("tcp:b.test:1")])
        for _ in range(2):
            self.net.hosts["b.test"] = self.other
            self.world.advance(120)
            self.assertTrue(self.me.linked(self.other.me))
            del self.net.hosts["b.test"]
            self.other.remove_peer(self.me.me)
            with capturedLogs() as events:
                self.world.advance(120)
            self.assertEqual(len([event for event in events if "hint" in event]), 1)

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
