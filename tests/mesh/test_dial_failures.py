"""What is told of dials that fail, and what mends them."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import capturedLogs, formatEvent

from ensemble.errors import LinkRefused
from ensemble.identity import Hint, HumdAddr, HumdId, HumdKey, revoke, statements
from ensemble.interfaces import IWire
from ensemble.mesh import Dial, Dialler, Ensemble, KnownPeer, Policy
from ensemble.protocols import Level, SomebodyElse
from tests.mesh.dialling import DiallerTestCase


class FailureTests(DiallerTestCase):
    """One humd, its rows, and whoever is there instead."""

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

    def test_bug_in_a_dial(self) -> None:
        """What no network fails with reaches the log with its traceback, however it does, and the peer is redialled."""
        bug = ZeroDivisionError("a bug")

        def dies(hint: Hint, addr: HumdAddr) -> Deferred[IWire]:
            raise bug

        net, self.net.refusal = self.net.dial, bug
        for dial in (dies, net):
            dials: dict[str, Dial] = {"tcp": dial}
            dialler = Dialler(self.me, dials, self.world.clock, self.world.random.random)
            dialler.startService()
            dialler.set_peers([self.row("tcp:b.test:1")])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.net.hosts["b.test"], dials["tcp"] = self.other, net
            self.world.advance(10)
            self.assertTrue(self.me.linked(self.other.me))
            dialler.stopService()
            self.me.remove_peer(self.other.me)
            del self.net.hosts["b.test"]
            self.world.settle()

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
