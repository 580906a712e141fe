"""Everything else: rule 5, what is not supported, what nobody answers, and the hello."""

from __future__ import annotations

from ensemble.conversations import Notice, ToClient
from ensemble.identity import HumdId, Role
from tests.conversations.desk import ME, DeskTestCase, P, Q, errors, line_of, to


class RuleFiveTests(DeskTestCase):
    """A peer's tone with a chi that bees list."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.bee("m", chis=["quote", "log", "attach", "curate"])
        self.desk.bee("n", chis=["quote"])
        self.desk.bee("o", chis=["other"])

    def test_every_bee_that_lists_it(self) -> None:
        """The tone goes to each bee that lists its chi, byte for byte, and to no other."""
        line = line_of("quote", from_=P.full, px=[1])
        self.desk.heard_line(P, line)
        self.assertEqual([output[:2] for output in self.desk.outputs], [("m", line), ("n", line)])

    def test_nobody_lists_it(self) -> None:
        """Else the peer is told, unless the chi is one that is never answered."""
        self.assertEqual(errors(self.desk.heard(P, "trade", rid="r")), [(P, "route.no-bee", {"rid": "r"})])
        self.assertEqual(errors(self.desk.heard(P, "detach", sid="s")), [(P, "route.no-bee", {"sid": "s"})])
        for chi in ("echo", "perf-mark", "drone", "drone-retrofit", "breath"):
            self.assertEqual(self.desk.heard(P, chi, rid="r"), [])
            self.assertEqual(self.desk.drops, ["tones.ignored"])

    def test_known_chis(self) -> None:
        """A bee may list a known chi too: a log, an attach, a curate for no conversation of ours."""
        for chi in ("log", "attach", "curate"):
            self.assertEqual(to(self.desk.heard(P, chi, sid="s")), ["m"])
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_what_may_be_dropped(self) -> None:
        """A never-answered tone for a bee may be dropped under pressure; another may not."""
        self.desk.heard(P, "log")
        self.assertTrue(self.desk.lines[0].droppable)
        self.desk.heard(P, "attach")
        self.assertFalse(self.desk.lines[0].droppable)

    def test_their_answers(self) -> None:
        """Whichever bee answers by rid or callId, the answer goes to the peer that asked."""
        self.desk.heard(P, "quote", rid="r", callId="c")
        self.assertEqual(self.desk.said("o", "tool-result", rid="r"), [])
        self.assertEqual(to(self.desk.said("n", "tool-result", callId="c")), [P])
        self.assertEqual(to(self.desk.said("m", "chunk", rid="r")), [P])

    def test_all_of_them_lost(self) -> None:
        """Where several bees may answer the peer is told when the last of them is gone, and only then."""
        self.desk.heard(P, "quote", rid="r")
        self.assertEqual(self.desk.left("m"), [])
        self.assertEqual(errors(self.desk.left("n")), [(P, "bee.lost", {"rid": "r"})])

    def test_one_answered_and_one_lost(self) -> None:
        """An answer of one bee is enough: the loss of the other is no news, in either order."""
        self.desk.heard(P, "quote", rid="r")
        self.desk.said("m", "tool-result", rid="r")
        self.assertEqual(self.desk.left("n"), [])
        self.assertEqual(self.desk.left("m"), [])
        self.desk.bee("n", chis=["quote"])
        self.desk.bee("m", chis=["quote"])
        self.desk.heard(P, "quote", rid="q")
        self.assertEqual(self.desk.left("n"), [])
        self.assertEqual(to(self.desk.said("m", "finish", rid="q")), [P])
        self.assertEqual(self.desk.routes.open_asks, 0)

    def test_the_second_answer_lost(self) -> None:
        """Once one bee has answered, an answer of another that cannot be handed over is no failure."""
        self.desk.heard(P, "quote", rid="r")
        self.desk.said("m", "finish", rid="r")
        self.desk.said("n", "finish", rid="r")
        self.assertEqual(self.desk.fail(), [])

    def test_the_only_answer_lost(self) -> None:
        """The answer of the last bee that is there is the one that counts: the peer is told where it cannot have it."""
        self.desk.heard(P, "quote", rid="r")
        self.desk.left("n")
        self.desk.said("m", "finish", rid="r")
        self.assertEqual(errors(self.desk.fail())[0], (P, "queue.full", {"rid": "r"}))

    def test_a_busy_key_at_one_bee(self) -> None:
        """A bee at which the rid is taken by another peer is passed over; where no bee is left the peer is told."""
        self.desk.left("n")
        self.desk.heard(P, "quote", rid="r")
        self.assertEqual(errors(self.desk.heard(Q, "quote", rid="r")), [(Q, "sid.in-use", {"rid": "r"})])
        self.desk.bee("n", chis=["quote"])
        self.assertEqual(to(self.desk.heard(Q, "quote", rid="r")), ["n"])
        self.assertEqual(to(self.desk.said("m", "finish", rid="r")), [P])
        self.assertEqual(to(self.desk.said("n", "finish", rid="r")), [Q])


class UnhandledTests(DeskTestCase):
    """What this part does not handle."""

    def test_local_gossip_and_kad(self) -> None:
        """A client that sends gossip or kad is told that it is not supported, whoever it addresses."""
        for chi in ("gossip-publish", "kad-find-node", "kad-find-node-resp"):
            for more in ({}, {"to": P.full}, {"to": ME.full}):
                found = self.desk.said("a", chi, rid="r", **more)
                self.assertEqual(errors(found), [("a", "not.supported", {"rid": "r"})])

    def test_gossip_and_kad_of_peers(self) -> None:
        """From peers they are counted and dropped, and never answered, even past their dusk or for somebody else."""
        for chi in ("gossip-publish", "kad-find-node", "kad-find-node-resp", "wane-sync"):
            self.assertEqual(self.desk.heard(P, chi, rid="r"), [])
            self.assertEqual(self.desk.drops, ["tones.unhandled"])
            self.assertEqual(self.desk.heard(P, chi, rid="r", dusk=1), [])
            self.assertEqual(self.desk.heard(P, chi, rid="r", to=Q.full), [])

    def test_for_later(self) -> None:
        """Control, attach and wane-sync of a local client are not supported yet, and say so."""
        for chi in ("peer-add", "peer-remove", "wane-sync", "attach", "detach"):
            found = self.desk.said("a", chi, rid="r", sid="s")
            self.assertEqual(errors(found), [("a", "not.supported", {"rid": "r", "sid": "s"})])

    def test_ignored_local_tones(self) -> None:
        """Echo, log, marks and drones of a client need no answer and get none."""
        for chi in ("echo", "log", "perf-mark", "drone", "drone-retrofit", "breath", "ping", "pong", "goodbye"):
            self.assertEqual(self.desk.said("a", chi, rid="r"), [])
            self.assertEqual(self.desk.drops, ["tones.ignored"])

    def test_nothing_takes_it(self) -> None:
        """A local tone that no rule takes is an error, and a strange chi is not repeated at length."""
        self.assertEqual(errors(self.desk.said("a", "quote", rid="r")), [("a", "route.no-bee", {"rid": "r"})])
        ((_, tone),) = self.desk.said("a", "x" * 4000, sid="s")
        self.assertLess(len(tone["message"]), 300)

    def test_what_links_swallow(self) -> None:
        """A hello, ping or goodbye that comes as far as here is ignored."""
        self.desk.bee("b", chis=["hello", "goodbye"])
        for chi in ("hello", "hello-proof", "ping", "pong", "goodbye"):
            self.assertEqual(self.desk.heard(P, chi, rid="r"), [])


class HelloTests(DeskTestCase):
    """A local hello makes a bee."""

    def test_by_tone(self) -> None:
        """A hello said as a tone registers the bee, with our own id in ``to`` as well."""
        self.assertEqual(self.desk.said("w", "hello", hive="h", bee=["worker"], models=["m"]), [])
        self.assertEqual(self.desk.roster.workers("m"), ("w",))
        self.desk.said("v", "hello", hive="h", bee="worker", models=["n"], to=ME.short)
        self.assertEqual(self.desk.roster.workers("n"), ("v",))

    def test_without_a_name(self) -> None:
        """A hello without a name registers nothing and takes nothing away."""
        self.desk.worker("w")
        self.desk.said("w", "hello", bee=["worker"], models=["m"])
        self.assertEqual(self.desk.roster.workers("sonnet"), ("w",))

    def test_problems_go_to_the_log(self) -> None:
        """What of a hello could not be taken is a notice for the log, never an answer."""
        self.desk.bee("w", models="m", hid="x")
        self.assertEqual([notice.client_id for notice in self.desk.notices], ["w", "w"])
        self.assertEqual(self.desk.lines, [])

    def test_the_same_hid(self) -> None:
        """Who is evicted by a newer claim of its hid is in the log too; its open asks go on."""
        hid = HumdId(b"\x05" * 32, Role.WORKER).full
        self.desk.worker("w", hid=hid)
        self.desk.said("a", "prompt", sid="s")
        self.desk.worker("v", hid=hid)
        (notice,) = self.desk.notices
        self.assertIsInstance(notice, Notice)
        self.assertEqual(notice.client_id, "w")
        self.assertIn(hid, notice.text)
        self.assertEqual(to(self.desk.said("w", "finish", sid="s")), ["a"])
        self.assertIsInstance(self.desk.lines[0], ToClient)
