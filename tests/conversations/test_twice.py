"""A local program that takes the first of two keys sees what we judged, as one that takes the last."""

from __future__ import annotations

import json

from ensemble.conversations import ToClient
from tests.conversations.desk import ME, DeskTestCase, P, Q


def first_of(line: bytes) -> dict[str, object]:
    """A tone as a parser reads it that takes the first of two keys."""
    tone: dict[str, object] = json.loads(line, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    return tone


class TwiceTests(DeskTestCase):
    """What a peer says with one key twice."""

    def first(self, line: str, front: bool = False) -> dict[str, object]:
        """What ``Q`` says, as a program reads it that takes the first; with ``front`` the envelope comes first."""
        ids = f'"to":"{ME.full}","from":"{Q.full}"'
        self.desk.heard_line(Q, (f"{{{ids},{line}}}" if front else f"{{{line},{ids}}}").encode())
        (output,) = self.desk.lines
        assert isinstance(output, ToClient)
        return first_of(output.line)

    def test_what_follows_a_conversation(self) -> None:
        """A cancel reaches the worker with the sid of whoever says it, and with its id."""
        self.desk.worker("w")
        self.desk.heard(P, "prompt", sid="of-p")
        self.desk.heard(Q, "prompt", sid="of-q")
        for sid in ('"sid":"of-p"', '"\\u0073id":"of-p"'):
            found = self.first(f'"from":"{P.full}","chi":"cancel",{sid},"sid":"of-q"')
            self.assertEqual((found["from"], found["sid"]), (Q.full, "of-q"))

    def test_what_a_bee_lists(self) -> None:
        """A tone of a kind that bees ask for comes from whom it is, also where the sender hides its key."""
        self.desk.bee("b", chis=["note"])
        found = self.first(f'"chi":"note","\\u0066rom":"{P.full}","rid":"r"')
        self.assertEqual(found["from"], Q.full)

    def test_answers(self) -> None:
        """A piece of an answer, its end and the result of a call name only what this peer was asked."""
        for peer, sid in ((P, "of-p"), (Q, "of-q")):
            self.desk.said("a", "prompt", sid=sid, to=peer.full)
            self.desk.said("a", "tool-call", callId=f"c-{sid}", sid=sid, to=peer.full)
        for front in (False, True):
            for text in ('"text":"x"', '"text":"{\\n"'):
                found = self.first(f'"chi":"chunk","sid":"of-q",{text}', front)
                self.assertEqual(found["sid"], "of-q")
            found = self.first('"chi":"chunk","sid":"of-p","sid":"of-q"', front)
            self.assertEqual(found["sid"], "of-q")
            found = self.first('"chi":"chunk","callId":"c-of-p","sid":"of-q","callId":null', front)
            self.assertIsNone(found["callId"])
        found = self.first('"chi":"tool-result","callId":"c-of-p","callId":"c-of-q"')
        self.assertEqual(found["callId"], "c-of-q")
        found = self.first('"chi":"finish","sid":"of-p","sid":"of-q"')
        self.assertEqual(found["sid"], "of-q")

    def test_honest_lines_are_not_touched(self) -> None:
        """Where each key is there once, or the envelope comes first, the same bytes go on."""
        self.desk.said("a", "prompt", sid="s", to=Q.full)
        told = f'"to":"{ME.full}" ,"from": "{Q.full}", "chi":"chunk","sid":"s"'
        body = '"x":{"y":"\\n"},"n":1.50'
        hidden = '"x":{"sid":"t"},"y":"\\n"'
        for line in (f"{{{told},{body}}}", f"{{{body},{told}}}", f"{{{told},{hidden}}}"):
            self.desk.heard_line(Q, line.encode())
            self.assertEqual(self.desk.lines[0].line, line.encode())
        line = f"{{{hidden},{told}}}"
        self.desk.heard_line(Q, line.encode())
        self.assertEqual(first_of(self.desk.lines[0].line), json.loads(line))
