"""Tests for what a humd must not forget of its peers."""

from __future__ import annotations

import os
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import ConfigurationError
from ensemble.identity import HumdId
from ensemble.mesh.proof_memory import SCHEMA, ProofMemory, RamProofMemory, SqliteProofMemory
from ensemble.protocols import HELLO_WINDOW_MS

NOW = 1_700_000_000_000  # ms


def humd(number: int) -> HumdId:
    """One of many ids."""
    return HumdId(number.to_bytes(32, "big"))


ONE, TWO, THREE, FOUR = map(humd, range(1, 5))

Call = tuple[int, int, int]  # whose hello, how far off it was signed, and how much time passes before: in ms
CALLS = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(-70, 70).map(lambda s: s * 1000), st.integers(0, 30).map(lambda s: s * 1000)
    ),
    max_size=60,
)

if TYPE_CHECKING:
    _Case = SynchronousTestCase
else:
    _Case = object


class Promises(_Case):
    """What every memory keeps, in RAM or in a file."""

    def memory(self, max_strangers: int = 100, max_hellos: int = 100) -> ProofMemory:
        """A fresh one."""
        raise NotImplementedError

    def test_proven(self) -> None:
        """An id is proven once it was noted, and others are not."""
        memory = self.memory()
        self.assertFalse(memory.ever_proven(ONE))
        memory.note_proven(ONE, True)
        memory.note_proven(TWO, False)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE)], [True, True, False])

    def test_statements(self) -> None:
        """What was noted is there, once."""
        memory = self.memory()
        for text in ("one", "two", "one"):
            memory.note_statement(text)
        self.assertEqual(sorted(memory.statements()), ["one", "two"])

    def test_strangers_are_bounded(self) -> None:
        """Of those without a row the latest to prove are kept, of those with one all."""
        memory = self.memory(max_strangers=2)
        for who, has_row in [(ONE, True), (TWO, False), (THREE, False), (TWO, False), (FOUR, False)]:
            memory.note_proven(who, has_row)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE, FOUR)], [True, True, False, True])

    def test_rows_are_not_bounded(self) -> None:
        """However many have a row, none is forgotten."""
        memory = self.memory(max_strangers=2)
        for number in range(20):
            memory.note_proven(humd(number), True)
        self.assertTrue(all(memory.ever_proven(humd(number)) for number in range(20)))

    def test_kept_stays_kept(self) -> None:
        """Who had a row when it proved itself stays, and takes no stranger's place when it has none the next time."""
        memory = self.memory(max_strangers=1)
        for who, has_row in [(ONE, True), (TWO, False), (ONE, False)]:
            memory.note_proven(who, has_row)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO)], [True, True])

    def test_row_comes_later(self) -> None:
        """A stranger that gets a row is kept from then on; a row alone proves nothing."""
        memory = self.memory(max_strangers=1)
        memory.note_proven(ONE, False)
        memory.keep([ONE, TWO])
        memory.note_proven(THREE, False)
        memory.note_proven(FOUR, False)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE, FOUR)], [True, False, False, True])

    def test_forget(self) -> None:
        """Who is forgotten never proved itself, kept or not, and we are told whether it had."""
        memory = self.memory()
        memory.note_proven(ONE, True)
        memory.note_proven(TWO, False)
        self.assertEqual([memory.forget(who) for who in (ONE, TWO, THREE, ONE)], [True, True, False, False])
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO)], [False, False])

    def test_hello_once(self) -> None:
        """A pair of id and time is fresh once; another id, or another time, is another pair."""
        memory = self.memory()
        self.assertTrue(memory.fresh_hello(ONE, NOW, NOW))
        self.assertFalse(memory.fresh_hello(ONE, NOW, NOW))
        self.assertFalse(memory.fresh_hello(ONE, NOW, NOW + HELLO_WINDOW_MS))
        self.assertTrue(memory.fresh_hello(TWO, NOW, NOW))
        self.assertTrue(memory.fresh_hello(ONE, NOW + 1, NOW))
        self.assertTrue(memory.fresh_hello(ONE, NOW - 1, NOW))

    def test_hello_of_the_minute(self) -> None:
        """More than a minute off, either way, is not fresh, whether it was seen or not."""
        for signed_at, fresh in [
            (NOW - HELLO_WINDOW_MS - 1, False),
            (NOW - HELLO_WINDOW_MS, True),
            (NOW + HELLO_WINDOW_MS, True),
            (NOW + HELLO_WINDOW_MS + 1, False),
            (10**30, False),
        ]:
            self.assertEqual(self.memory().fresh_hello(ONE, signed_at, NOW), fresh, signed_at - NOW)

    def test_forgetting_allows_no_replay(self) -> None:
        """A hello stays used when its id is forgotten."""
        memory = self.memory()
        memory.note_proven(ONE, True)
        memory.fresh_hello(ONE, NOW, NOW)
        memory.forget(ONE)
        self.assertFalse(memory.fresh_hello(ONE, NOW, NOW))

    def test_flood_allows_no_replay(self) -> None:
        """Whoever fills the memory makes early hellos unwelcome, never an old one fresh again."""
        memory = self.memory(max_hellos=10)
        for number in range(20):
            self.assertTrue(memory.fresh_hello(humd(number), NOW + number, NOW))
        for number in range(20):
            self.assertFalse(memory.fresh_hello(humd(number), NOW + number, NOW), number)
        self.assertFalse(memory.fresh_hello(FOUR, NOW + 9, NOW))
        self.assertTrue(memory.fresh_hello(humd(99), NOW + 21, NOW))

    def check_never_twice(self, memory: ProofMemory, calls: list[Call]) -> None:
        """However hellos come, and however small the memory, no pair is fresh twice while the clock runs on."""
        now = NOW
        accepted: set[tuple[HumdId, int]] = set()
        for who, offset, passes in calls:
            now += passes
            pair = (humd(who), now + offset)
            if memory.fresh_hello(*pair, now):
                self.assertNotIn(pair, accepted)
                accepted.add(pair)
        memory.close()


class RamTests(Promises, SynchronousTestCase):
    """The memory that ends with the process."""

    def memory(self, max_strangers: int = 100, max_hellos: int = 100) -> ProofMemory:
        """Nothing is known."""
        return RamProofMemory(max_strangers, max_hellos)

    @settings(max_examples=300)
    @given(CALLS, st.integers(1, 20))
    def test_never_twice(self, calls: list[Call], bound: int) -> None:
        """No pair is fresh twice, whatever came between."""
        self.check_never_twice(RamProofMemory(max_hellos=bound), calls)


class SqliteCase(SynchronousTestCase):
    """Memories in files."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "peers.sqlite"
        self.number = 0

    def reopened(self, memory: SqliteProofMemory | None = None, bound: int = 100) -> SqliteProofMemory:
        """The same file in another process, or the file of ``self.path`` for the first time."""
        if memory is not None:
            memory.close()
        again = SqliteProofMemory(self.path, bound, bound)
        self.addCleanup(again.close)
        return again

    def rows(self, table: str) -> list[tuple[object, ...]]:
        """What the file says."""
        db = sqlite3.connect(self.path)
        self.addCleanup(db.close)
        return db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


class SqliteTests(Promises, SqliteCase):
    """The memory in a file."""

    def memory(self, max_strangers: int = 100, max_hellos: int = 100) -> ProofMemory:
        """Nothing is known."""
        self.number += 1
        memory = SqliteProofMemory(self.folder / f"{self.number}.sqlite", max_strangers, max_hellos)
        self.addCleanup(memory.close)
        return memory

    @settings(max_examples=25)
    @given(CALLS, st.integers(1, 20))
    def test_never_twice(self, calls: list[Call], bound: int) -> None:
        """No pair is fresh twice, whatever came between."""
        self.check_never_twice(self.memory(max_hellos=bound), calls)

    def test_survives(self) -> None:
        """Who proved itself, and in which order, and what was seen, is there after a restart."""
        memory = self.reopened(bound=2)
        for who, has_row in [(ONE, True), (THREE, False), (TWO, False), (THREE, False)]:
            memory.note_proven(who, has_row)
        for who, now in [(ONE, NOW), (TWO, NOW + HELLO_WINDOW_MS)]:  # not stale yet, in that millisecond
            memory.fresh_hello(who, now, now)
        memory = self.reopened(memory, bound=2)
        self.assertFalse(memory.fresh_hello(ONE, NOW, NOW + HELLO_WINDOW_MS))
        memory.note_proven(FOUR, False)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE, FOUR)], [True, False, True, True])
        memory.forget(THREE)
        memory.keep([FOUR])
        memory = self.reopened(memory)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE, FOUR)], [True, False, False, True])
        self.assertEqual([kept for _, kept, _ in self.rows("proven")], [1, 1])

    def test_order_survives(self) -> None:
        """Which of the strangers proved itself last is known after a restart, whatever their ids."""
        memory = self.reopened()
        for who in (THREE, TWO, ONE):
            memory.note_proven(who, False)
        memory = self.reopened(memory, bound=1)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE)], [True, False, False])

    def test_row_comes_later_and_restart(self) -> None:
        """Whoever got a row is no stranger any more: none that came later costs it its place after a restart."""
        memory = self.reopened(bound=1)
        memory.note_proven(ONE, False)
        memory.keep([ONE])
        memory.note_proven(TWO, False)
        memory.note_proven(THREE, False)
        memory = self.reopened(memory, bound=1)
        self.assertEqual([memory.ever_proven(who) for who in (ONE, TWO, THREE)], [True, False, True])

    def test_flood_and_restart(self) -> None:
        """What a flood pushed out cannot be replayed after a restart either."""
        memory = self.reopened(bound=3)
        for number in range(9):
            self.assertTrue(memory.fresh_hello(humd(number), NOW + number, NOW))
        memory = self.reopened(memory, bound=3)
        self.assertEqual([memory.fresh_hello(humd(number), NOW + number, NOW) for number in range(9)], [False] * 9)
        self.assertEqual(len(self.rows("hello")), 3)

    def test_file_stays_small(self) -> None:
        """Stale hellos, and strangers over the bound, leave the file."""
        memory = self.reopened(bound=5)
        for number in range(30):
            memory.note_proven(humd(number), False)
            memory.fresh_hello(humd(number), NOW + number * 50_000, NOW + number * 50_000)
        self.assertEqual((len(self.rows("proven")), len(self.rows("hello"))), (5, 2))

    def test_smaller_bound(self) -> None:
        """A file from a time with a larger bound is cut to the new one, the latest staying."""
        memory = self.reopened()
        for number in range(10):
            memory.note_proven(humd(number), False)
        memory = self.reopened(memory, bound=3)
        self.assertEqual([memory.ever_proven(humd(number)) for number in (6, 7, 8, 9)], [False, True, True, True])
        memory.note_proven(humd(9), False)
        self.assertEqual(len(self.rows("proven")), 3)

    def test_nothing_to_write(self) -> None:
        """A peer with a row that proves itself again costs no write."""
        memory = self.reopened()
        other = sqlite3.connect(self.path)
        self.addCleanup(other.close)
        versions = []
        for who in (ONE, ONE, TWO):
            memory.note_proven(who, True)
            versions.append(other.execute("PRAGMA data_version").fetchone())
        self.assertEqual([one == two for one, two in pairwise(versions)], [True, False])

    def test_nothing_to_write_after_a_restart(self) -> None:
        """Nor does it after a restart, where the file is not over its bound."""
        memory = self.reopened()
        memory.note_proven(ONE, True)
        memory = self.reopened(memory)
        changes = memory._db.total_changes
        memory.note_proven(ONE, True)
        self.assertEqual(memory._db.total_changes, changes)

    def test_mode(self) -> None:
        """Nobody else can read who our peers are, whatever the umask is."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        memory = self.reopened()
        memory.note_proven(ONE, True)
        for path in self.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    def assertUnusable(self, *words: str) -> None:
        """The file is refused with one line, which has these words and its path."""
        error = self.assertRaises(ConfigurationError, SqliteProofMemory, self.path)
        for word in (str(self.path), *words):
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))

    def test_no_directory(self) -> None:
        """A file that cannot be made is a clear error."""
        self.path = self.folder / "nowhere" / "peers.sqlite"
        self.assertUnusable("cannot open", "directory")
        self.path = self.folder
        self.assertUnusable("cannot open")

    def test_not_a_database(self) -> None:
        """Another file under that name is a clear error, with the mend, and is left as it was."""
        self.path.write_bytes(b"these are my notes\n" * 100)
        self.assertUnusable("not a database", "move it away")
        self.assertEqual(self.path.read_bytes(), b"these are my notes\n" * 100)

    def test_damaged(self) -> None:
        """A file with a damaged page is a clear error, with the mend."""
        memory = self.reopened()
        for number in range(2000):
            memory.note_proven(humd(number), True)
        memory.close()
        content = bytearray(self.path.read_bytes())
        for at in range(4096, len(content), 4096):
            content[at : at + 64] = b"\xff" * 64
        self.path.write_bytes(content)
        self.assertUnusable("move it away")

    def test_damaged_elsewhere(self) -> None:
        """So is one in which all that we want can be read: what is written there next may be lost."""
        self.reopened().close()
        content = bytearray(self.path.read_bytes())
        content[36:40] = b"\0\0\0\7"  # pages that are free, as its head says
        self.path.write_bytes(content)
        self.assertUnusable("move it away")

    def test_of_a_newer_version(self) -> None:
        """A file of a newer humd is not touched."""
        db = sqlite3.connect(self.path)
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        db.close()
        self.assertUnusable("newer humd")
        self.assertUnusable("Start the newer humd again")
        self.assertNotIn("away", str(self.assertRaises(ConfigurationError, SqliteProofMemory, self.path)))

    def test_of_an_older_version(self) -> None:
        """A file from before statements were kept loses nothing and keeps them from now on."""
        memory = self.reopened()
        memory.note_proven(ONE, True)
        memory.close()
        db = sqlite3.connect(self.path)
        db.execute("DROP TABLE statement")
        db.execute("PRAGMA user_version = 1")
        db.close()
        memory = SqliteProofMemory(self.path)
        memory.note_statement("said")
        memory = self.reopened(memory)
        self.assertEqual((memory.ever_proven(ONE), list(memory.statements())), (True, ["said"]))

    def test_of_somebody_else(self) -> None:
        """A database with our version and other tables is a clear error."""
        db = sqlite3.connect(self.path)
        db.execute("CREATE TABLE proven (name TEXT)")
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.close()
        self.assertUnusable("move it away")
