"""What local clients send to peers, and whose the answers are: rules 0, 1 and 2."""

from __future__ import annotations

from ensemble.conversations import Side, ToClient
from ensemble.tone import REPLIES, Envelope, peek
from tests.conversations.desk import ME, DeskTestCase, P, Q, errors, line_of, to


class RouteTests(DeskTestCase):
    """Rule 1."""

    def test_a_prompt_goes_out_stamped(self) -> None:
        """A prompt for a peer leaves as the client wrote it, from us to that peer."""
        found = self.desk.said("a", "prompt", rid="r", sid="s", text="hi", to=P.full, from_="my-bee")
        self.assertEqual(found, [(P, {"chi": "prompt", "rid": "r", "sid": "s", "text": "hi"})])

    def test_bare_ids_are_ids(self) -> None:
        """A ``to`` without a prefix, or in upper case, is the same peer, and leaves in the full form."""
        for text in (P.digest.hex(), P.full[:5] + P.full[5:].upper()):
            self.assertEqual(to(self.desk.said("a", "prompt", sid="s", to=text)), [P])

    def test_a_line_that_is_right_already_is_not_touched(self) -> None:
        """What already says from us to the peer goes out as the same bytes."""
        line = line_of("prompt", from_=ME.full, to=P.full, sid="s")
        self.desk.said_line("a", line)
        self.assertIs(self.desk.lines[0].line, line)

    def test_no_id_in_to(self) -> None:
        """A ``to`` that is no id is an error to the client, for what asks and for what does not."""
        for chi in ("prompt", "chunk", "log", "quote"):
            found = self.desk.said("a", chi, rid="r", sid="s", to="a-bee")
            self.assertEqual(errors(found), [("a", "route.untargeted", {"rid": "r", "sid": "s"})], chi)

    def test_the_answers_come_back(self) -> None:
        """Every reply of that peer, by sid, reaches the client byte for byte."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        for chi in (
            "session-ready",
            "chunk",
            "pulse",
            "permission-ask",
            "tendril-reach",
            "tool-info",
            "tool-meta",
            "tool-result",
            "finish",
            "error",
        ):
            line = line_of(chi, from_=P.full, to=ME.full, sid="s", nested={"a": [1]})
            self.desk.heard_line(P, line)
            (output,) = self.desk.lines
            self.assertIsInstance(output, ToClient)
            self.assertEqual(output[:2], ("a", line))

    def test_the_middle_is_known_at_a_glance(self) -> None:
        """A piece of an answer by sid needs no closer look, be it a peer's or a bee's; the end of one does."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        self.desk.worker("w")
        self.desk.heard(P, "prompt", rid="r", sid="t")
        for chi in sorted(REPLIES):
            from_peer = line_of(chi, from_=P.full, to=ME.full, sid="s")
            from_bee = line_of(chi, sid="t")
            pieces = (
                self.desk.routes.piece(P, peek(from_peer), from_peer),
                self.desk.routes.piece("w", peek(from_bee), from_bee),
            )
            wanted: tuple[Side | None, ...] = (None, None) if chi in ("finish", "error", "tool-result") else ("a", P)
            self.assertEqual(tuple(piece and piece[0] for piece in pieces), wanted, chi)

    def test_waiting(self) -> None:
        """Liveness learns when somebody begins to wait for a peer, and when nobody does any more."""
        self.assertFalse(self.desk.routes.waiting_on(P))
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.assertEqual(self.desk.waiting, {P: True})
        self.desk.said("b", "prompt", sid="t", to=P.full)
        self.assertEqual(self.desk.waiting, {})
        self.desk.heard(P, "finish", sid="s")
        self.assertEqual(self.desk.waiting, {})
        self.assertTrue(self.desk.routes.waiting_on(P))
        self.desk.left("b")
        self.assertEqual(self.desk.waiting, {P: False})
        self.assertFalse(self.desk.routes.waiting_on(Q))

    def test_waiting_for_what_is_no_tone(self) -> None:
        """Where a part of the answer is garbled nobody waits any more, and that is known at once."""
        self.desk.said("c", "prompt", rid="r", sid="s", to=P.full)
        self.desk.take(self.desk.routes.garbled(P, Envelope(chi="chunk", sid="s"), "it ends too early"))
        self.assertEqual(self.desk.waiting, {P: False})

    def test_nobody_waits_after_a_cancel(self) -> None:
        """A tone of a known chi that no answer belongs to leaves nobody waiting."""
        for chi in ("cancel", "cleanup", "attach", "detach", "curate", "release-permit", "wane-sync", "peer-add"):
            self.assertEqual(to(self.desk.said("a", chi, rid=chi, sid="s", to=P.full)), [P], chi)
        self.assertFalse(self.desk.routes.waiting_on(P))

    def test_its_error_still_finds_the_client(self) -> None:
        """The error to a cancel reaches who said it, and does not end the prompt of the same sid."""
        self.desk.said("a", "prompt", rid="r1", sid="s", to=P.full)
        self.desk.said("b", "cancel", rid="r2", sid="s", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "error", rid="r2", sid="s")), ["b"])
        self.assertTrue(self.desk.routes.waiting_on(P))
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s")), ["a"])

    def test_a_chi_from_the_future(self) -> None:
        """An unknown chi is an ask like others: its answer comes back by rid, and any terminal reply ends it."""
        for n, chi in enumerate(("finish", "error", "tool-result")):
            self.desk.said("a", "quote", rid=str(n), to=P.full)
            self.assertTrue(self.desk.routes.waiting_on(P))
            self.assertEqual(to(self.desk.heard(P, chi, rid=str(n))), ["a"])
            self.assertFalse(self.desk.routes.waiting_on(P))

    def test_without_any_key(self) -> None:
        """A tone that no answer could name is sent, and nothing is remembered."""
        self.assertEqual(self.desk.said("a", "quote", to=P.full), [(P, {"chi": "quote"})])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_never_answered_tones_are_routed(self) -> None:
        """A log or a perf-mark with a ``to`` goes out, may be dropped under pressure, and is not remembered."""
        for chi in ("log", "perf-mark", "drone", "breath"):
            self.assertEqual(to(self.desk.said("a", chi, rid="r", to=P.full)), [P])
            self.assertTrue(self.desk.lines[0].droppable)
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_a_reply_with_a_to(self) -> None:
        """A reply that belongs to no ask known here goes where its ``to`` says, and is not remembered."""
        found = self.desk.said("a", "tool-result", callId="c", output="x", to=P.full)
        self.assertEqual(found, [(P, {"chi": "tool-result", "callId": "c", "output": "x"})])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_a_reply_to_nobody(self) -> None:
        """A local reply that nobody asked for and that names no receiver is dropped and counted."""
        self.assertEqual(self.desk.said("a", "chunk", sid="s"), [])
        self.assertEqual(self.desk.said("a", "chunk", sid="s", to=ME.full), [])
        self.assertEqual(self.desk.routes.counters["replies.unmatched"], 2)

    def test_what_belongs_to_links_stays_there(self) -> None:
        """A client cannot say goodbye, ping or hello to a peer in our name."""
        for chi in ("hello", "hello-proof", "ping", "pong", "goodbye"):
            found = self.desk.said("a", chi, rid="r", to=P.full)
            self.assertEqual(errors(found), [("a", "not.supported", {"rid": "r"})], chi)


class ReplyTests(DeskTestCase):
    """Rule 2: always with that peer, nobody else, ever."""

    def test_forged_replies(self) -> None:
        """Knowing a sid, a callId and a rid is not enough: another peer's reply reaches nobody."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        self.desk.said("a", "tool-call", rid="q", callId="c", toolName="t", to=P.full)
        for chi in ("chunk", "finish", "error", "tool-result", "session-ready", "permission-ask"):
            for keys in ({"sid": "s"}, {"rid": "r"}, {"callId": "c"}, {"sid": "s", "rid": "r", "callId": "c"}):
                self.assertEqual(self.desk.heard(Q, chi, **keys), [])
                self.assertEqual(self.desk.drops, ["replies.unmatched"])
        self.assertEqual(self.desk.routes.open_asks, 2)

    def test_unmatched_replies_are_never_answered(self) -> None:
        """A reply that nobody asked for is dropped without a word, errors above all."""
        for chi in ("chunk", "finish", "error", "tool-result"):
            self.assertEqual(self.desk.heard(P, chi, rid="r", sid="s", callId="c"), [])
        self.assertEqual(self.desk.routes.counters["replies.unmatched"], 4)

    def test_order_of_the_keys(self) -> None:
        """The callId counts first, then the sid, then the rid; of an error the rid, the callId, the sid."""
        self.desk.said("by-sid", "prompt", sid="s", to=P.full)
        self.desk.said("by-rid", "quote", rid="r", to=P.full)
        self.desk.said("by-call", "tool-call", callId="c", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s", rid="r", callId="c")), ["by-call"])
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s", rid="r", callId="x")), ["by-sid"])
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="x", rid="r")), ["by-rid"])
        self.assertEqual(to(self.desk.heard(P, "error", sid="s", rid="r", callId="c")), ["by-rid"])
        self.assertEqual(to(self.desk.heard(P, "error", sid="s", rid="x", callId="c")), ["by-call"])
        self.assertEqual(to(self.desk.heard(P, "error", sid="s", rid="x", callId="x")), ["by-sid"])
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_what_ends_what(self) -> None:
        """A finish ends the prompt and no call, a tool-result the call and no prompt."""
        self.desk.said("a", "prompt", rid="p", sid="s", to=P.full)
        self.desk.said("a", "tool-call", rid="q", callId="c", to=P.full)
        self.desk.heard(P, "finish", callId="c")
        self.desk.heard(P, "tool-result", sid="s")
        self.assertEqual(self.desk.routes.open_asks, 2)
        self.desk.heard(P, "finish", sid="s")
        self.desk.heard(P, "tool-result", callId="c")
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_an_error_by_sid_alone_is_about_the_prompt(self) -> None:
        """An error that names only the sid does not end a call that was made under it."""
        self.desk.said("a", "tool-call", sid="s", callId="c", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "error", sid="s")), ["a"])
        self.assertEqual(self.desk.routes.open_asks, 1)
        self.assertEqual(to(self.desk.heard(P, "error", sid="s", callId="c")), ["a"])
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_two_clients_race_for_a_sid(self) -> None:
        """The sid at a peer belongs to the first while it is open; then to whoever prompts next."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        found = self.desk.said("b", "prompt", rid="q", sid="s", to=P.full)
        self.assertEqual(errors(found), [("b", "sid.in-use", {"rid": "q", "sid": "s"})])
        self.assertEqual(to(self.desk.said("b", "prompt", sid="s", to=Q.full)), [Q])
        self.desk.heard(P, "finish", sid="s")
        self.assertEqual(to(self.desk.said("b", "prompt", sid="s", to=P.full)), [P])
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s")), ["b"])
        self.assertEqual(to(self.desk.heard(P, "chunk", rid="r")), ["a"])

    def test_two_clients_race_for_a_call(self) -> None:
        """A callId at a peer belongs to the first: the second is told, for its result could not be told apart."""
        self.desk.said("a", "tool-call", callId="c", to=P.full)
        found = self.desk.said("b", "tool-call", rid="q", callId="c", to=P.full)
        self.assertEqual(errors(found), [("b", "sid.in-use", {"rid": "q", "callId": "c"})])
        self.assertEqual(to(self.desk.heard(P, "tool-result", callId="c")), ["a"])
        self.assertEqual(to(self.desk.said("b", "tool-call", callId="c", to=P.full)), [P])

    def test_two_clients_race_for_a_rid(self) -> None:
        """A rid at a peer belongs to the first: a prompt still has its sid, an ask with no other key is refused."""
        self.desk.said("a", "quote", rid="1", to=P.full)
        self.desk.said("b", "prompt", rid="1", sid="s", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "chunk", rid="1")), ["a"])
        self.assertEqual(to(self.desk.heard(P, "chunk", rid="1", sid="s")), ["b"])
        found = self.desk.said("c", "quote", rid="1", to=P.full)
        self.assertEqual(errors(found), [("c", "sid.in-use", {"rid": "1"})])

    def test_mentioning_a_sid_does_not_take_it(self) -> None:
        """A cancel or a call under a sid that ended does not draw its late words to another client."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.desk.heard(P, "finish", sid="s")
        self.desk.said("b", "cleanup", rid="r", sid="s", to=P.full)
        self.desk.said("b", "tool-call", callId="c", sid="s", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s")), ["a"])

    def test_a_prompt_takes_the_sid_from_its_own_call(self) -> None:
        """A client that called a tool under a sid before it prompts gets the prompt's replies, and its loss."""
        self.desk.said("a", "tool-call", sid="s", callId="c", to=P.full)
        self.assertEqual(errors(self.desk.said("b", "prompt", sid="s", to=P.full))[0][1], "sid.in-use")
        self.assertEqual(to(self.desk.said("a", "prompt", sid="s", to=P.full)), [P])
        self.assertEqual(self.desk.routes.open_asks, 2)
        self.desk.heard(P, "finish", sid="s")
        self.assertEqual(self.desk.routes.open_asks, 1)
        self.desk.heard(P, "tool-result", callId="c", sid="s")
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_a_call_does_not_take_the_sid_from_a_prompt(self) -> None:
        """The finish of a prompt finds it, though its asker called a tool under the same sid meanwhile."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.desk.said("a", "tool-call", sid="s", callId="c", to=P.full)
        self.desk.heard(P, "finish", sid="s")
        self.assertEqual(self.desk.routes.open_asks, 1)

    def test_a_further_prompt_joins(self) -> None:
        """Prompts of one client under an open sid are one ask: one finish ends it, and so does a loss: by sid."""
        for rid in ("r1", "r2", "r2"):
            self.desk.said("a", "prompt", rid=rid, sid="s", to=P.full)
        self.assertEqual(self.desk.routes.open_asks, 1)
        self.assertEqual(to(self.desk.heard(P, "chunk", rid="r1")), ["a"])
        self.assertEqual(errors(self.desk.lost(P)), [("a", "peer.lost", {"sid": "s"})])

    def test_the_error_of_one_of_several_prompts(self) -> None:
        """When one of the prompts under a sid is refused the others go on; the error of the last one ends it."""
        for rid in ("r1", "r2", "r3"):
            self.desk.said("a", "prompt", rid=rid, sid="s", to=P.full)
        for rid in ("r3", "r1"):
            self.assertEqual(to(self.desk.heard(P, "error", rid=rid, sid="s")), ["a"])
            self.assertTrue(self.desk.routes.waiting_on(P))
        self.assertEqual(to(self.desk.heard(P, "error", rid="r2", sid="s")), ["a"])
        self.assertFalse(self.desk.routes.waiting_on(P))

    def test_an_error_by_sid_ends_all_prompts_under_it(self) -> None:
        """An error that names no rid, or one that nobody knows, is about the sid."""
        for keys in ({}, {"rid": "other"}):
            self.desk.said("a", "prompt", rid="r1", sid="s", to=P.full)
            self.desk.said("a", "prompt", sid="s", to=P.full)
            self.desk.heard(P, "error", sid="s", **keys)
            self.assertEqual(self.desk.routes.open_asks, 0)

    def test_many_prompts_under_one_sid(self) -> None:
        """However many prompts join one sid, only the latest few rids are remembered, and all are forgotten."""
        for n in range(100):
            self.desk.said("a", "prompt", rid=f"r{n}", sid="s", to=P.full)
        self.assertEqual(self.desk.heard(P, "chunk", rid="r90"), [])
        self.assertEqual(to(self.desk.heard(P, "chunk", rid="r96")), ["a"])
        self.desk.left("a")
        self.assertEqual(self.desk.heard(P, "chunk", rid="r99"), [])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_asking_the_same_again_joins(self) -> None:
        """A repeated tool-call, and a repeated unknown ask, are one ask each."""
        for _ in range(2):
            self.assertEqual(to(self.desk.said("a", "tool-call", callId="c", to=P.full)), [P])
            self.assertEqual(to(self.desk.said("a", "quote", rid="r", to=P.full)), [P])
        self.assertEqual(self.desk.routes.open_asks, 2)

    def test_a_rid_for_two_things(self) -> None:
        """A client that uses one rid for a prompt and for an ask that has nothing else is told to choose another."""
        self.desk.said("a", "prompt", rid="1", sid="s", to=P.full)
        found = self.desk.said("a", "tool-call", rid="1", to=P.full)
        self.assertEqual(errors(found), [("a", "sid.in-use", {"rid": "1"})])

    def test_replies_after_the_client_left(self) -> None:
        """Nobody inherits the answers of a client that is gone."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        self.assertEqual(self.desk.left("a"), [])
        self.assertEqual(self.desk.heard(P, "chunk", rid="r", sid="s"), [])
        self.assertEqual(self.desk.routes.known_asks, 0)
