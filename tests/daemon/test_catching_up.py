"""What a daemon learned while the disk was full: nobody is told that it is done, and it is written later."""

from __future__ import annotations

import sqlite3

from twisted.internet.base import DelayedCall
from twisted.logger import capturedLogs

from ensemble.daemon.catching_up import RETRY_SECONDS, CatchingUp
from ensemble.identity import HumdKey, revoke
from ensemble.mesh import PEERS_DATABASE
from tests.daemon.memory import HumdTestCase, settle

THIEF = HumdKey.from_seed(b"\3" * 32)
REVOCATION = revoke(THIEF, 1)


class FullDiskTests(HumdTestCase):
    """A humd whose disk takes nothing, until it does."""

    def setUp(self) -> None:
        super().setUp()
        self.mine = self.humd()
        self.asks = self.asker(self.mine)
        self.disk = sqlite3.connect(self.mine.settings.paths.state_dir / PEERS_DATABASE, isolation_level=None)
        self.addCleanup(self.disk.close)

    def full(self) -> None:
        self.disk.execute("BEGIN IMMEDIATE")

    def room(self) -> None:
        self.disk.execute("ROLLBACK")

    def written(self) -> int:
        (count,) = self.disk.execute("SELECT count(*) FROM statement").fetchone()
        return int(count)

    def waiting(self) -> int:
        """The timers that are to try again."""
        calls = self.reactor.getDelayedCalls()
        return sum(isinstance(call, DelayedCall) and call.func == self.mine.catching_up._again for call in calls)

    def revoke(self) -> str | None:
        """The qualifier, where it is refused."""
        with capturedLogs():
            answer = self.asker(self.mine).ask("revoke", statement=REVOCATION.to_tone())
        if not answer["ok"]:
            for word in ("only until this humd ends", PEERS_DATABASE, "locked", "then call this again"):
                self.assertIn(word, answer["message"])
        return answer.get("qualifier")

    def test_revoke(self) -> None:
        """A revocation that is not written is in force, and refused as not done; each call tries again."""
        self.full()
        self.assertEqual((self.revoke(), self.revoke()), ("state.unwritten",) * 2)
        self.assertTrue(self.mine.ensemble.rules.lineage.is_revoked(THIEF.humd_id()))
        self.assertIn("locked", self.asks.ask("status")["unwritten"])
        self.room()
        self.assertEqual((self.revoke(), self.written()), (None, 1))
        self.assertIsNone(self.asks.ask("status")["unwritten"])

    def test_later(self) -> None:
        """It is tried again each minute, by one timer, and by none once it is written."""
        self.full()
        for _ in range(3):
            self.revoke()
            self.assertEqual(self.waiting(), 1)
            self.reactor.advance(RETRY_SECONDS)
        self.room()
        self.reactor.advance(RETRY_SECONDS)
        settle(self.reactor)
        self.assertEqual((self.written(), self.mine.state.memory.trouble), (1, ""))
        self.assertEqual(self.waiting(), 0)

    def test_stopped(self) -> None:
        """What a humd still misses when it stops it writes then, and no timer is left."""
        self.full()
        self.revoke()
        self.room()
        self.stop(self.mine)
        self.assertEqual((self.written(), self.waiting()), (1, 0))

    def test_behind_at_the_start(self) -> None:
        """What was refused before the start is tried again after it."""
        self.mine.catching_up.stopService()
        self.full()
        self.revoke()
        again = CatchingUp(self.mine.state.memory, self.reactor)
        again.startService()
        self.room()
        self.reactor.advance(RETRY_SECONDS)
        self.assertEqual(self.written(), 1)

    def test_stopped_for_good(self) -> None:
        """Once it is stopped nothing is tried again, whatever happens."""
        again = CatchingUp(self.mine.state.memory, self.reactor)
        before = len(self.reactor.getDelayedCalls())
        again.startService()
        for _ in range(2):
            self.mine.state.memory.refused()
            self.assertEqual(len(self.reactor.getDelayedCalls()), before + 1)
        for _ in range(2):
            again.stopService()
            self.mine.state.memory.refused()
            self.assertEqual(len(self.reactor.getDelayedCalls()), before)
