"""What a humd remembers of its peers while the disk does not take it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial

from twisted.logger import LogLevel, capturedLogs

from ensemble.errors import ConfigurationError
from ensemble.mesh import proof_memory
from ensemble.mesh.proof_memory import SqliteProofMemory
from tests.mesh.test_proof_memory import NOW, ONE, THREE, TWO, SqliteCase, humd


class DiskTests(SqliteCase):
    """The disk refuses, for a while or for good."""

    def other(self) -> sqlite3.Connection:
        """Somebody else at the file."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        return other

    def held(self) -> sqlite3.Connection:
        """Somebody else holds the file, until ``ROLLBACK``."""
        other = self.other()
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

    def test_rows_after_a_refusal(self) -> None:
        """Of what is written anew the file still knows who had a row: no stranger pushes those out after a restart."""
        memory = self.reopened(bound=1)
        other = self.held()
        with capturedLogs():
            memory.note_proven(ONE, True)
            memory.note_proven(TWO, False)
        other.execute("ROLLBACK")
        memory = self.reopened(memory, bound=1)
        memory.note_proven(THREE, False)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE)], [True, False, True])

    def test_file_stays_small(self) -> None:
        """What was pushed out of RAM while the disk refused leaves the file with the next write."""
        memory = self.reopened(bound=2)
        hellos = [(NOW + number, humd(number)) for number in range(4)]
        for signed_at, who in hellos[:2]:
            memory.fresh_hello(who, signed_at, NOW)
        other = self.held()
        with capturedLogs():
            for signed_at, who in hellos[2:]:
                memory.fresh_hello(who, signed_at, NOW)
        other.execute("ROLLBACK")
        memory.note_proven(ONE, True)
        self.assertEqual(self.rows("hello"), [(signed_at, who.full) for signed_at, who in hellos[2:]])

    def test_refused_again(self) -> None:
        """Once all is written the next refusal is news again."""
        memory = self.reopened()
        for who in (ONE, TWO):
            other = self.held()
            with capturedLogs() as events:
                memory.note_proven(who, True)
            self.assertEqual(len(events), 1)
            other.execute("ROLLBACK")
            memory.note_proven(THREE, True)

    def test_file_is_taken_away(self) -> None:
        """A file that is removed, or has another in its place, while we run is written anew, with all that we know."""
        memory = self.reopened()
        memory.note_proven(ONE, True)
        memory.note_statement("said")
        for names in (("peers.sqlite", "peers.sqlite-wal", "peers.sqlite-shm"), ("peers.sqlite",)):
            for name in names:
                self.folder.joinpath(name).unlink()
            with capturedLogs() as events:
                memory.note_proven(TWO, True)
                memory.note_statement(names[-1])
            self.assertEqual([(each["log_level"], each["path"]) for each in events], [(LogLevel.warn, str(self.path))])
            self.assertEqual(memory.trouble, "")
            self.assertEqual({who for who, *_ in self.rows("proven")}, {ONE.full, TWO.full})
            self.assertEqual(self.rows("statement"), [(each,) for each in sorted(memory.statements())])
        older = self.folder / "older"
        SqliteProofMemory(older).close()
        older.replace(self.path)
        for name in ("peers.sqlite-wal", "peers.sqlite-shm"):
            self.folder.joinpath(name).unlink()
        with capturedLogs():
            memory.note_proven(THREE, True)
        self.assertEqual({who for who, *_ in self.rows("proven")}, {ONE.full, TWO.full, THREE.full})
        again = self.reopened(memory)
        self.assertEqual(sorted(again.statements()), ["peers.sqlite", "peers.sqlite-shm", "said"])

    def test_folder_is_taken_away(self) -> None:
        """While the whole folder is away what is learned is in RAM only, and told; it is written once that is back."""
        memory, away = self.reopened(), self.folder.with_name("away")
        memory.note_statement("before")
        self.folder.rename(away)
        with capturedLogs() as events:
            memory.note_statement("meanwhile")
            memory.note_proven(ONE, True)
        self.assertEqual([each["log_level"] for each in events], [LogLevel.error])
        self.assertIn("No such file", memory.trouble)
        away.rename(self.folder)
        with capturedLogs():
            memory.catch_up()
        self.assertEqual(memory.trouble, "")
        again = self.reopened(memory)
        self.assertEqual((sorted(again.statements()), again.ever_proven(ONE)), (["before", "meanwhile"], True))

    def test_never_waits(self) -> None:
        """A file that somebody else holds is waited for at start only: later everything else would wait with us."""
        self.assertEqual(self.reopened()._db.execute("PRAGMA busy_timeout").fetchone(), (0,))

    def test_power_cut(self) -> None:
        """What was said of a key, and what the disk had refused, is on the disk once it is noted; the rest soon."""
        memory, levels = self.reopened(), []
        notes: list[Callable[[], object]] = [
            partial(memory.note_proven, ONE, True),
            partial(memory.note_statement, "said"),
            partial(memory.forget, ONE),
            partial(self.refused, memory),
            partial(memory.note_proven, TWO, True),
            partial(memory.note_proven, THREE, True),
        ]
        for note in notes:
            note()
            levels += memory._db.execute("PRAGMA synchronous").fetchone()
        normal, full = 1, 2
        self.assertEqual(levels, [normal, full, normal, full, full, normal])

    def test_file_breaks_under_us(self) -> None:
        """Where the file loses a table while we run, we go on in RAM and say so once."""
        memory = self.reopened()
        self.other().execute("DROP TABLE hello")
        with capturedLogs() as events:
            results = [memory.fresh_hello(ONE, NOW, NOW), memory.fresh_hello(ONE, NOW, NOW)]
            memory.note_proven(ONE, True)
        self.assertEqual((results, memory.ever_proven(ONE)), ([True, False], True))
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
        self.assertIn("no such table", events[0]["cause"])

    def test_file_is_mended(self) -> None:
        """What failed in the middle leaves no lock behind, and all of it is written when the file is well again."""
        memory, other = self.reopened(), self.other()
        (table,) = other.execute("SELECT sql FROM sqlite_master WHERE name = 'hello'").fetchone()
        other.execute("DROP TABLE hello")
        with capturedLogs() as events:
            memory.fresh_hello(ONE, NOW, NOW)
        self.assertEqual(len(events), 1)
        other.execute(table)
        memory.note_proven(TWO, True)
        memory = self.reopened(memory)
        self.assertEqual((memory.ever_proven(TWO), memory.fresh_hello(ONE, NOW, NOW)), (True, False))

    def refused(self, memory: SqliteProofMemory) -> None:
        """``memory`` learns something while somebody else holds the file."""
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

    def test_trouble(self) -> None:
        """What is in RAM only is told, with the cause and on each try, until the disk has taken all."""
        memory, told = self.reopened(), list[str]()
        memory.refused = lambda: told.append(memory.trouble)
        memory.catch_up()
        other = self.held()
        with capturedLogs() as events:
            memory.note_statement("said")
            memory.catch_up()
        self.assertEqual((told, len(events)), ([f"{self.path} cannot be written: database is locked"] * 2, 1))
        other.execute("ROLLBACK")
        memory.catch_up()
        self.assertEqual((memory.trouble, self.rows("statement")), ("", [("said",)]))

    def test_the_disk_is_no_damage(self) -> None:
        """Where the file cannot be used for the disk's sake, the mend is not to move it away."""
        self.reopened().close()
        other = self.other()
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        self.patch(proof_memory, "OPEN_SECONDS", 0.0)
        error = self.assertRaises(ConfigurationError, SqliteProofMemory, self.path)
        self.assertIn("locked. See whether the disk", str(error))
        self.assertNotIn("away", str(error))
