"""Many askers together: what all of them hold has a ceiling, and nobody who waits is forgotten for it."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from ensemble.conversations import MAX_KEYS, asks
from ensemble.conversations.ask import OVERHEAD, Ask, Kind
from ensemble.conversations.asks import SHARE, AskBook
from ensemble.identity import HumdId
from ensemble.tone import Envelope
from tests.conversations.desk import Desk, Got, P, Q, errors, to

MAX_BYTES = 16 * 1024 * 1024  # instead of four times as many: it takes as much less time
LONG = 4000
WIDE = "\N{HONEYBEE}" * LONG  # 32,000 bytes


def stranger(number: int) -> HumdId:
    """One of many."""
    return HumdId(number.to_bytes(32, "big"))


def refused(found: list[Got]) -> list[str]:
    """The qualifiers of the errors among what was said."""
    return [qualifier for _, qualifier, _ in errors([got for got in found if got[1]["chi"] == "error"])]


class CrowdTests(SynchronousTestCase):
    """So many bytes for all."""

    def setUp(self) -> None:
        self.patch(asks, "MAX_BYTES", MAX_BYTES)
        self.desk = Desk()
        self.desk.worker("w")
        self.routes = self.desk.routes

    def ask(self, asker: HumdId, number: int, key: str = WIDE) -> list[str]:
        """A prompt with three long keys; the qualifiers of what the asker is told."""
        keys = {name: f"{asker.full[-8:]}{number}{name}{key}"[:LONG] for name in ("rid", "sid", "callId")}
        return refused(self.desk.heard(asker, "prompt", **keys))

    def end(self, asker: HumdId, number: int) -> None:
        """The worker answers one."""
        self.desk.said("w", "finish", sid=f"{asker.full[-8:]}{number}sid{WIDE}"[:LONG])

    def crowd(self, ending: bool, each: int = 21) -> int:
        """Strangers ask until they hold as much as they may together; how many of them were served whole."""
        for number in range(12):
            for at in range(each):
                if self.ask(stranger(number), at) and not ending:
                    return number
                if ending:
                    self.end(stranger(number), at)
        return 12

    def test_what_has_ended_makes_room(self) -> None:
        """Whoever holds most forgets first what has ended; one who holds little is found by what comes late."""
        self.desk.heard(P, "prompt", rid="r", sid="s")
        self.desk.said("w", "finish", sid="s")
        self.assertEqual(self.crowd(ending=True), 12)
        self.assertLessEqual(self.routes.asks_size, MAX_BYTES)
        self.assertGreater(self.routes.asks_size, MAX_BYTES * 7 // 8)
        self.assertGreater(self.routes.counters["asks.crowded"], 50)
        self.assertEqual(self.routes.counters["asks.evicted"], 0)
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s")), [P])

    def test_what_is_open_stays(self) -> None:
        """Whoever waits is not forgotten; who holds much is refused until something ends, who holds little goes on."""
        served = self.crowd(ending=False)
        self.assertIn(served, range(7, 9))
        self.assertLessEqual(self.routes.asks_size, MAX_BYTES + 3 * 8 * LONG + OVERHEAD)
        before = self.routes.open_asks
        self.assertEqual(self.ask(stranger(0), 99), ["queue.full"])
        (told,) = self.desk.lines
        self.assertIn(b"all who ask this humd", told.line)
        self.assertEqual((self.routes.open_asks, self.routes.counters["asks.crowded"]), (before, 0))
        self.assertEqual((self.ask(Q, 0), self.ask(Q, 1)), ([], ["queue.full"]))
        self.assertLess(self.routes.asks_size, MAX_BYTES + SHARE + 2 * 3 * 8 * LONG)
        for number in range(3):
            self.end(stranger(1), number)
        self.assertEqual(self.ask(stranger(0), 99), [])

    def test_nothing_is_left(self) -> None:
        """Where all are gone nothing counts any more."""
        self.crowd(ending=False, each=3)
        for number in range(3):
            self.end(stranger(1), number)
        for number in range(12):
            self.desk.lost(stranger(number))
        self.assertGreater(self.routes.asks_size, 0)  # the worker is still at it
        self.desk.left("w")
        self.assertEqual((self.routes.known_asks, self.routes.asks_size), (0, 0))

    def test_joining_with_long_keys(self) -> None:
        """Prompts that join open ones cannot make their asker hold more than it may."""
        told = []
        for at in range(200):
            self.desk.heard(P, "prompt", sid=str(at))
            for n in range(4):
                told += refused(self.desk.heard(P, "prompt", sid=str(at), rid=f"{at}.{n}.{WIDE}"[:LONG]))
        self.assertEqual(set(told), {"queue.full"})
        self.assertLess(self.routes.asks_size, MAX_KEYS + 200 * OVERHEAD + 8 * LONG)
        self.assertEqual(refused(self.desk.heard(P, "prompt", sid="0")), [])  # no rid: nothing is added

    def test_joining_what_makes_room(self) -> None:
        """An ask that its own asker's next tone makes forgotten is not joined any more, but asked anew."""
        self.desk.bee("m", chis=["quote"])
        self.desk.heard(P, "quote", rid="first", callId="c")
        for at in range(2 * MAX_KEYS // (8 * LONG)):
            self.desk.heard(P, "quote", rid=f"{at}{WIDE}"[:LONG])
        self.desk.heard(P, "quote", rid="x" * LONG, callId="c")
        self.assertEqual(to(self.desk.said("m", "chunk", callId="c")), [P])


class SizeTests(SynchronousTestCase):
    """How an ask is weighed."""

    def setUp(self) -> None:
        self.patch(asks, "MAX_BYTES", MAX_BYTES)

    def test_keys(self) -> None:
        """A character counts as one byte where all are ASCII, else as eight."""
        self.assertEqual(Ask(P, Q, Kind.PROMPT, "abc", None, "d").measure(), 4)
        self.assertEqual(Ask(P, Q, Kind.PROMPT, "abc", "aé", "").measure(), 19)

    def test_short_names(self) -> None:
        """Who has many asks open holds much, however short their names are: there is no more room for it."""
        book = AskBook(Counter())
        asks_of = {P: SHARE // OVERHEAD, Q: SHARE // OVERHEAD // 2}
        for asker, count in asks_of.items():
            for number in range(count):
                book.open(asker, "w", Kind.CALL, Envelope(chi="tool-call", raw_call_id=f"{asker.short}{number}"), 0.0)
        for number in range(MAX_BYTES // (8 * LONG)):
            long = Envelope(chi="tool-call", raw_call_id=f"{number}{WIDE}"[:LONG])
            book.open(stranger(number), "w", Kind.CALL, long, 0.0)
        self.assertEqual((book.has_room(P), book.has_room(Q)), (False, True))

    def test_little_ones(self) -> None:
        """Of many who hold little each keeps its latest, and one look makes room for long."""
        book = AskBook(Counter())
        now = 0.0
        while book.size < MAX_BYTES:
            now += 1
            for number in range(500):
                asker = stranger(number)
                ask = book.open(asker, "w", Kind.CALL, Envelope(chi="tool-call", raw_call_id=f"{number}.{now}"), 0.0)
                assert ask is not None
                book.close(ask, 0.0)
        self.assertTrue(book.has_room(P))
        self.assertLess(book.size, MAX_BYTES - MAX_BYTES // 16 + 500 * 1100)
        self.assertEqual(len(book.askers), 500)
