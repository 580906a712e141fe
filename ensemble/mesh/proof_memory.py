"""
What a humd must not forget of its peers: wire-0.8 section 1.

Beside what peers said of their keys, which is only kept here, there are two memories.  *Who
proved*: an id that ever completed ``proof-1`` here is never again admitted with less.  *Replays*: a signed 0.7.0
hello, the pair (id, ``signed_at``), is accepted once, and remembered until it is stale.

Both are bounded.  Ids with a row are kept for good, of the others the latest 65,536.  Of the pairs 65,536 are held;
where strangers fill that within the minute the earliest ``signed_at`` goes, and from then on nothing as early is
accepted: what was forgotten cannot be replayed, and an honest peer whose clock is right is later than that.
"""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.logger import Logger

from ensemble.errors import ConfigurationError
from ensemble.identity import HumdId
from ensemble.protocols import HELLO_WINDOW_MS, HandshakeMemory

MAX_STRANGERS: Final = 65_536  # ids without a row of which we know that they proved
MAX_HELLOS: Final = 65_536  # signed hellos that are not stale yet
PEERS_DATABASE: Final = "peers.sqlite"  # in the state dir
SCHEMA: Final = 2  # user_version of the file
OPEN_SECONDS: Final = 1.0  # how long we wait at start for somebody else's lock; later we never wait
# Of SQLite: the file may be as good as ever.
_OF_THE_DISK: Final = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY)
)


class ProofMemory(HandshakeMemory, Protocol):
    """What `ensemble.mesh.Ensemble` needs of the store that it is given."""

    def keep(self, peers: Iterable[HumdId]) -> None:
        """These ids have a row: what is known of them stays for good."""

    def forget(self, peer: HumdId) -> bool:
        """
        Admit this id with less than a proof again, where its level allows that.

        :returns: False where it never proved itself.
        """

    def statements(self) -> Iterable[str]:
        """What was noted by `note_statement`, in any order."""

    def note_statement(self, text: str) -> None:
        """Keep for good what somebody said of a key; how many is for the caller to bound."""

    def close(self) -> None:
        """Nothing more will be asked."""


class _Newer(ConfigurationError):
    """The file is good, and of a version that we do not know."""


class _Proven:
    """The ids that proved themselves, as texts."""

    def __init__(self, limit: int) -> None:
        self.kept: set[str] = set()
        self.strangers: OrderedDict[str, None] = OrderedDict()  # the latest last
        self._limit = limit

    def __contains__(self, who: str) -> bool:
        return who in self.kept or who in self.strangers

    def note(self, who: str, has_row: bool) -> str | None:
        """Whoever had to be forgotten for it."""
        if has_row or who in self.kept:
            self.strangers.pop(who, None)
            self.kept.add(who)
            return None
        self.strangers[who] = None
        self.strangers.move_to_end(who)
        return self.strangers.popitem(last=False)[0] if len(self.strangers) > self._limit else None

    def forget(self, who: str) -> None:
        self.kept.discard(who)
        self.strangers.pop(who, None)


class _Hellos:
    """
    The signed hellos of the last minute.

    :ivar floor: nothing signed at or before it is fresh; None where nothing was ever forgotten too early.
    """

    def __init__(self, limit: int) -> None:
        self.pairs: set[tuple[int, str]] = set()
        self.floor: int | None = None
        self._earliest: list[tuple[int, str]] = []  # a heap of the same pairs
        self._limit = limit

    def take(self, signed_at: int, who: str, now_ms: int) -> bool:
        """False where it was taken before, or may have been."""
        if abs(now_ms - signed_at) > HELLO_WINDOW_MS or (self.floor is not None and signed_at <= self.floor):
            return False
        while self._earliest and self._earliest[0][0] < now_ms - HELLO_WINDOW_MS:
            self.pairs.remove(heappop(self._earliest))
        pair = (signed_at, who)
        if pair in self.pairs:
            return False
        self.restore(pair)
        return True

    def restore(self, pair: tuple[int, str]) -> None:
        """Put back what a file remembered."""
        self.pairs.add(pair)
        heappush(self._earliest, pair)
        if len(self._earliest) > self._limit:
            earliest = heappop(self._earliest)
            self.pairs.remove(earliest)
            self.floor = earliest[0]


class RamProofMemory:
    """A `ProofMemory` that ends with the process."""

    def __init__(self, max_strangers: int = MAX_STRANGERS, max_hellos: int = MAX_HELLOS) -> None:
        self._proven, self._hellos = _Proven(max_strangers), _Hellos(max_hellos)
        self._statements: dict[str, None] = {}

    # ProofMemory

    def ever_proven(self, peer: HumdId) -> bool:
        return peer.full in self._proven

    def note_proven(self, peer: HumdId, has_row: bool) -> None:
        self._proven.note(peer.full, has_row)  # who was kept once stays kept

    def fresh_hello(self, peer: HumdId, signed_at: int, now_ms: int) -> bool:
        return self._hellos.take(signed_at, peer.full, now_ms)

    def keep(self, peers: Iterable[HumdId]) -> None:
        for peer in peers:
            if peer.full in self._proven.strangers:
                self.note_proven(peer, True)

    def forget(self, peer: HumdId) -> bool:
        known = self.ever_proven(peer)
        self._proven.forget(peer.full)  # signed hellos stay seen
        return known

    def statements(self) -> Iterable[str]:
        return list(self._statements)

    def note_statement(self, text: str) -> None:
        self._statements[text] = None

    def close(self) -> None:
        """Nothing is open."""


_Statement = tuple[str, Sequence[Any]]

_TABLES: Final = (  # what each version of the file added
    (
        "CREATE TABLE proven (id TEXT PRIMARY KEY, kept INTEGER NOT NULL, turn INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE hello (signed_at INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (signed_at, id)) WITHOUT ROWID",
        "CREATE TABLE hello_floor (one INTEGER PRIMARY KEY CHECK (one = 1), signed_at INTEGER NOT NULL)",
    ),
    ("CREATE TABLE statement (text TEXT PRIMARY KEY) WITHOUT ROWID",),
)
_PUT_PROVEN: Final = "INSERT OR REPLACE INTO proven (id, kept, turn) VALUES (?, ?, ?)"
_PUT_HELLO: Final = "INSERT OR REPLACE INTO hello (signed_at, id) VALUES (?, ?)"
_PUT_STATEMENT: Final = "INSERT OR REPLACE INTO statement (text) VALUES (?)"
_PUT_FLOOR: Final = "INSERT OR REPLACE INTO hello_floor (one, signed_at) VALUES (1, ?)"


class SqliteProofMemory(RamProofMemory):
    """
    A `ProofMemory` in one file, normally ``peers.sqlite`` in the state dir.

    All of it is in RAM as well, so only writes touch the disk: a few rows at once, as seldom as links come up.  Where
    the disk refuses a write nothing is lost while we run, and the whole is written when it takes one again.  After a
    power cut the last few seconds may be missing, after a crash of ours nothing that it took.

    :ivar trouble: why something is in RAM only; empty where the disk took all.
    :ivar refused: called after each write that the disk refused.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        max_strangers: int = MAX_STRANGERS,
        max_hellos: int = MAX_HELLOS,
        ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        Open the file, or make it (mode 0600).

        :param path: its directory must exist.  One ensemble for one file: no lock sees to that.
        :param max_strangers: ids without a row that it remembers, those that proved themselves last.
        :param ours: asked where the file is gone: is what is at its place still for us to write?
        :raises ConfigurationError: it cannot be used; the text says what to do.
        """
        super().__init__(max_strangers, max_hellos)
        self._path, self._ours = path, ours
        self._turn = 0  # strangers are loaded in the order in which they proved
        self._behind = False  # the file misses something
        self._file: os.stat_result | None = None  # what is open; None: nothing that can be used
        self.trouble = ""
        self.refused: Callable[[], object] = lambda: None
        try:
            file = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"cannot open {path}, where proofs are remembered: {error}. Its directory must exist and be ours"
            ) from None
        try:
            self._open(file)
        except (sqlite3.Error, ConfigurationError, UnicodeDecodeError) as error:
            self._db.close()
            raise ConfigurationError(
                f"{path}, where proofs are remembered, cannot be used: {error}. {_mend(error)}"
            ) from None

    # ProofMemory

    def note_proven(self, peer: HumdId, has_row: bool) -> None:
        who = peer.full
        if who in self._proven.kept and not self._behind:
            return
        forgotten = self._proven.note(who, has_row)
        self._turn += 1
        self._write(
            (_PUT_PROVEN, (who, int(has_row), self._turn)),
            ("DELETE FROM proven WHERE id = ?", (forgotten,)),
        )

    def fresh_hello(self, peer: HumdId, signed_at: int, now_ms: int) -> bool:
        floor = self._hellos.floor
        if not super().fresh_hello(peer, signed_at, now_ms):
            return False
        stale: list[_Statement] = [("DELETE FROM hello WHERE signed_at < ?", (now_ms - HELLO_WINDOW_MS,))]
        if self._hellos.floor != floor:
            floor = self._hellos.floor
            stale = [(_PUT_FLOOR, (floor,)), ("DELETE FROM hello WHERE signed_at <= ?", (floor,))]
        self._write((_PUT_HELLO, (signed_at, peer.full)), *stale)
        return True

    def forget(self, peer: HumdId) -> bool:
        known = super().forget(peer)
        self._write(("DELETE FROM proven WHERE id = ?", (peer.full,)))
        return known

    def note_statement(self, text: str) -> None:
        super().note_statement(text)
        # Unlike the rest it survives a power cut: a revocation may not be said again.
        self._write((_PUT_STATEMENT, (text,)), sync="FULL")

    def close(self) -> None:
        self.refused = lambda: None
        self.catch_up()  # with all that the disk may have refused before
        self._db.close()

    def catch_up(self) -> None:
        """Try again to write what the disk refused; see `trouble`."""
        if self._behind:
            self._write()

    def _connect(self) -> os.stat_result:
        # Before SQLite makes it with the umask's mode; its -wal and -shm files take the mode of this one.
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._db = sqlite3.connect(self._path, timeout=OPEN_SECONDS, isolation_level=None)
            return os.fstat(handle)
        finally:
            os.close(handle)

    def _open(self, file: os.stat_result) -> None:
        self._make_tables()
        self._load()
        for (text,) in self._db.execute("SELECT text FROM statement"):
            self._statements[text] = None
        self._db.execute("PRAGMA busy_timeout = 0")
        self._file = file

    def _begin_anew(self) -> None:
        """Somebody took the file away.  SQLite would go on in it, where nobody finds what is written."""
        if not self._ours():
            raise ConfigurationError("another humd has its state dir there now: restart this one where its own is")
        self._behind, self._file = True, None
        self._db.close()  # first: SQLite may remove the -wal file of that name then
        file = self._connect()
        self._db.execute("PRAGMA busy_timeout = 0")
        self._make_tables()
        self._file = file
        self.log.warn("{path} was taken away while we run: it is written anew", path=str(self._path))

    def _is_gone(self) -> bool:
        try:
            return self._file is None or not os.path.samestat(os.stat(self._path), self._file)
        except FileNotFoundError:
            return True

    def _make_tables(self) -> None:
        db = self._db
        db.execute("PRAGMA journal_mode = WAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise _Newer(f"a newer humd wrote it (version {version}, ours is {SCHEMA})")
        (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise ConfigurationError(" ".join(state.split()))
        if version < SCHEMA:
            with self._at_once():
                for table in chain.from_iterable(_TABLES[version:]):
                    db.execute(table)
                db.execute(f"PRAGMA user_version = {SCHEMA}")

    def _load(self) -> None:
        for who, kept, turn in self._db.execute("SELECT id, kept, turn FROM proven ORDER BY turn"):
            if self._proven.note(who, bool(kept)) is not None:
                self._behind = True  # the bound was larger when it was written
            self._turn = turn
        for floor in self._db.execute("SELECT signed_at FROM hello_floor"):
            (self._hellos.floor,) = floor
        for pair in self._db.execute("SELECT signed_at, id FROM hello ORDER BY signed_at"):
            self._hellos.restore(pair)

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _write(self, *statements: _Statement, sync: str = "NORMAL") -> None:
        """All of them or none; where it fails we go on with what is in RAM."""
        try:
            if self._is_gone():
                self._begin_anew()
            self._db.execute(f"PRAGMA synchronous = {'FULL' if self._behind else sync}")
            with self._at_once():
                for statement in self._everything() if self._behind else statements:
                    self._db.execute(*statement)
        except (OSError, sqlite3.Error, ConfigurationError, UnicodeDecodeError) as error:
            if not self.trouble:
                self.log.error(
                    "{path} cannot be written: {cause}; what is learned of peers and keys is in RAM only until it can",
                    path=str(self._path),
                    cause=str(error),
                )
            self._behind, self.trouble = True, f"{self._path} cannot be written: {error}"
            self.refused()
        else:
            self._behind, self.trouble = False, ""

    def _everything(self) -> Iterator[_Statement]:
        yield "DELETE FROM proven", ()
        yield "DELETE FROM hello", ()
        for text in self._statements:
            yield _PUT_STATEMENT, (text,)
        for turn, who in enumerate((*self._proven.kept, *self._proven.strangers), start=1):
            yield _PUT_PROVEN, (who, int(who in self._proven.kept), turn)
            self._turn = turn
        for pair in self._hellos.pairs:
            yield _PUT_HELLO, pair
        if self._hellos.floor is not None:
            yield _PUT_FLOOR, (self._hellos.floor,)


def _mend(error: Exception) -> str:
    if isinstance(error, _Newer):
        return "Start the newer humd again, and leave the file there: without it revoked keys would count as good"
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK:
        return "See whether the disk is full or takes no writes, or another process is at the file, and leave it there"
    return (
        "If it is damaged move it away: then each peer counts as one that never proved itself, until it does, and "
        "revoked keys as good"
    )
