"""Which of its keys decides whose answer a reply is: the table in ``docs/delivery.rst``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.conversations import ToClient
from ensemble.tone import Qualifier
from tests.conversations.desk import ME, Desk, Got, P, Q, errors, to as reached

KEYS = {"rid": "r", "callId": "c", "sid": "s"}
ASKERS = {"rid": "by-rid", "callId": "by-call", "sid": "by-sid"}

OTHERS = ("chunk", "finish", "session-ready", "pulse", "permission-ask", "tendril-reach", "tool-info", "tool-meta")
FROM_A_PEER = {
    "error": ("rid", "callId", "sid"),
    **dict.fromkeys(("tool-result", *OTHERS), ("callId", "sid", "rid")),
}
FROM_A_BEE = {
    "error": ("rid", "callId", "sid"),
    "tool-result": ("callId", "rid", "sid"),
    **dict.fromkeys(OTHERS, ("sid", "callId", "rid")),
}


class KeyTests(SynchronousTestCase):
    """Three programs ask one server, and each key is that of another one's ask."""

    def desk(self, **to: str) -> Desk:
        desk = Desk()
        desk.bee("bee", bee=["worker", "forager"], models=["sonnet"], tools=[{"name": "t"}])
        desk.said(ASKERS["sid"], "prompt", sid="s", **to)
        desk.said(ASKERS["callId"], "tool-call", callId="c", toolName="t", **to)
        desk.said(ASKERS["rid"], "tool-call", rid="r", toolName="t", **to)
        return desk

    def test_from_a_peer(self) -> None:
        """A reply of a peer goes by the first of its keys that names an ask."""
        for chi, order in FROM_A_PEER.items():
            for first, key in enumerate(order):
                keys = {name: KEYS[name] for name in order[first:]}
                for more in ({}, {"to": ME.full}):
                    [(asker, _)] = self.desk(to=P.full).heard(P, chi, **keys, **more)
                    self.assertEqual(asker, ASKERS[key], (chi, keys, more))

    def test_from_a_bee(self) -> None:
        """So does one of a local program, in an order of its own; a key that nobody asked under is passed over."""
        for chi, order in FROM_A_BEE.items():
            for first, key in enumerate(order):
                keys = {name: KEYS[name] for name in order[first:]}
                for more in ({}, dict.fromkeys(order[:first], "unknown")):
                    [(asker, _)] = self.desk().said("bee", chi, **keys, **more)
                    self.assertEqual(asker, ASKERS[key], (chi, keys, more))

    def test_of_what_came_to_nothing(self) -> None:
        """The rid of a further prompt that could not be handed over is free again for anybody."""
        desk = Desk()
        for rid in ("first", "further"):
            desk.said("a", "prompt", rid=rid, sid="s", to=P.full)
        desk.fail()
        self.assertEqual(reached(desk.said("b", "tool-call", rid="further", to=P.full)), [P])
        self.assertEqual(reached(desk.heard(P, "tool-result", rid="further")), ["b"])
        self.assertEqual(reached(desk.heard(P, "finish", rid="first")), ["a"])


class ClashTests(SynchronousTestCase):
    """Two programs count their rids from one, as the sids and callIds are what is random."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.bee("bee", bee=["worker", "forager"], models=["sonnet"], tools=[{"name": "t"}])

    def ask(self, **to: str) -> None:
        """Each of them a prompt and a call."""
        for name in ("a", "b"):
            self.desk.said(name, "prompt", rid="1", sid=f"s-{name}", **to)
            self.desk.said(name, "tool-call", rid="2", callId=f"c-{name}", toolName="t", **to)

    def answer(self, to: dict[str, str], chi: str, **keys: str) -> list[Got]:
        return self.desk.heard(P, chi, **keys) if to else self.desk.said("bee", chi, **keys)

    def test_errors(self) -> None:
        """An error reaches the one it is about and ends what that one asked; the other has its answer after that."""
        for remote in ({}, {"to": P.full}):
            for first, second in (("a", "b"), ("b", "a")):
                self.setUp()
                self.ask(**remote)
                for name in (first, second):
                    asked = self.desk.routes.open_asks
                    found = self.answer(remote, "error", rid="1", sid=f"s-{name}")
                    self.assertEqual(reached(found), [name], remote)
                    found = self.answer(remote, "error", rid="2", callId=f"c-{name}")
                    self.assertEqual(reached(found), [name], remote)
                    self.assertEqual(self.desk.routes.open_asks, asked - 2)

    def test_a_call_that_has_no_call_id(self) -> None:
        """One that has a rid alone does not get the error of another that has that rid and a callId."""
        self.desk.said("a", "tool-call", rid="1", toolName="t")
        self.desk.said("b", "tool-call", rid="1", callId="c", toolName="t")
        self.assertEqual(reached(self.desk.said("bee", "error", rid="1", callId="c")), ["b"])
        self.assertEqual(reached(self.desk.said("bee", "error", rid="1")), ["a"])

    def test_who_left(self) -> None:
        """What was for one that is gone is not given to the other."""
        for remote in ({}, {"to": P.full}):
            self.setUp()
            self.ask(**remote)
            self.desk.left("b")
            asked = self.desk.routes.open_asks
            for chi in ("chunk", "error", "finish"):
                self.assertEqual(self.answer(remote, chi, rid="1", sid="s-b"), [], (chi, remote))
            for chi in ("tool-info", "error", "tool-result"):
                self.assertEqual(self.answer(remote, chi, rid="2", callId="c-b"), [], (chi, remote))
            self.assertEqual(self.desk.routes.open_asks, asked - (not remote))  # the orphan has ended
            self.assertEqual(reached(self.answer(remote, "finish", rid="1", sid="s-a")), ["a"])
            self.assertEqual(reached(self.answer(remote, "tool-result", rid="2", callId="c-a")), ["a"])

    def test_who_left_had_asked_something_else(self) -> None:
        """The same where one said a prompt and the other a call."""
        for remote in ({}, {"to": P.full}):
            for gone, left in (("a", "b"), ("b", "a")):
                self.setUp()
                self.desk.said("a", "prompt", rid="1", sid="s", **remote)
                self.desk.said("b", "tool-call", rid="1", callId="c", toolName="t", **remote)
                self.desk.left(gone)
                keys = {"a": {"sid": "s"}, "b": {"callId": "c"}}
                for chi in ("chunk", "error", "finish", "tool-result"):
                    self.assertEqual(self.answer(remote, chi, rid="1", **keys[gone]), [], (chi, remote))
                self.assertEqual(reached(self.answer(remote, "error", rid="1", **keys[left])), [left])
                self.assertEqual(self.desk.routes.open_asks, 0)

    def test_no_other_key(self) -> None:
        """A tone that has no key but a rid of somebody else is refused, or its error would end what that one asked."""
        self.desk.said("a", "prompt", rid="1", sid="s", to=P.full)
        for keys in ({}, {"sid": "s"}):
            found = errors(self.desk.said("b", "attach", rid="1", to=P.full, **keys))
            self.assertEqual(found, [("b", "sid.in-use", {"rid": "1", **keys})])
        self.desk.said("b", "prompt", rid="0", sid="t", to=P.full)
        self.assertEqual(reached(self.desk.said("b", "cancel", rid="1", sid="t", to=P.full)), [P])
        self.assertEqual(reached(self.desk.said("a", "attach", rid="1", to=P.full)), [P])
        self.assertEqual(reached(self.desk.heard(P, "error", rid="1")), ["a"])

    def test_a_rid_again(self) -> None:
        """A call whose rid is that of an open one of its own program is refused where no answer would find it."""
        for remote in ({}, {"to": P.full}):
            for first in ({"callId": "c"}, {"sid": "s"}):
                self.setUp()
                self.desk.said("a", "tool-call", rid="1", toolName="t", **first, **remote)
                found = errors(self.desk.said("a", "tool-call", rid="1", sid="t", toolName="t", **remote))
                self.assertEqual(found, [("a", "sid.in-use", {"rid": "1", "sid": "t"})])
                self.desk.said("a", "tool-call", rid="1", toolName="t", **remote)  # its answer has the rid alone
                self.assertEqual(reached(self.answer(remote, "tool-result", rid="1")), ["a"])
                self.assertEqual(self.desk.routes.open_asks, 0)

    def test_who_left_had_the_same_sid(self) -> None:
        """Nor is it where both calls name one sid: the callId has to agree as well."""
        for name in ("a", "b"):
            self.desk.said(name, "tool-call", rid="1", callId=f"c-{name}", sid="s", toolName="t")
        self.desk.left("b")
        for chi in ("error", "tool-result"):
            self.assertEqual(self.desk.said("bee", chi, rid="1", callId="c-b", sid="s"), [])
        self.assertEqual(reached(self.desk.said("bee", "tool-result", rid="1", callId="c-a", sid="s")), ["a"])

    def test_a_rid_of_the_bees_own(self) -> None:
        """The error of a local program goes on byte for byte, whatever rid it has."""
        self.desk.said("a", "prompt", rid="1", sid="s")
        said = self.desk.said("bee", "error", rid="its own", sid="s")
        self.assertEqual(said, [("a", {"chi": "error", "rid": "its own", "sid": "s"})])

    def test_of_one_program(self) -> None:
        """The same where both asks are of one program: what an error names by its sid has ended."""
        for remote in ({}, {"to": P.full}):
            self.setUp()
            self.desk.said("a", "prompt", rid="1", sid="s", **remote)
            self.desk.said("a", "prompt", rid="2", sid="t", **remote)
            self.assertEqual(reached(self.answer(remote, "error", rid="1", sid="t")), ["a"])
            told = errors(self.desk.lost(P) if remote else self.desk.left("bee"))
            self.assertEqual([keys for _, _, keys in told], [{"rid": "1", "sid": "s"}])

    def test_a_rid_of_what_another_was_asked(self) -> None:
        """A peer cannot end, by a rid that it guessed, what the program that asked it asked somebody else as well."""
        for chi, keys in (("prompt", {"sid": "s"}), ("tool-call", {"callId": "c"})):
            self.setUp()
            self.desk.said("a", chi, rid="1", toolName="t", to=P.full, **keys)
            self.desk.said("a", "prompt", rid="2", sid="t", to=Q.full)
            lie = self.desk.heard(P, "error", rid="2", code=4, message="lie", **keys)
            self.assertEqual(lie, [("a", {"chi": "error", "from": P.full, "code": 4, "message": "lie", **keys})])
            self.assertEqual(self.desk.routes.open_asks, 1)
            self.assertEqual(reached(self.desk.heard(Q, "error", rid="2", sid="t")), ["a"])

    def test_what_no_link_took(self) -> None:
        """A tone that was held in vain is told to the one that said it."""
        self.desk.said("a", "prompt", rid="1", sid="s-a", to=P.full)
        self.desk.said("b", "prompt", rid="1", sid="s-b", to=P.full)
        (held,) = self.desk.lines
        message = "longer than it takes"
        self.desk.take(self.desk.routes.undelivered(P, held.line, Qualifier.TONE_TOO_LARGE, message))
        self.assertEqual([line.client_id for line in self.desk.lines if isinstance(line, ToClient)], ["b"])
        self.assertEqual(reached(self.desk.heard(P, "finish", sid="s-a")), ["a"])
