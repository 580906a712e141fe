"""Who comes and goes is in the log, as long as it does so like anybody else."""

from __future__ import annotations

from collections.abc import Hashable

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdKey
from ensemble.mesh import KnownPeer, Policy
from ensemble.mesh.chronicle import CROWD_LINES, LINES, PEERS, STRANGERS, Chronicle
from ensemble.protocols import Level
from ensemble.testing import World
from tests.mesh.plain_peer import PlainPeer


class ChronicleTests(SynchronousTestCase):
    """One humd's, and a clock."""

    log = Logger()

    def setUp(self) -> None:
        self.clock = Clock()
        self.chronicle = Chronicle(self.clock)
        self.peer = HumdKey.generate().humd_id()

    def told(self, times: int, whose: Hashable | None = None) -> list[str]:
        """Tell a line so often; what is logged."""
        with capturedLogs() as events:
            for number in range(times):
                whose = whose if whose is not None else self.peer
                self.chronicle.tell(self.log, LogLevel.info, whose, "line {number}", number=number)
        return [str(formatEvent(event)) for event in events]

    def test_all_of_it(self) -> None:
        """A dozen lines at once are all written, and after a rest a dozen again."""
        for _ in range(3):
            self.assertEqual(self.told(LINES), [f"line {number}" for number in range(LINES)])
            self.clock.advance(LINES)

    def test_warnings(self) -> None:
        """A warning is not left out for what was merely news."""
        self.told(1000)
        with capturedLogs() as events:
            self.chronicle.tell(self.log, LogLevel.warn, self.peer, "look")
        self.assertEqual([formatEvent(event) for event in events], ["look"])

    def test_too_much(self) -> None:
        """Whoever goes on has one line a second, which says how many were left out."""
        self.assertEqual(len(self.told(1000)), LINES)
        self.clock.advance(1)
        left_out = 1000 - LINES
        self.assertEqual(self.told(3), [f"line 0 ({left_out} lines like this were left out)"])
        self.clock.advance(2)
        self.assertEqual(self.told(2), ["line 0 (2 lines like this were left out)", "line 1"])

    def test_others(self) -> None:
        """One that has too much to say costs the others no line; strangers have theirs together."""
        self.told(1000)
        self.assertEqual(len(self.told(3, HumdKey.generate().humd_id())), 3)
        self.assertEqual(len(self.told(1000, STRANGERS)), CROWD_LINES)

    def test_memory(self) -> None:
        """However many there are, so many are remembered, and those that say much longest."""
        self.told(LINES)
        key = HumdKey.generate().humd_id()
        for number in range(PEERS + 10):
            self.told(1, number)
            self.told(1, key)
        self.assertEqual(len(self.chronicle._pages), PEERS)
        self.assertEqual(self.told(1, key), [])


class PeerTests(SynchronousTestCase):
    """A humd, and a peer that comes and goes."""

    def setUp(self) -> None:
        self.world = World()
        self.humd = self.world.humd()

    def visits(self, times: int, key: HumdKey | None = None) -> list[str]:
        """Come, say goodbye and go, so often in the same second; what is logged of it."""
        with capturedLogs() as events:
            for _ in range(times):
                peer = PlainPeer(self.world, self.humd, key)
                peer.say(peer.hello(features=["bye-1"]), {"chi": "goodbye", "reason": "x" * 256, "message": "y" * 256})
                peer.wire.abort()
                self.world.settle()
        return [str(formatEvent(event)) for event in events]

    def test_a_visit(self) -> None:
        """It came, it said goodbye, it is gone: three lines, with its id."""
        key = self.world.key()
        came, said, gone = self.visits(1, key)
        self.assertTrue(came.startswith(f"linked {key.humd_id().full} over memory"))
        self.assertTrue(said.startswith(f"{key.humd_id().full} says goodbye: xxx"))
        self.assertTrue(gone.startswith(f"lost {key.humd_id().full}: "))

    def test_words_of_a_peer(self) -> None:
        """What it says with its goodbye, and an id that it claims, stays in one line, and is nothing to paste."""
        evil = "\n2026-11-22T13:00:00+0000 [x#info] linked\t`ensemble trust humd_evil` \x1b[2J\u202e"
        with capturedLogs() as events:
            peer = PlainPeer(self.world, self.humd)
            peer.say(peer.hello(features=["bye-1"]), {"chi": "goodbye", "reason": evil, "message": evil})
            other = PlainPeer(self.world, self.humd)
            other.say(other.hello(humd_id=evil))
            self.world.advance(1)
            third = PlainPeer(self.world, self.humd)
            third.say(third.hello(humd_id="humd_" + evil))
        told = [str(formatEvent(event)) for event in events]
        self.assertEqual(len([line for line in told if "humd_evil" in line]), 3, told)
        for line in told:
            self.assertTrue(line.isprintable(), line)
            self.assertNotIn("`ensemble trust humd_evil", line)

    def test_a_peer_that_comes_and_goes(self) -> None:
        """A peer with a row has a dozen lines for a hundred visits, and leaves the others theirs."""
        key, friend = self.world.key(), self.world.key()
        rows = [KnownPeer(each.humd_id()) for each in (key, friend)]
        self.humd.judge_again(Policy(Level.OPEN, known=rows))
        told = [line for line in self.visits(100, key) if "share its key" not in line]
        self.assertTrue(len(told) <= LINES, told)
        self.assertEqual(len(self.visits(2, friend)), 6)

    def test_strangers(self) -> None:
        """A hundred strangers, each under an id of its own, have sixty lines together."""
        self.assertEqual(len(self.visits(100)), CROWD_LINES)
