"""Losses, failed deliveries and dusk: whoever waits is told, once."""

from __future__ import annotations

from typing import Any

from ensemble.conversations import ToPeer
from ensemble.tone import Qualifier
from tests.conversations.desk import P, Q, WorkerTestCase, errors, line_of, to


class LossTests(WorkerTestCase):
    """Rule 7."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.forager("f", "read")

    def test_a_lost_peer(self) -> None:
        """Every client that waits for the peer is told at once and why, with the keys of its ask; all is forgotten."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        self.desk.said("a", "tool-call", callId="c", sid="s", to=P.full)
        self.desk.said("b", "quote", rid="q", to=P.full)
        self.desk.said("b", "prompt", sid="other", to=Q.full)
        told = self.desk.lost(P)
        self.assertEqual({"(cut off)" in tone["message"] for _, tone in told}, {True})
        self.assertEqual(
            errors(told),
            [
                ("a", "peer.lost", {"rid": "r", "sid": "s"}),
                ("a", "peer.lost", {"sid": "s", "callId": "c"}),
                ("b", "peer.lost", {"rid": "q"}),
            ],
        )
        self.assertEqual(self.desk.waiting, {P: False})
        self.assertEqual(self.desk.lost(P), [])
        self.assertEqual(self.desk.heard(P, "chunk", sid="s"), [])
        self.assertTrue(self.desk.routes.waiting_on(Q))

    def test_what_had_ended_is_not_lost(self) -> None:
        """Nobody is told of a loss who has the answer already, or who only said cancel."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.desk.said("a", "cancel", rid="r", sid="s", to=P.full)
        self.desk.heard(P, "finish", sid="s")
        self.assertEqual(self.desk.lost(P), [])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_a_lost_worker(self) -> None:
        """Local and remote askers of a worker that is gone get worker.lost."""
        self.desk.said("a", "prompt", rid="r", sid="s")
        self.desk.heard(P, "prompt", sid="t")
        self.assertEqual(
            errors(self.desk.left("w")),
            [("a", "worker.lost", {"rid": "r", "sid": "s"}), (P, "worker.lost", {"sid": "t"})],
        )
        self.assertEqual(self.desk.routes.known_asks, 0)
        self.assertEqual(errors(self.desk.said("a", "prompt", sid="u"))[0][1], "prompt.no-worker")

    def test_a_lost_forager(self) -> None:
        """Callers of a forager that is gone get bee.lost."""
        self.desk.said("a", "tool-call", callId="c", toolName="read")
        self.desk.heard(P, "tool-call", callId="d", rid="r", toolName="read")
        self.assertEqual(
            errors(self.desk.left("f")),
            [("a", "bee.lost", {"callId": "c"}), (P, "bee.lost", {"rid": "r", "callId": "d"})],
        )
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_a_lost_caller(self) -> None:
        """The result for a caller that is gone, be it client or peer, is dropped."""
        self.desk.said("a", "tool-call", callId="c", toolName="read")
        self.desk.heard(P, "tool-call", callId="d", toolName="read")
        self.assertEqual(self.desk.left("a") + self.desk.lost(P), [])
        self.assertEqual(self.desk.said("f", "tool-result", callId="c"), [])
        self.assertEqual(self.desk.said("f", "tool-result", callId="d"), [])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_a_lost_asker_owes_the_worker_a_result(self) -> None:
        """A worker that waits for a tool of its asker is told when that asker is gone, local or not."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.said("w", "tool-call", sid="s", callId="c")
        self.desk.heard(P, "prompt", sid="t")
        self.desk.said("w", "tool-call", sid="t", callId="d")
        self.assertEqual(errors(self.desk.left("a")), [("w", "bee.lost", {"sid": "s", "callId": "c"})])
        self.assertEqual(errors(self.desk.lost(P)), [("w", "peer.lost", {"sid": "t", "callId": "d"})])

    def test_a_worker_that_calls(self) -> None:
        """A worker that dies while its own call is out: its asker is told, the forager's result is dropped."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.said("w", "tool-call", sid="s", callId="c", toolName="read")
        self.assertEqual(errors(self.desk.left("w")), [("a", "worker.lost", {"sid": "s"})])
        self.assertEqual(self.desk.said("f", "tool-result", callId="c", sid="s"), [])

    def test_losses_of_strangers(self) -> None:
        """A client or peer that never said anything is lost without a word."""
        self.assertEqual(self.desk.left("x") + self.desk.lost(Q), [])

    def test_a_restarted_peer(self) -> None:
        """After a loss the same peer may ask again under its old sid, and gets only what is said from then on."""
        self.desk.heard(P, "prompt", sid="s", rid="r1")
        self.desk.lost(P)
        self.desk.heard(P, "prompt", sid="s", rid="r2")
        self.assertEqual(errors(self.desk.left("w")), [(P, "worker.lost", {"rid": "r2", "sid": "s"})])


class UndeliverableAskTests(WorkerTestCase):
    """A tone that asks, and could not be handed over."""

    def test_to_a_peer(self) -> None:
        """The client that asked is told why, with all that its tone had, and nothing stays behind."""
        for chi in ("prompt", "tool-call", "quote", "cancel", "tool-result", "log"):
            self.desk.said("a", chi, rid="r", sid="s", callId="c", to=P.full)
            found = self.desk.fail(Qualifier.ROUTE_UNKNOWN_PEER)
            self.assertEqual(errors(found), [("a", "route.unknown-peer", {"rid": "r", "sid": "s", "callId": "c"})], chi)
            self.assertEqual(self.desk.routes.known_asks, 0)
            self.assertFalse(self.desk.routes.waiting_on(P))
            self.assertEqual(self.desk.routes.counters["tones.dropped"], chi == "log")

    def test_to_a_worker(self) -> None:
        """A worker that takes no more fails the prompt, to a local and to a remote asker; the sid is free."""
        self.desk.said("a", "prompt", rid="r", sid="s")
        self.assertEqual(errors(self.desk.fail()), [("a", "queue.full", {"rid": "r", "sid": "s"})])
        self.desk.heard(P, "prompt", rid="r", sid="s")
        self.assertEqual(errors(self.desk.fail()), [(P, "queue.full", {"rid": "r", "sid": "s"})])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_only_one_is_told_once(self) -> None:
        """A failure that is reported after the loss was told says nothing more."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        (output,) = self.desk.lines
        self.assertEqual(errors(self.desk.lost(P)), [("a", "peer.lost", {"sid": "s"})])
        self.assertEqual(self.desk.fail(output=output), [])

    def test_a_further_prompt(self) -> None:
        """Where a prompt that joined an open sid fails, that one is told and the first goes on."""
        self.desk.said("a", "prompt", rid="r1", sid="s", to=P.full)
        self.desk.said("a", "prompt", rid="r2", sid="s", to=P.full)
        self.assertEqual(errors(self.desk.fail()), [("a", "queue.full", {"rid": "r2", "sid": "s"})])
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s")), ["a"])
        self.assertEqual(errors(self.desk.lost(P)), [("a", "peer.lost", {"rid": "r1", "sid": "s"})])

    def test_a_further_prompt_after_the_end(self) -> None:
        """The failure of a joined prompt is told even where the first has ended meanwhile, but not after a loss."""
        self.desk.said("a", "prompt", rid="r1", sid="s", to=P.full)
        self.desk.said("a", "prompt", rid="r2", sid="s", to=P.full)
        (output,) = self.desk.lines
        self.desk.heard(P, "finish", sid="s")
        self.assertEqual(errors(self.desk.fail(output=output)), [("a", "queue.full", {"rid": "r2", "sid": "s"})])
        self.desk.lost(P)
        self.assertEqual(self.desk.fail(output=output), [])

    def test_a_further_prompt_that_was_refused(self) -> None:
        """A joined prompt that the peer refused, and that then fails here as well, leaves the first alone."""
        self.desk.said("a", "prompt", rid="r1", sid="s", to=P.full)
        self.desk.said("a", "prompt", rid="r2", sid="s", to=P.full)
        (output,) = self.desk.lines
        self.desk.heard(P, "error", rid="r2", sid="s")
        self.desk.fail(output=output)
        self.assertEqual(errors(self.desk.lost(P)), [("a", "peer.lost", {"rid": "r1", "sid": "s"})])

    def test_an_heirs_prompt(self) -> None:
        """An heir whose prompt does not reach the worker is told once, and the sid waits for its next one."""
        self.desk.said("a", "prompt", rid="r1", sid="s")
        self.desk.left("a")
        self.desk.said("b", "prompt", rid="r2", sid="s")
        self.assertEqual(errors(self.desk.fail()), [("b", "queue.full", {"rid": "r2", "sid": "s"})])
        self.assertEqual(self.desk.said("w", "chunk", sid="s"), [])
        self.assertEqual(to(self.desk.said("b", "prompt", rid="r3", sid="s")), ["w"])
        self.assertEqual(errors(self.desk.left("w")), [("b", "worker.lost", {"rid": "r3", "sid": "s"})])

    def test_one_of_several_bees(self) -> None:
        """Where a tone went to several bees, the peer is told when the last of them failed."""
        self.desk.bee("m", chis=["quote"])
        self.desk.bee("n", chis=["quote"])
        self.desk.heard(P, "quote", rid="r")
        first, second = self.desk.lines
        self.assertEqual(self.desk.fail(output=first), [])
        self.assertEqual(errors(self.desk.fail(output=second)), [(P, "queue.full", {"rid": "r"})])

    def test_by_line_only(self) -> None:
        """A line that was held for a link that never came fails the ask that it was, and only that."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        (output,) = self.desk.lines
        assert isinstance(output, ToPeer)
        give_up = self.desk.routes.undelivered
        found = give_up(P, output.line, Qualifier.ROUTE_UNKNOWN_PEER, "no link to it came up")
        self.assertEqual(errors(self.desk.take(found)), [("a", "route.unknown-peer", {"rid": "r", "sid": "s"})])
        for line in (output.line, line_of("chunk", sid="s"), line_of("log"), line_of("error", sid="s")):
            self.desk.take(give_up(P, line, Qualifier.ROUTE_UNKNOWN_PEER, "no link to it came up"))
            self.assertEqual(self.desk.lines, [])
        self.assertEqual(self.desk.routes.known_asks, 0)


class UndeliverableReplyTests(WorkerTestCase):
    """A reply that could not be handed over: an answer with a hole in it is worse than none."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.heard(P, "prompt", rid="r", sid="s")

    def test_a_chunk(self) -> None:
        """The asker is told with the keys of its prompt, the worker with those of its chunk."""
        self.desk.said("w", "chunk", sid="s")
        self.assertEqual(
            errors(self.desk.fail()), [(P, "queue.full", {"rid": "r", "sid": "s"}), ("w", "queue.full", {"sid": "s"})]
        )

    def test_the_rest_is_dropped(self) -> None:
        """After that the asker hears nothing more, until it asks again under the sid that is still at work."""
        self.desk.said("w", "chunk", sid="s", n=1)
        (first,) = self.desk.lines
        self.desk.said("w", "chunk", sid="s", n=2)
        (second,) = self.desk.lines
        self.desk.fail(output=first)
        self.assertEqual(self.desk.fail(output=second), [])
        self.assertEqual(self.desk.said("w", "chunk", sid="s"), [])
        self.assertEqual(errors(self.desk.heard(Q, "prompt", sid="s")), [(Q, "sid.in-use", {"sid": "s"})])
        self.assertEqual(to(self.desk.heard(P, "prompt", sid="s")), ["w"])
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s")), [P])

    def test_the_finish(self) -> None:
        """A finish that is lost becomes an error: the asker does not wait for ever."""
        self.desk.said("w", "finish", sid="s")
        self.assertEqual(
            errors(self.desk.fail(Qualifier.TONE_TOO_LARGE)),
            [(P, "tone.too-large", {"rid": "r", "sid": "s"}), ("w", "tone.too-large", {"sid": "s"})],
        )

    def test_a_result(self) -> None:
        """A tool result that is too large for the peer is told to the caller and to the bee."""
        self.desk.forager("f", "read")
        self.desk.heard(P, "tool-call", callId="c", toolName="read")
        self.desk.said("f", "tool-result", callId="c")
        self.assertEqual(
            errors(self.desk.fail(Qualifier.TONE_TOO_LARGE)),
            [(P, "tone.too-large", {"callId": "c"}), ("f", "tone.too-large", {"callId": "c"})],
        )

    def test_what_comes_late(self) -> None:
        """What is lost after the end is counted, and nobody is told: the answer was whole."""
        self.desk.said("w", "finish", sid="s")
        self.desk.said("w", "chunk", sid="s")
        self.assertEqual(self.desk.fail(), [])
        self.assertEqual(self.desk.routes.counters["replies.broken"], 1)

    def test_a_pulse(self) -> None:
        """What may be dropped is only counted."""
        self.desk.said("w", "pulse", sid="s")
        self.assertEqual(self.desk.fail(), [])
        self.assertEqual(self.desk.drops, ["tones.dropped"])
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s")), [P])

    def test_a_log_for_a_bee(self) -> None:
        """The same for a never-answered tone of a peer that a bee has no room for."""
        self.desk.bee("l", chis=["log"])
        self.desk.heard(P, "log")
        self.assertEqual(self.desk.fail(), [])
        self.assertEqual(self.desk.drops, ["tones.dropped"])

    def test_the_asker_went_meanwhile(self) -> None:
        """Nobody is told of a lost finish whose asker is gone."""
        self.desk.said("w", "finish", sid="s")
        (output,) = self.desk.lines
        self.desk.lost(P)
        self.assertEqual(self.desk.fail(output=output), [])

    def test_from_a_peer_to_a_client(self) -> None:
        """A client that cannot take a peer's chunk is told as far as that goes; the peer's work is cancelled."""
        self.desk.said("a", "prompt", rid="q", sid="t", to=P.full)
        self.desk.heard(P, "chunk", sid="t")
        told, cancel = self.desk.fail()
        self.assertEqual(errors([told]), [("a", "queue.full", {"rid": "q", "sid": "t"})])
        self.assertEqual(cancel, (P, {"chi": "cancel", "sid": "t"}))
        self.assertEqual(self.desk.heard(P, "chunk", sid="t"), [])
        self.assertFalse(self.desk.routes.waiting_on(P))

    def test_a_worker_that_asked_itself(self) -> None:
        """Who is asker and worker in one is told once."""
        self.desk.said("w", "prompt", rid="q", sid="t")
        self.desk.said("w", "chunk", sid="t")
        self.assertEqual(errors(self.desk.fail()), [("w", "queue.full", {"rid": "q", "sid": "t"})])

    def test_errors_that_a_peer_has_no_room_for(self) -> None:
        """They are kept until its queue drains; with the peer they go."""
        self.desk.said("w", "chunk", sid="s")
        told = self.desk.fail()
        error = self.desk.lines[0]
        self.assertEqual(self.desk.fail(output=error), [])
        again = self.desk.take(self.desk.routes.peer_has_room(P))
        self.assertEqual(again, told[:1])
        self.assertEqual(self.desk.fail(output=error), [])
        self.desk.lost(P)
        self.assertEqual(self.desk.routes.peer_has_room(P), [])

    def test_errors_that_nobody_can_take(self) -> None:
        """An error for a client or a peer that is gone is counted."""
        self.desk.said("w", "chunk", sid="s")
        self.desk.fail()
        for output in self.desk.lines:
            self.assertEqual(self.desk.fail(Qualifier.ROUTE_UNKNOWN_PEER, output), [])
        self.assertEqual(self.desk.routes.counters["errors.lost"], 2)


class DuskTests(WorkerTestCase):
    """A tone past its dusk goes no further, and whoever waits is told."""

    def past(self) -> dict[str, Any]:
        return {"dusk": self.desk.wall - 1}

    def test_asks(self) -> None:
        """An ask that is late fails to its asker: here, towards a peer, and from one."""
        self.assertEqual(
            errors(self.desk.said("a", "prompt", rid="r", sid="s", **self.past())),
            [("a", "tone.expired", {"rid": "r", "sid": "s"})],
        )
        self.assertEqual(
            errors(self.desk.said("a", "prompt", sid="s", to=P.full, **self.past())),
            [("a", "tone.expired", {"sid": "s"})],
        )
        self.assertEqual(
            errors(self.desk.heard(P, "prompt", sid="s", **self.past())), [(P, "tone.expired", {"sid": "s"})]
        )
        self.assertEqual(self.desk.routes.known_asks, 0)
        self.assertEqual(self.desk.routes.counters["tones.expired"], 3)

    def test_not_yet(self) -> None:
        """At its dusk a tone still lives, and one that is negative never comes."""
        self.assertEqual(to(self.desk.said("a", "prompt", sid="s", dusk=self.desk.wall)), ["w"])
        self.assertEqual(to(self.desk.heard(P, "prompt", sid="t", dusk=-1)), ["w"])

    def test_a_workers_reply(self) -> None:
        """A late chunk or finish ends the answer with an error to the asker; the worker goes on."""
        for chi in ("chunk", "finish"):
            self.desk.heard(P, "prompt", rid=chi, sid="s")
            found = self.desk.said("w", chi, sid="s", **self.past())
            self.assertEqual(errors(found), [(P, "tone.expired", {"rid": chi, "sid": "s"})])
            self.assertEqual(self.desk.said("w", "chunk", sid="s"), [])
        self.assertEqual(self.desk.routes.known_asks, 0)  # it has said its last word: nobody waits for another

    def test_a_workers_result(self) -> None:
        """The result of a call is not a worker's last word on a prompt, though it find that by its sid alone."""
        self.desk.said("a", "prompt", sid="s")
        found = self.desk.said("w", "tool-result", sid="s", **self.past())
        self.assertEqual(errors(found), [("a", "tone.expired", {"sid": "s"})])
        self.assertEqual(self.desk.routes.open_asks, 1)
        self.desk.said("w", "finish", sid="s")
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_a_peers_reply(self) -> None:
        """The same for a reply of a peer; one that nobody asked for is dropped as ever."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        found = self.desk.heard(P, "chunk", sid="s", **self.past())
        self.assertEqual(errors(found), [("a", "tone.expired", {"sid": "s"})])
        self.assertEqual(self.desk.waiting, {P: False})
        self.assertEqual(self.desk.heard(P, "chunk", sid="s", **self.past()), [])
        self.assertEqual(self.desk.drops, ["replies.unmatched"])

    def test_a_pulse(self) -> None:
        """A late pulse is dropped without a word."""
        self.desk.said("a", "prompt", sid="s")
        self.assertEqual(self.desk.said("w", "pulse", sid="s", **self.past()), [])
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s")), ["a"])

    def test_never_answered(self) -> None:
        """What is never answered is not answered when it is late, but a failed route is told to its client."""
        self.assertEqual(self.desk.said("a", "log", rid="r", **self.past()), [])
        self.assertEqual(self.desk.said("a", "chunk", rid="r", **self.past()), [])
        self.assertEqual(self.desk.heard(P, "log", rid="r", **self.past()), [])
        for chi in ("log", "chunk"):
            found = self.desk.said("a", chi, rid="r", to=P.full, **self.past())
            self.assertEqual(errors(found), [("a", "tone.expired", {"rid": "r"})])
