"""Tool calls, and what follows a conversation: rule 4."""

from __future__ import annotations

from tests.conversations.desk import DeskTestCase, P, Q, WorkerTestCase, errors, to


class ForagerTests(DeskTestCase):
    """A tool that a local forager lists."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.forager("f", "read", "write")

    def test_call_and_result(self) -> None:
        """A local caller gets the result of its call, byte for byte, and nobody else does."""
        found = self.desk.said("a", "tool-call", callId="c", toolName="read", args={"x": 1})
        self.assertEqual(found, [("f", {"chi": "tool-call", "callId": "c", "toolName": "read", "args": {"x": 1}})])
        line = b'{"chi":"tool-result", "callId":"c", "output":{"deep":[1]} }'
        self.desk.said_line("f", line)
        self.assertEqual(self.desk.outputs[0][:2], ("a", line))
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_a_peers_call(self) -> None:
        """A peer's call reaches the forager, its result that peer."""
        self.assertEqual(to(self.desk.heard(P, "tool-call", callId="c", name="read")), ["f"])
        found = self.desk.said("f", "tool-result", callId="c", output="x", to="caller", from_="f")
        self.assertEqual(found, [(P, {"chi": "tool-result", "callId": "c", "output": "x"})])

    def test_the_name(self) -> None:
        """The tool is named by ``toolName``, else by ``name``; a name of another type names nothing."""
        self.assertEqual(to(self.desk.said("a", "tool-call", callId="1", toolName="read", name="x")), ["f"])
        self.assertEqual(to(self.desk.said("a", "tool-call", callId="2", toolName=None, name="read")), ["f"])
        for n, tool in enumerate(("nothing", 5, ["read"], None)):
            found = self.desk.said("a", "tool-call", callId=f"x{n}", toolName=tool)
            self.assertIn("names no tool" if n else "the tool 'nothing'", found[0][1]["message"])
            self.assertEqual(errors(found), [("a", "route.no-bee", {"callId": f"x{n}"})])

    def test_a_result_by_rid(self) -> None:
        """A call without a callId has its result by rid."""
        self.desk.said("a", "tool-call", rid="r", toolName="read")
        self.assertEqual(to(self.desk.said("f", "tool-result", rid="r")), ["a"])
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_a_call_that_no_result_could_name(self) -> None:
        """A call with neither callId nor rid is delivered, and nobody waits for it."""
        self.assertEqual(to(self.desk.said("a", "tool-call", sid="s", toolName="read")), ["f"])
        self.assertEqual(self.desk.routes.known_asks, 0)

    def test_a_call_whose_name_is_none(self) -> None:
        """One whose callId finds no result is refused, unless it has a rid: its caller would wait for ever."""
        names: tuple[object, ...] = (7, 0, True, {}, "c" * 4097)
        for name in names:
            for more in ({"toolName": "read"}, {"to": P.full}):
                found = self.desk.said("a", "tool-call", callId=name, sid="s", **more)
                self.assertEqual(errors(found), [("a", "tone.malformed", {"sid": "s"})])
            found = self.desk.heard(P, "tool-call", callId=name, sid="s", toolName="read")
            self.assertEqual(errors(found), [(P, "tone.malformed", {"sid": "s"})])
        self.assertEqual(to(self.desk.said("a", "tool-call", callId=7, rid="r", toolName="read")), ["f"])
        self.assertEqual(to(self.desk.said("f", "tool-result", callId=7, rid="r")), ["a"])
        self.assertEqual(to(self.desk.said("a", "tool-call", callId=None, toolName="read")), ["f"])
        self.assertEqual(self.desk.routes.open_asks, 0)
        self.assertEqual(to(self.desk.said("a", "prompt", callId=7, sid="s", to=P.full)), [P])  # it goes by its sid

    def test_a_call_with_only_the_sid_of_a_prompt(self) -> None:
        """Nor for one whose sid leads to the prompt in progress: what the peer says under it is the prompt's answer."""
        self.desk.said("a", "prompt", rid="r", sid="s", to=P.full)
        self.assertEqual(to(self.desk.said("a", "tool-call", sid="s", to=P.full)), [P])
        self.assertEqual(errors(self.desk.lost(P)), [("a", "peer.lost", {"rid": "r", "sid": "s"})])

    def test_an_error_ends_the_call(self) -> None:
        """A forager's error, a 402 for one, reaches the caller by callId and ends the call."""
        self.desk.said("a", "tool-call", callId="c", sid="s", toolName="read")
        self.assertEqual(to(self.desk.said("f", "error", callId="c", code=402, to="x")), ["a"])
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_forged_results(self) -> None:
        """A result from a bee, or a peer, that was not called reaches nobody."""
        self.desk.forager("g", "other")
        self.desk.said("a", "tool-call", callId="c", rid="r", sid="s", toolName="read")
        self.assertEqual(self.desk.said("g", "tool-result", callId="c", rid="r", sid="s"), [])
        self.assertEqual(self.desk.heard(P, "tool-result", callId="c", rid="r", sid="s"), [])
        self.assertEqual(to(self.desk.said("f", "tool-result", callId="c")), ["a"])

    def test_two_callers_race_for_a_call_id(self) -> None:
        """Of two open calls with one callId at one bee the second is refused; a third at another bee is fine."""
        self.desk.forager("g", "other")
        self.desk.heard(P, "tool-call", callId="c", toolName="read")
        found = self.desk.heard(Q, "tool-call", callId="c", rid="q", toolName="write")
        self.assertEqual(errors(found), [(Q, "sid.in-use", {"rid": "q", "callId": "c"})])
        self.assertEqual(to(self.desk.heard(Q, "tool-call", callId="c", toolName="other")), ["g"])
        self.assertEqual(to(self.desk.said("f", "tool-result", callId="c")), [P])
        self.assertEqual(to(self.desk.said("g", "tool-result", callId="c")), [Q])

    def test_the_callers_own_rids_may_clash(self) -> None:
        """Two callers that count their rids from one do not get each other's results, for these go by callId."""
        self.desk.said("a", "tool-call", rid="1", callId="ca", toolName="read")
        self.desk.said("b", "tool-call", rid="1", callId="cb", toolName="read")
        self.assertEqual(to(self.desk.said("f", "tool-result", rid="1", callId="cb")), ["b"])
        self.assertEqual(to(self.desk.said("f", "tool-result", rid="1", callId="ca")), ["a"])

    def test_progress_of_a_call(self) -> None:
        """What a forager says about a call before its result, by callId, reaches the caller."""
        self.desk.said("a", "tool-call", callId="c", sid="s", toolName="read")
        for chi in ("tool-meta", "tool-info", "chunk"):
            self.assertEqual(to(self.desk.said("f", chi, callId="c", sid="s")), ["a"])
        self.assertEqual(self.desk.routes.open_asks, 1)


class DeclaredToolTests(WorkerTestCase):
    """A tool that no forager lists: the asker declared it."""

    def test_a_local_asker_answers_its_workers_call(self) -> None:
        """The worker's call goes to whoever it serves the sid for, the result back to the worker."""
        self.desk.said("a", "prompt", sid="s", tools=[{"name": "mine"}])
        self.assertEqual(to(self.desk.said("w", "tool-call", sid="s", callId="c", toolName="mine")), ["a"])
        self.assertEqual(to(self.desk.said("a", "tool-result", sid="s", callId="c", output=1)), ["w"])
        self.assertEqual(self.desk.routes.open_asks, 1)

    def test_a_remote_asker_answers_its_workers_call(self) -> None:
        """The same where the asker is a peer: call and result cross the link."""
        self.desk.heard(P, "prompt", sid="s")
        found = self.desk.said("w", "tool-call", sid="s", callId="c", toolName="mine")
        self.assertEqual(found, [(P, {"chi": "tool-call", "sid": "s", "callId": "c", "toolName": "mine"})])
        self.assertTrue(self.desk.routes.waiting_on(P))
        self.assertEqual(self.desk.heard(Q, "tool-result", sid="s", callId="c"), [])
        self.assertEqual(to(self.desk.heard(P, "tool-result", sid="s", callId="c")), ["w"])
        self.assertFalse(self.desk.routes.waiting_on(P))

    def test_a_peers_worker_calls_our_client(self) -> None:
        """On the asker's side a peer's call goes to the client that prompted that peer under the sid."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.assertEqual(to(self.desk.heard(P, "tool-call", sid="s", callId="c", toolName="mine")), ["a"])
        self.assertEqual(to(self.desk.said("a", "tool-result", sid="s", callId="c")), [P])
        found = self.desk.heard(Q, "tool-call", sid="s", callId="c", toolName="mine")
        self.assertEqual(errors(found), [(Q, "route.no-bee", {"sid": "s", "callId": "c"})])

    def test_a_forager_comes_first(self) -> None:
        """A tool that a local forager lists is not asked of the asker."""
        self.desk.forager("f", "mine")
        self.desk.said("a", "prompt", sid="s")
        self.assertEqual(to(self.desk.said("w", "tool-call", sid="s", callId="c", toolName="mine")), ["f"])

    def test_a_stranger_cannot_call_the_asker(self) -> None:
        """Only the bee that serves the sid may call its asker."""
        self.desk.said("a", "prompt", sid="s")
        found = self.desk.said("b", "tool-call", sid="s", callId="c", toolName="mine")
        self.assertEqual(errors(found), [("b", "route.no-bee", {"sid": "s", "callId": "c"})])

    def test_a_call_is_no_conversation(self) -> None:
        """A peer that was only called under a sid cannot call back: its caller declared nothing."""
        self.desk.said("a", "tool-call", sid="s", callId="c", to=P.full)
        found = self.desk.heard(P, "tool-call", sid="s", callId="d", toolName="mine")
        self.assertEqual(errors(found), [(P, "route.no-bee", {"sid": "s", "callId": "d"})])

    def test_an_asker_that_is_gone(self) -> None:
        """A worker whose asker left is told that nobody has the tool."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.left("a")
        found = self.desk.said("w", "tool-call", sid="s", callId="c", toolName="mine")
        self.assertEqual(errors(found), [("w", "route.no-bee", {"sid": "s", "callId": "c"})])


class MarketTests(DeskTestCase):
    """A bee that takes tool calls and lists no tools."""

    def test_the_oldest_takes_what_nobody_lists(self) -> None:
        """A call that no forager and no asker takes goes to the oldest bee without a catalogue."""
        self.desk.bee("m", chis=["tool-call"])
        self.desk.bee("n", chis=["tool-call"])
        self.desk.forager("f", "read", chis=["tool-call"])
        self.assertEqual(to(self.desk.heard(P, "tool-call", callId="c", toolName="fill")), ["m"])
        self.assertEqual(to(self.desk.heard(P, "tool-call", callId="d")), ["m"])
        self.assertEqual(to(self.desk.heard(P, "tool-call", callId="e", toolName="read")), ["f"])
        self.assertEqual(to(self.desk.said("m", "tool-call", callId="f", toolName="fill")), ["n"])

    def test_a_fill_request_across_humds(self) -> None:
        """A bee calls a peer's tool directly, and the result comes back to it."""
        self.assertEqual(to(self.desk.said("a", "tool-call", callId="c", toolName="fill", to=P.full)), [P])
        self.assertEqual(to(self.desk.heard(P, "tool-result", callId="c")), ["a"])


class FollowTests(DeskTestCase):
    """What a conversation's asker says about it goes where it is served."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.worker("w", chis=["prompt", "cancel", "release-permit", "curate"])
        self.desk.worker("v", "other", chis=["prompt", "cancel", "release-permit", "curate"])

    def test_to_the_local_worker(self) -> None:
        """Cancel, cleanup and permits of a sid's asker reach the one worker that serves it, byte for byte."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.heard(P, "prompt", sid="t")
        for chi in ("cancel", "cleanup", "release-permit", "tendril-result", "curate", "petal-cell"):
            self.assertEqual(self.desk.said("a", chi, sid="s"), [("w", {"chi": chi, "sid": "s"})])
            self.assertEqual(to(self.desk.heard(P, chi, sid="t")), ["w"])

    def test_to_the_peer(self) -> None:
        """They cross the link where the conversation did, also after it has ended."""
        self.desk.said("a", "prompt", sid="s", to=P.full)
        self.assertEqual(
            self.desk.said("a", "cancel", rid="r", sid="s"), [(P, {"chi": "cancel", "rid": "r", "sid": "s"})]
        )
        self.desk.heard(P, "finish", sid="s")
        self.assertEqual(to(self.desk.said("a", "cleanup", sid="s")), [P])

    def test_nobody_elses(self) -> None:
        """Whoever did not begin the sid cannot cancel it, nor answer its permission: neither client nor peer."""
        self.desk.said("a", "prompt", sid="s")
        for chi in ("cancel", "cleanup", "release-permit", "tendril-result"):
            found = self.desk.said("b", chi, rid="r", sid="s")
            self.assertEqual(errors(found), [("b", "route.no-bee", {"rid": "r", "sid": "s"})])
            found = self.desk.heard(P, chi, rid="r", sid="s")
            self.assertEqual(errors(found), [(P, "route.no-bee", {"rid": "r", "sid": "s"})])
            self.assertEqual(errors(self.desk.said("b", chi)), [("b", "route.no-bee", {})])

    def test_not_once_somebody_else_goes_on(self) -> None:
        """An asker whose sid ended cannot cancel what another began under it with the same worker."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.said("w", "finish", sid="s")
        self.assertEqual(to(self.desk.said("a", "cleanup", sid="s")), ["w"])
        self.desk.heard(P, "prompt", sid="s")
        self.assertEqual(errors(self.desk.said("a", "cancel", sid="s")), [("a", "route.no-bee", {"sid": "s"})])

    def test_the_heir_may_cancel(self) -> None:
        """A restarted program can stop what its predecessor began; a peer cannot."""
        self.desk.said("a", "prompt", sid="s")
        self.desk.left("a")
        self.assertEqual(errors(self.desk.heard(P, "cancel", sid="s")), [(P, "route.no-bee", {"sid": "s"})])
        self.assertEqual(to(self.desk.said("b", "cancel", sid="s")), ["w"])

    def test_with_a_to(self) -> None:
        """With a ``to`` a cancel goes there, whoever says it."""
        self.assertEqual(to(self.desk.said("b", "cancel", sid="s", to=P.full)), [P])

    def test_its_error_comes_back(self) -> None:
        """A worker's error to a cancel, by rid, reaches who cancelled and does not end the prompt."""
        self.desk.heard(P, "prompt", sid="s", rid="p")
        self.desk.heard(P, "cancel", sid="s", rid="c")
        self.assertEqual(to(self.desk.said("w", "error", rid="c")), [P])
        self.assertEqual(self.desk.routes.open_asks, 1)
