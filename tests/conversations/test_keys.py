"""Which of its keys decides whose answer a reply is: the table in ``docs/delivery.rst``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.conversations.desk import ME, Desk, P

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
                for to in ({}, {"to": ME.full}):
                    [(asker, _)] = self.desk(to=P.full).heard(P, chi, **keys, **to)
                    self.assertEqual(asker, ASKERS[key], (chi, keys, to))

    def test_from_a_bee(self) -> None:
        """So does one of a local program, in an order of its own; a key that nobody asked under is passed over."""
        for chi, order in FROM_A_BEE.items():
            for first, key in enumerate(order):
                keys = {name: KEYS[name] for name in order[first:]}
                for more in ({}, dict.fromkeys(order[:first], "unknown")):
                    [(asker, _)] = self.desk().said("bee", chi, **keys, **more)
                    self.assertEqual(asker, ASKERS[key], (chi, keys, more))
