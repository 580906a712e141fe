"""Nobody makes the core remember without bound, and what ended is forgotten in time."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from ensemble.conversations import COUNTERS, MAX_ASKS, MAX_ORPHANS, REMEMBERED, owed
from ensemble.conversations.ask import Ask, Kind
from ensemble.conversations.asks import MAX_KEYS, AskBook
from ensemble.identity import HumdId
from ensemble.tone import Envelope
from tests.conversations.desk import P, Q, WorkerTestCase, errors, to
from tests.conversations.test_crowds import stranger

LONG = 4096  # characters: the longest key that a tone may have


class CeilingTests(WorkerTestCase):
    """4,096 asks for each asker, open and remembered."""

    def test_a_client_at_a_peer(self) -> None:
        """With so many open a client gets queue.full; others go on, and one answer makes room for one."""
        for n in range(MAX_ASKS):
            self.desk.said("a", "prompt", sid=str(n), to=P.full)
        self.assertEqual(errors(self.desk.said("a", "prompt", sid="x", to=P.full)), [("a", "queue.full", {"sid": "x"})])
        self.assertEqual(errors(self.desk.said("a", "quote", rid="x", to=Q.full)), [("a", "queue.full", {"rid": "x"})])
        self.assertEqual(to(self.desk.said("b", "prompt", sid="y", to=P.full)), [P])
        self.desk.heard(P, "finish", sid="7")
        self.assertEqual(to(self.desk.said("a", "prompt", sid="x", to=P.full)), [P])
        self.assertEqual(self.desk.heard(P, "chunk", sid="7"), [])

    def test_a_peer_here(self) -> None:
        """A peer cannot open more than so many sids and calls here."""
        self.desk.forager("f", "read")
        for n in range(MAX_ASKS // 2):
            self.desk.heard(P, "prompt", sid=str(n))
            self.desk.heard(P, "tool-call", callId=str(n), toolName="read")
        self.assertEqual(errors(self.desk.heard(P, "prompt", sid="x")), [(P, "queue.full", {"sid": "x"})])
        found = self.desk.heard(P, "tool-call", callId="x", toolName="read")
        self.assertEqual(errors(found), [(P, "queue.full", {"callId": "x"})])
        self.assertEqual(to(self.desk.heard(Q, "prompt", sid="x")), ["w"])

    def test_a_bee_that_lists_the_chi(self) -> None:
        """Nor with chis of its own invention, though these are only remembered: the oldest goes."""
        self.desk.bee("m", chis=["quote"])
        for n in range(MAX_ASKS + 10):
            self.desk.heard(P, "quote", rid=str(n))
        self.assertEqual(self.desk.routes.known_asks, MAX_ASKS)
        self.assertEqual(self.desk.said("m", "finish", rid="9"), [])
        self.assertEqual(to(self.desk.said("m", "finish", rid="10")), [P])
        self.assertEqual(self.desk.routes.counters["asks.evicted"], 10)

    def test_what_ended_last_stays_longest(self) -> None:
        """Room is made by what ended first, not by what was asked first."""
        self.desk.bee("m", chis=["quote"])
        for n in range(MAX_ASKS):
            self.desk.heard(P, "quote", rid=str(n))
        self.desk.said("m", "finish", rid="0")
        self.desk.heard(P, "quote", rid="new")
        self.assertEqual(self.desk.said("m", "chunk", rid="1"), [])
        self.assertEqual(to(self.desk.said("m", "chunk", rid="0")), [P])

    def test_cancel_works_when_full(self) -> None:
        """Whoever has too much open can still cancel."""
        for n in range(MAX_ASKS):
            self.desk.said("a", "prompt", sid=str(n), to=P.full)
        self.assertEqual(to(self.desk.said("a", "cancel", rid="c", sid="7")), [P])
        self.assertEqual(self.desk.routes.known_asks, MAX_ASKS)
        self.assertEqual(errors(self.desk.fail()), [("a", "queue.full", {"rid": "c", "sid": "7"})])
        self.assertEqual(self.desk.routes.known_asks, MAX_ASKS)

    def test_joining_takes_no_room(self) -> None:
        """A further prompt under an open sid is accepted by a full book; taking an orphan over is not."""
        self.desk.said("z", "prompt", sid="orphan")
        self.desk.left("z")
        for n in range(MAX_ASKS):
            self.desk.said("a", "prompt", sid=str(n))
        self.assertEqual(to(self.desk.said("a", "prompt", sid="7")), ["w"])
        self.assertEqual(errors(self.desk.said("a", "prompt", sid="orphan"))[0][1], "queue.full")
        self.assertEqual(to(self.desk.said("b", "prompt", sid="orphan")), ["w"])

    def test_orphans(self) -> None:
        """A client that comes and goes leaves no more than so many orphans: the oldest is forgotten."""
        for n in range(MAX_ORPHANS + 1):
            self.desk.said(f"client-{n}", "prompt", sid=str(n))
            self.desk.left(f"client-{n}")
        self.assertEqual(self.desk.routes.known_asks, MAX_ORPHANS)
        self.assertEqual(self.desk.routes.counters["orphans.evicted"], 1)
        self.assertEqual(to(self.desk.heard(P, "prompt", sid="0")), ["w"])
        self.assertEqual(errors(self.desk.heard(P, "prompt", sid="1"))[0][1], "sid.in-use")

    def test_errors_owed_to_a_peer(self) -> None:
        """Errors that a peer has no room for are kept up to a bound, and counted beyond it."""
        self.desk.heard(P, "prompt", rid="r", modelId="x", sid="s")
        (output,) = self.desk.lines
        for _ in range(owed.MAX_OWED + 1):
            self.desk.fail(output=output)
        self.assertEqual(self.desk.drops, ["errors.lost"])
        self.assertEqual(len(self.desk.routes.peer_has_room(P)), owed.MAX_OWED)

    def test_long_errors_owed_to_a_peer(self) -> None:
        """They quote what was asked, so their bytes have a bound, too; once they left there is room for as many."""
        self.desk.heard(P, "prompt", rid="r" * 4000, modelId="x", sid="s" * 4000)
        (output,) = self.desk.lines
        fit = owed.MAX_OWED_BYTES // (len(output.line) + owed.OVERHEAD)
        self.assertLess(fit, owed.MAX_OWED)
        for _ in range(2):
            for _ in range(fit):
                self.desk.fail(output=output)
            self.assertEqual(self.desk.drops, [])
            self.desk.fail(output=output)
            self.assertEqual(self.desk.drops, ["errors.lost"])
            self.assertEqual(len(self.desk.routes.peer_has_room(P)), fit)

    def test_errors_owed_to_many_peers(self) -> None:
        """All of them together have a bound; a peer that is owed little is served beyond it, and losses give room."""
        self.patch(owed, "MAX_ALL_BYTES", 256 * 1024)
        crowd = [stranger(number) for number in range(6)]
        outputs = {}
        for peer in crowd:
            self.desk.heard(peer, "prompt", rid="r" * 4000, modelId="x", sid="s" * 4000)
            (outputs[peer],) = self.desk.lines
        each = len(outputs[crowd[0]].line) + owed.OVERHEAD
        kept = Counter[HumdId]()
        for peer in crowd:
            for _ in range(12):
                self.desk.fail(output=outputs[peer])
                kept[peer] += not self.desk.drops
        few = owed.SHARE // each
        self.assertEqual([kept[peer] for peer in crowd], [12, 12, few, few, few, few])
        self.desk.routes.peer_lost(crowd[0], "cut off")
        self.desk.fail(output=outputs[crowd[5]])
        self.assertEqual(self.desk.drops, ["errors.lost"])
        for peer in crowd[1:4]:
            self.assertEqual(len(self.desk.routes.peer_has_room(peer)), kept[peer])
        self.desk.fail(output=outputs[crowd[5]])
        self.assertEqual(len(self.desk.routes.peer_has_room(crowd[5])), few + 1)

    def test_long_keys(self) -> None:
        """The keys of all asks of a client have a bound together, far below that of as many asks with long ones."""
        fit = MAX_KEYS // LONG
        for n in range(fit):
            self.assertEqual(to(self.desk.said("a", "prompt", sid=f"{n:0{LONG}}", to=P.full)), [P])
        self.assertEqual(errors(self.desk.said("a", "prompt", sid="x", to=P.full)), [("a", "queue.full", {"sid": "x"})])
        self.desk.heard(P, "finish", sid="7".zfill(LONG))
        self.assertEqual(to(self.desk.said("a", "prompt", sid="x", to=P.full)), [P])
        self.assertEqual(self.desk.routes.known_asks, fit)

    def test_long_keys_of_orphans(self) -> None:
        """So have those of all orphans; one that has finished counts no longer."""
        for n in range(MAX_KEYS // LONG + 10):
            self.desk.said("a", "prompt", sid=f"{n:0{LONG}}")
            self.desk.left("a")
            if n < 10:
                self.desk.said("w", "finish", sid=f"{n:0{LONG}}")
        self.assertEqual(self.desk.routes.counters["orphans.evicted"], 0)
        self.desk.said("a", "prompt", sid="x")
        self.desk.left("a")
        self.assertEqual(self.desk.routes.counters["orphans.evicted"], 1)


class ForgettingTests(WorkerTestCase):
    """What has ended is remembered for fifteen minutes."""

    def test_what_ended(self) -> None:
        """Fifteen minutes after its end an ask is forgotten; it takes the next ask, not a timer."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.desk.heard(P, "finish", sid="s")
        self.desk.now += REMEMBERED - 1
        self.desk.said("b", "prompt", sid="x", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s")), ["a"])
        self.desk.now += 1
        self.desk.said("b", "prompt", sid="y", to=P.full)
        self.assertEqual(self.desk.heard(P, "chunk", sid="s"), [])
        self.assertEqual(self.desk.routes.counters["asks.expired"], 1)

    def test_what_is_open(self) -> None:
        """Open prompts and calls do not expire, however long they take."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.desk.said("a", "tool-call", callId="c", to=P.full)
        self.desk.heard(P, "prompt", sid="t")
        self.desk.now += 1000 * REMEMBERED
        self.desk.said("b", "prompt", sid="x", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "tool-result", callId="c")), ["a"])
        self.assertEqual(to(self.desk.heard(P, "finish", sid="s")), ["a"])
        self.assertEqual(to(self.desk.said("w", "finish", sid="t")), [P])

    def test_unknown_asks(self) -> None:
        """An ask of an unknown chi is given up after the same time: nobody may ever answer it."""
        self.desk.said("a", "quote", rid="r", to=P.full)
        self.assertTrue(self.desk.routes.waiting_on(P))
        self.desk.now += REMEMBERED
        self.desk.said("b", "cancel", rid="c", to=Q.full)
        self.assertEqual(self.desk.waiting, {P: False})
        self.assertEqual(self.desk.heard(P, "finish", rid="r"), [])

    def test_an_answer_renews(self) -> None:
        """An ask that ended later is remembered longer than one that was made later."""
        self.desk.said("a", "quote", rid="r", to=P.full)
        self.desk.said("a", "cancel", rid="c", to=P.full)
        self.desk.now += 1
        self.desk.heard(P, "finish", rid="r")
        self.desk.now += REMEMBERED - 1
        self.desk.said("a", "cancel", rid="d", to=P.full)
        self.assertEqual(self.desk.heard(P, "error", rid="c"), [])
        self.assertEqual(to(self.desk.heard(P, "finish", rid="r")), ["a"])

    def test_forgetting_one_turn_leaves_the_next(self) -> None:
        """When the turn before is forgotten, the one in progress keeps its sid and its asker."""
        self.desk.worker("idle")
        self.desk.said("a", "prompt", sid="s")
        self.desk.said("w", "finish", sid="s")
        self.desk.said("a", "prompt", sid="s")
        self.desk.now += REMEMBERED
        self.desk.heard(P, "prompt", sid="x")
        self.desk.said("idle", "finish", sid="x")
        self.assertEqual(self.desk.routes.counters["asks.expired"], 1)
        self.assertEqual(errors(self.desk.heard(P, "prompt", sid="s")), [(P, "sid.in-use", {"sid": "s"})])
        self.assertEqual(to(self.desk.said("a", "cancel", sid="s")), ["w"])
        self.assertEqual(to(self.desk.said("w", "finish", sid="s")), ["a"])

    def test_counters_are_documented(self) -> None:
        """The core counts under documented names only, all there from the start."""
        self.assertEqual(set(self.desk.routes.counters), set(COUNTERS))


class BookTests(SynchronousTestCase):
    """The tables by themselves, where delivery does not reach."""

    def setUp(self) -> None:
        self.book = AskBook(Counter())

    def ask(self, kind: Kind, rid: str | None = "r", sid: str | None = "s") -> Ask:
        found = self.book.open("a", P, kind, Envelope(chi="x", rid=rid, sid=sid), 0.0)
        assert found is not None
        return found

    def test_a_tone_without_keys(self) -> None:
        """What no answer could name leaves nothing behind."""
        self.assertIsNone(self.book.open("a", P, Kind.PASSING, Envelope(chi="x"), 0.0))
        self.assertEqual((self.book.servers, self.book.askers), ({}, {}))

    def test_rids_of_joining_tones(self) -> None:
        """The rid of a further prompt counts against the bound of its asker as that of the first."""
        self.assertTrue(self.book.has_room("a"))
        self.book.join(self.ask(Kind.PROMPT), "r" * MAX_KEYS)
        self.assertFalse(self.book.has_room("a"))

    def test_forgetting_twice(self) -> None:
        """What is forgotten, or let go, once more changes nothing."""
        ask = self.ask(Kind.PROMPT)
        self.book.forget(ask)
        self.book.forget(ask)
        self.book.let_go(ask)
        self.assertEqual((self.book.servers, self.book.askers), ({}, {}))

    def test_letting_an_orphan_go(self) -> None:
        """An orphan has no asker to let it go: it stays."""
        ask = self.book.open("a", "w", Kind.PROMPT, Envelope(chi="x", rid="r", sid="s"), 0.0)
        assert ask is not None
        self.book.let_go(ask)
        self.book.let_go(ask)
        self.assertEqual(list(self.book.orphans), [ask])

    def test_parting_with_a_stranger(self) -> None:
        """A rid that no prompt of the ask had takes none away."""
        ask = self.ask(Kind.PROMPT, "r1")
        self.book.join(ask, "r2")
        self.assertFalse(self.book.part(ask, "r3"))
        self.assertTrue(self.book.part(ask, "r1"))
        self.assertEqual((ask.rid, ask.earlier), ("r2", ()))
