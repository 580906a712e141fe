"""A prompt that this humd answers itself: rules 3 and 6."""

from __future__ import annotations

from ensemble.conversations import ToClient, ToPeer
from tests.conversations.desk import ME, DeskTestCase, P, Q, WorkerTestCase, errors, line_of, to


class LocalPromptTests(DeskTestCase):
    """Asker and worker are both local."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.worker("w", "sonnet", "opus")

    def test_a_prompt_reaches_the_worker_and_its_replies_the_asker(self) -> None:
        """The worker gets the prompt, and every reply it makes goes to the asker alone, byte for byte."""
        found = self.desk.said("a", "prompt", rid="r", sid="s", text="hi")
        self.assertEqual(to(found), ["w"])
        for chi in ("session-ready", "chunk", "pulse", "permission-ask", "tendril-reach", "tool-info", "tool-meta"):
            line = b' { "chi" : "%s", "sid":"s", "x": [ 1,2 ] }' % chi.encode()
            self.desk.said_line("w", line)
            (output,) = self.desk.outputs
            self.assertEqual(output[:2], ("a", line))
        line = line_of("finish", sid="s", finishReason="end_turn")
        self.desk.said_line("w", line)
        (output,) = self.desk.outputs
        self.assertEqual(output[:2], ("a", line))

    def test_only_what_may_be_dropped_is_droppable(self) -> None:
        """A pulse may be dropped under pressure; a chunk, a finish and an error may not."""
        self.desk.said("a", "prompt", sid="s")
        droppable = {}
        for chi in ("pulse", "chunk", "error"):
            self.desk.said("w", chi, sid="s")
            droppable[chi] = self.desk.lines[0].droppable
        self.assertEqual(droppable, {"pulse": True, "chunk": False, "error": False})

    def test_the_workers_prompt(self) -> None:
        """The worker's copy has the working directory and the content; all else is as the asker wrote it."""
        ((_, tone),) = self.desk.said(
            "a", "prompt", rid="r", sid="s", text="hi", modelId="opus", tools=[{"name": "mine"}], hive="x", from_="me"
        )
        self.assertEqual(
            tone,
            {
                "chi": "prompt",
                "rid": "r",
                "sid": "s",
                "text": "hi",
                "modelId": "opus",
                "tools": [{"name": "mine"}],
                "hive": "x",
                "from": "me",
                "cwd": "/home/me",
                "content": "hi",
            },
        )

    def test_what_the_asker_says_counts(self) -> None:
        """A working directory and a content that are there, even null, are not replaced."""
        ((_, tone),) = self.desk.said("a", "prompt", sid="s", text="hi", content=None, cwd="/src")
        self.assertEqual((tone["cwd"], tone["content"]), ("/src", None))

    def test_the_foragers_travel_with_the_prompt(self) -> None:
        """The worker learns which tools the local foragers have, and which of its own it should not use."""
        self.desk.forager("f", "humfs_read", "humfs_write", provides=["fs"])
        ((_, tone),) = self.desk.said("a", "prompt", sid="s", disallowedTools=["WebFetch", "Bash", 7])
        self.assertEqual([tool["name"] for tool in tone["foragerTools"]], ["humfs_read", "humfs_write"])
        self.assertEqual(tone["foragerTools"][0]["inputSchema"], {"type": "object", "properties": {}})
        self.assertEqual(tone["provided"], ["fs"])
        self.assertEqual(
            tone["disallowedTools"], ["Bash", "Edit", "Glob", "Grep", "MultiEdit", "Read", "WebFetch", "Write"]
        )

    def test_no_forager_adds_nothing(self) -> None:
        """Without foragers the prompt names none, and what the asker forbade stays as it was."""
        ((_, tone),) = self.desk.said("a", "prompt", sid="s", disallowedTools=["b", "a"])
        self.assertNotIn("foragerTools", tone)
        self.assertNotIn("provided", tone)
        self.assertEqual(tone["disallowedTools"], ["b", "a"])

    def test_to_ourselves_in_any_form(self) -> None:
        """A ``to`` that is our own id counts as absent, full, upper case, bare or short; so does an empty one."""
        forms = [ME.full, ME.full[:5] + ME.full[5:].upper(), ME.digest.hex(), ME.short, ""]
        for n, text in enumerate(forms):
            found = self.desk.said("a", "prompt", sid=f"s{n}", to=text)
            self.assertEqual(to(found), ["w"], text)

    def test_the_default_model(self) -> None:
        """A prompt that names no model, or null, wants the default one."""
        self.assertEqual(to(self.desk.said("a", "prompt", sid="s", modelId=None)), ["w"])

    def test_no_worker(self) -> None:
        """A model that nobody serves is an error to the asker, with all that the prompt had."""
        found = self.desk.said("a", "prompt", rid="r", sid="s", callId="c", modelId="none")
        self.assertEqual(errors(found), [("a", "prompt.no-worker", {"rid": "r", "sid": "s", "callId": "c"})])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_no_sid(self) -> None:
        """A prompt without a sid, or with an empty one, is refused: no reply could find its asker."""
        self.assertEqual(errors(self.desk.said("a", "prompt", rid="r")), [("a", "tone.malformed", {"rid": "r"})])
        self.assertEqual(errors(self.desk.said("a", "prompt", sid="")), [("a", "tone.malformed", {})])
        self.assertEqual(errors(self.desk.said("a", "prompt", to=P.full)), [("a", "tone.malformed", {})])

    def test_a_model_of_the_wrong_type(self) -> None:
        """A modelId that is no string is refused, and long nonsense is not repeated whole."""
        found = self.desk.said("a", "prompt", sid="s", modelId={"x": 1})
        self.assertEqual(errors(found), [("a", "tone.malformed", {"sid": "s"})])
        ((_, tone),) = self.desk.said("a", "prompt", sid="s", modelId="m" * 100000)
        self.assertLess(len(tone["message"]), 300)

    def test_replies_of_anybody_else_do_not_reach_the_asker(self) -> None:
        """Only the worker that serves a sid speaks under it: another bee's reply is dropped."""
        self.desk.worker("v", "other")
        self.desk.said("a", "prompt", rid="r", sid="s")
        for chi in ("chunk", "finish", "error", "tool-result"):
            self.assertEqual(self.desk.said("v", chi, rid="r", sid="s"), [])
            self.assertEqual(self.desk.drops, ["replies.unmatched"])

    def test_what_comes_late_still_arrives(self) -> None:
        """After the finish the sid is free, and what its worker still says finds the asker."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.said("w", "finish", sid="s")
        self.assertEqual(self.desk.routes.open_asks, 0)
        self.assertEqual(self.desk.said("w", "chunk", sid="s"), [("a", {"chi": "chunk", "sid": "s"})])

    def test_a_bees_to_does_not_matter_where_the_route_is_known(self) -> None:
        """Old bees write names into ``to``: the reply finds its asker all the same."""
        self.desk.said("a", "prompt", sid="s")
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s", to="asker")), ["a"])
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s", to=Q.full)), ["a"])

    def test_a_worker_may_ask_itself(self) -> None:
        """A worker's own prompt may come back to it; its replies do too, and leaving tells nobody."""
        self.assertEqual(to(self.desk.said("w", "prompt", sid="s")), ["w"])
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s")), ["w"])
        self.assertEqual(self.desk.left("w"), [])
        self.assertEqual(self.desk.routes.known_asks, 0)


class PeerPromptTests(WorkerTestCase):
    """A peer asks a local worker."""

    def test_a_peers_prompt_and_its_answer(self) -> None:
        """The worker gets the prompt with its additions; the replies go to that peer, stamped as ours for it."""
        ((side, tone),) = self.desk.heard(P, "prompt", rid="r", sid="s", text="hi", to=ME.full)
        self.assertEqual((side, tone["from"], tone["cwd"]), ("w", P.full, "/home/me"))
        self.assertEqual(self.desk.said("w", "chunk", sid="s", d=1), [(P, {"chi": "chunk", "sid": "s", "d": 1})])
        self.assertEqual(self.desk.said("w", "finish", sid="s"), [(P, {"chi": "finish", "sid": "s"})])
        self.assertIsInstance(self.desk.outputs[0], ToPeer)

    def test_the_stamp_replaces_what_a_bee_writes(self) -> None:
        """Whatever a bee writes into ``from`` and ``to``, what leaves is from us to the asker."""
        self.desk.heard(P, "prompt", sid="s")
        self.desk.said("w", "chunk", sid="s", from_=Q.full, to=Q.full)
        (output,) = self.desk.lines
        assert isinstance(output, ToPeer)
        self.assertEqual(output.peer, P)
        self.assertIn(f'"from":"{ME.full}"'.encode(), output.line)
        self.assertNotIn(Q.full.encode(), output.line)

    def test_refusals_go_to_the_peer(self) -> None:
        """A peer is told of a missing worker and of a missing sid, the latter where it can tell what is meant."""
        self.assertEqual(
            errors(self.desk.heard(P, "prompt", rid="r", sid="s", modelId="x")),
            [(P, "prompt.no-worker", {"rid": "r", "sid": "s"})],
        )
        self.assertEqual(errors(self.desk.heard(P, "prompt", rid="r")), [(P, "tone.malformed", {"rid": "r"})])
        self.assertEqual(self.desk.heard(P, "prompt"), [])
        self.assertEqual(self.desk.drops, ["errors.untold"])

    def test_a_peers_prompt_for_somebody_else(self) -> None:
        """This humd does not relay: a tone for another humd, or for a short form of one, is refused, an answer too."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        for text in (Q.full, Q.digest.hex(), Q.short, "a-bee"):
            for chi in ("prompt", "chunk"):
                found = self.desk.heard(P, chi, rid="r", sid="s", to=text)
                self.assertEqual(errors(found), [(P, "route.unknown-peer", {"rid": "r", "sid": "s"})])
        self.assertEqual(self.desk.routes.known_asks, 1)  # our own

    def test_own_id_from_a_peer(self) -> None:
        """A peer may name us by any form of our id, or nobody."""
        for n, text in enumerate((ME.full, ME.digest.hex(), ME.short, "")):
            self.assertEqual(to(self.desk.heard(P, "prompt", sid=str(n), to=text)), ["w"])


class WorkerChoiceTests(DeskTestCase):
    """Which of several workers gets a prompt."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.worker("old")
        self.desk.worker("new")

    def asked(self, sid: str, asker: str = "a") -> object:
        ((side, _),) = self.desk.said(asker, "prompt", sid=sid)
        return side

    def test_fewest_open_sids_then_the_oldest(self) -> None:
        """Prompts spread: the least busy worker gets the next one, of equals the oldest."""
        self.assertEqual([self.asked(str(n)) for n in range(4)], ["old", "new", "old", "new"])
        self.desk.said("new", "finish", sid="1")
        self.assertEqual(self.asked("4"), "new")

    def test_calls_are_no_sids(self) -> None:
        """A worker that also has tool calls open is not busier for it."""
        self.desk.bee("old", bee=["worker", "forager"], models=["sonnet"], tools=[{"name": "t"}])
        self.desk.said("a", "tool-call", callId="c", toolName="t")
        self.assertEqual(self.asked("s"), "old")

    def test_an_answer_that_broke(self) -> None:
        """A worker is busy with an answer that nobody hears any more until it ends it, as the page for bees says."""
        self.asked("s")
        self.desk.said("old", "chunk", sid="s")
        self.desk.fail()
        self.assertEqual((self.asked("t"), self.desk.routes.open_asks), ("new", 2))
        self.desk.said("old", "error", sid="s")
        self.assertEqual((self.asked("u"), self.desk.routes.open_asks), ("old", 2))

    def test_a_further_prompt_joins_the_sid_in_progress(self) -> None:
        """A second prompt of the same asker goes to the worker that is at it, however busy that is."""
        self.assertEqual([self.asked("s"), self.asked("t"), self.asked("s")], ["old", "new", "old"])
        self.assertEqual(self.desk.routes.open_asks, 2)

    def test_a_worker_that_no_longer_serves_the_model(self) -> None:
        """A sid in progress is not split between workers: with another model the prompt must wait."""
        self.desk.worker("opus", "opus")
        self.asked("s")
        found = self.desk.said("a", "prompt", sid="s", rid="r2", modelId="opus")
        self.assertEqual(errors(found), [("a", "sid.in-use", {"rid": "r2", "sid": "s"})])
        self.desk.said("old", "finish", sid="s")
        self.assertEqual(to(self.desk.said("a", "prompt", sid="s", modelId="opus")), ["opus"])

    def test_a_new_turn_leaves_the_old_workers_late_words_with_the_asker(self) -> None:
        """When the next turn goes to another worker, what the first still says reaches its asker."""
        self.asked("s")
        self.desk.said("old", "finish", sid="s")
        self.asked("busy")
        self.assertEqual(self.asked("s"), "new")
        self.assertEqual(to(self.desk.said("old", "chunk", sid="s")), ["a"])
        self.assertEqual(to(self.desk.said("new", "chunk", sid="s")), ["a"])


class OwnershipTests(WorkerTestCase):
    """A sid in progress belongs to the side that began it."""

    def test_two_clients(self) -> None:
        """Another local client's prompt for a sid in progress is refused, and the first goes on undisturbed."""
        self.desk.said("a", "prompt", sid="s")
        found = self.desk.said("b", "prompt", rid="r", sid="s")
        self.assertEqual(errors(found), [("b", "sid.in-use", {"rid": "r", "sid": "s"})])
        self.assertEqual(to(self.desk.said("w", "finish", sid="s")), ["a"])

    def test_client_and_peers(self) -> None:
        """A peer cannot take a client's sid, nor a client a peer's, nor a peer another's."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.heard(P, "prompt", sid="t")
        self.assertEqual(errors(self.desk.heard(P, "prompt", sid="s")), [(P, "sid.in-use", {"sid": "s"})])
        self.assertEqual(errors(self.desk.said("a", "prompt", sid="t")), [("a", "sid.in-use", {"sid": "t"})])
        self.assertEqual(errors(self.desk.heard(Q, "prompt", sid="t")), [(Q, "sid.in-use", {"sid": "t"})])

    def test_afterwards_it_is_free(self) -> None:
        """Once a sid has ended anybody may begin it again, and hears only what is said from then on."""
        for terminal in ("finish", "error"):
            self.desk.said("a", "prompt", sid="s")
            self.desk.said("w", terminal, sid="s")
            self.assertEqual(to(self.desk.heard(P, "prompt", sid="s")), ["w"])
            self.assertEqual(to(self.desk.said("w", "finish", sid="s")), [P])

    def test_a_client_that_left_leaves_its_worker_at_work(self) -> None:
        """The worker is not told; what it says is dropped; the next local client that asks takes the sid over."""
        self.desk.worker("v")
        self.desk.said("a", "prompt", sid="s")
        self.assertEqual(self.desk.left("a"), [])
        self.assertEqual(self.desk.said("w", "chunk", sid="s"), [])
        self.assertEqual(self.desk.drops, ["replies.orphaned"])
        self.assertEqual(errors(self.desk.heard(P, "prompt", sid="s")), [(P, "sid.in-use", {"sid": "s"})])
        self.assertEqual(to(self.desk.said("b", "prompt", sid="s")), ["w"])
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s")), ["b"])
        self.assertEqual(errors(self.desk.said("c", "prompt", sid="s")), [("c", "sid.in-use", {"sid": "s"})])
        self.assertEqual(to(self.desk.said("w", "finish", sid="s")), ["b"])

    def test_a_peer_that_was_lost_may_come_back(self) -> None:
        """A lost peer's sid waits for that peer: no client and no other peer gets it."""
        self.desk.heard(P, "prompt", sid="s")
        self.assertEqual(self.desk.lost(P), [])
        self.assertEqual(self.desk.said("w", "chunk", sid="s"), [])
        self.assertEqual(errors(self.desk.said("a", "prompt", sid="s")), [("a", "sid.in-use", {"sid": "s"})])
        self.assertEqual(errors(self.desk.heard(Q, "prompt", sid="s")), [(Q, "sid.in-use", {"sid": "s"})])
        self.assertEqual(to(self.desk.heard(P, "prompt", sid="s")), ["w"])
        self.assertEqual(to(self.desk.said("w", "finish", sid="s")), [P])

    def test_an_orphan_that_ends_is_forgotten(self) -> None:
        """The finish of a sid without an asker is dropped, and nothing of it stays."""
        self.desk.said("a", "prompt", sid="s", rid="r")
        self.desk.left("a")
        self.assertEqual(self.desk.routes.open_asks, 1)
        self.desk.said("w", "finish", sid="s")
        self.assertEqual(self.desk.drops, ["replies.orphaned"])
        self.assertEqual(self.desk.routes.known_asks, 0)
        self.assertEqual(errors(self.desk.said("b", "cancel", sid="s")), [("b", "route.no-bee", {"sid": "s"})])

    def test_an_orphan_without_its_model(self) -> None:
        """An heir that wants another model is refused and does not inherit."""
        self.desk.worker("v", "opus")
        self.desk.said("a", "prompt", sid="s")
        self.desk.left("a")
        found = self.desk.said("b", "prompt", sid="s", modelId="opus")
        self.assertEqual(errors(found), [("b", "sid.in-use", {"sid": "s"})])
        self.assertEqual(self.desk.said("w", "chunk", sid="s"), [])

    def test_a_lost_worker_frees_the_sid(self) -> None:
        """With the worker gone nothing is in progress any more, whoever had begun it."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.left("a")
        self.assertEqual(self.desk.left("w"), [])
        self.desk.worker("v")
        self.assertEqual(to(self.desk.heard(P, "prompt", sid="s")), ["v"])

    def test_same_sid_here_and_there(self) -> None:
        """A sid at a peer and the same sid here are two conversations."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.desk.said("b", "prompt", sid="s")
        self.desk.heard(Q, "chunk", sid="s")
        self.assertEqual(self.desk.drops, ["replies.unmatched"])
        self.assertEqual(to(self.desk.heard(P, "chunk", sid="s")), ["a"])
        self.assertEqual(to(self.desk.said("w", "chunk", sid="s")), ["b"])
        (output,) = self.desk.outputs
        self.assertIsInstance(output, ToClient)
