"""What a humd remembers of its peers while the disk does not take it."""

from __future__ import annotations

import sqlite3

from twisted.logger import LogLevel, capturedLogs

from ensemble.errors import ConfigurationError
from ensemble.mesh import proof_memory
from ensemble.mesh.proof_memory import SqliteProofMemory
from tests.mesh.test_proof_memory import NOW, ONE, THREE, TWO, SqliteCase, humd


class DiskTests(SqliteCase):
    """The disk refuses, for a while or for good."""

    def held(self) -> sqlite3.Connection:
        """Somebody else holds the file, until C{ROLLBACK}."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        return other

    def test_statements_while_the_disk_refuses(self) -> None:
        """What was said of a key is written when the disk takes it again."""
        memory = self.reopened()
        other = self.held()
        with capturedLogs() as events:
            memory.note_statement("said")
        self.assertEqual(len(events), 1)
        other.execute("ROLLBACK")
        memory.note_proven(ONE, True)
        memory = self.reopened(memory)
        self.assertEqual(list(memory.statements()), ["said"])

    def test_statement_to_a_broken_file(self) -> None:
        """Whatever the file says to it, what was said of a key is remembered in RAM, and nobody is thrown at."""
        memory = self.reopened()
        memory.close()
        with capturedLogs() as events:
            memory.note_statement("said")
        self.assertEqual((list(memory.statements()), len(events)), (["said"], 1))

    def test_disk_refuses(self) -> None:
        """While the disk refuses writes nothing is lost in RAM and one line is logged; then all of it is written."""
        memory = self.reopened()
        memory.note_proven(ONE, False)
        other = self.held()
        with capturedLogs() as events:
            memory.note_proven(TWO, True)
            self.assertTrue(memory.fresh_hello(TWO, NOW, NOW))
            self.assertFalse(memory.fresh_hello(TWO, NOW, NOW))
            memory.forget(ONE)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO)], [False, True])
        self.assertEqual([(event["log_level"], event["path"]) for event in events], [(LogLevel.error, str(self.path))])
        other.execute("ROLLBACK")
        memory.note_proven(THREE, False)
        memory = self.reopened(memory)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE)], [False, True, True])
        self.assertFalse(memory.fresh_hello(TWO, NOW, NOW))

    def test_floor_after_a_refusal(self) -> None:
        """What a flood pushed out while the disk refused is not fresh after a restart either."""
        memory = self.reopened(bound=2)
        other = self.held()
        with capturedLogs() as events:
            for number in range(4):
                memory.fresh_hello(humd(number), NOW + number, NOW)
        self.assertEqual(len(events), 1)
        other.execute("ROLLBACK")
        memory.note_proven(ONE, True)
        memory = self.reopened(memory, bound=2)
        self.assertEqual([memory.fresh_hello(humd(number), NOW + number, NOW) for number in range(4)], [False] * 4)

    def test_file_breaks_under_us(self) -> None:
        """Where the file loses a table while we run, we go on in RAM and say so once."""
        memory = self.reopened()
        other = sqlite3.connect(self.path)
        self.addCleanup(other.close)
        other.execute("DROP TABLE hello")
        with capturedLogs() as events:
            results = [memory.fresh_hello(ONE, NOW, NOW), memory.fresh_hello(ONE, NOW, NOW)]
            memory.note_proven(ONE, True)
        self.assertEqual((results, memory.ever_proven(ONE)), ([True, False], True))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.assertIn("no such table", events[0]["cause"])

    def refused(self, memory: SqliteProofMemory) -> None:
        """C{memory} learns something while somebody else holds the file."""
        other = self.held()
        with capturedLogs() as events:
            memory.note_statement("said")
            memory.forget(TWO)
        self.assertEqual(len(events), 1)
        other.close()

    def test_closed_after_a_refusal(self) -> None:
        """What the disk refused is written at the end at the latest, though nothing was learned since."""
        memory = self.reopened()
        memory.note_proven(TWO, True)
        self.refused(memory)
        memory = self.reopened(memory)
        self.assertEqual((memory.ever_proven(TWO), list(memory.statements())), (False, ["said"]))

    def test_link_after_a_refusal(self) -> None:
        """It is written with the next link, also where that of a peer whom we know is nothing new."""
        memory = self.reopened()
        memory.note_proven(ONE, True)
        self.refused(memory)
        memory.note_proven(ONE, True)
        self.assertEqual(self.rows("statement"), [("said",)])

    def test_the_disk_is_no_damage(self) -> None:
        """Where the file cannot be used for the disk's sake, the mend is not to move it away."""
        self.reopened().close()
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        self.patch(proof_memory, "OPEN_SECONDS", 0.0)
        error = self.assertRaises(ConfigurationError, SqliteProofMemory, self.path)
        self.assertIn("locked. See whether the disk", str(error))
        self.assertNotIn("away", str(error))
