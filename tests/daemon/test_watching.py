"""The verb ``tap``: tones as they arrive, for who looks on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import evolve

from ensemble.daemon.control import TAPS
from ensemble.mesh import TAP_TONES
from ensemble.mesh.limits import UNPACED
from ensemble.tone import encode
from tests.daemon.asking import ControlTestCase
from tests.daemon.memory import settle


class TapTests(ControlTestCase):
    """``tap``."""

    limits = UNPACED  # or the many tones of a stranger would come as slowly as they should

    def setUp(self) -> None:
        super().setUp()
        self.join(self.two, self.one)

    def route(self, **tone: Any) -> None:
        self.two.ensemble.route({"to": self.one.me.full, **tone})
        settle(self.reactor)

    def test_shows_tones(self) -> None:
        """Every tone that arrives is shown as it is, and is taken from nobody."""
        self.assertEqual(self.asks.ask("tap"), {"ok": True})
        self.route(chi="pulse", kind="x")
        (shown,) = self.asks.heard()
        self.assertEqual(
            shown, {"tone": {"chi": "pulse", "kind": "x", "to": self.one.me.full, "from": self.two.me.full}}
        )
        self.assertEqual(self.one.routes.counters["replies.unmatched"], 1)

    def test_wanted_only(self) -> None:
        """With chi and peer only those tones are shown."""
        mine, other, chi = self.asks, self.asker(self.one), self.asker(self.one)
        mine.ask("tap", peer=self.two.me.full)
        other.ask("tap", peer="11" * 32)
        chi.ask("tap", chi=["chunk"])
        self.route(chi="pulse")
        self.route(chi="chunk")
        self.assertEqual([shown["tone"]["chi"] for shown in mine.heard()], ["pulse", "chunk"])
        self.assertEqual(other.heard(), [])
        self.assertEqual([shown["tone"]["chi"] for shown in chi.heard()], ["chunk"])

    def test_whose_link_it_was(self) -> None:
        """What a peer says in another's name, as gossip may, is not shown as that other's."""
        mine, other = self.asks, self.asker(self.one)
        mine.ask("tap", peer=self.two.me.full)
        other.ask("tap", peer="11" * 32)
        gossip = {"chi": "gossip-publish", "from": "humd_" + "11" * 32, "topic": "x", "payload": "y"}
        self.two.ensemble.send(self.one.me, encode(gossip))
        settle(self.reactor)
        self.assertEqual([shown["tone"] for shown in mine.heard()], [gossip])
        self.assertEqual(other.heard(), [])

    def test_deepest_tone(self) -> None:
        """A tone as deep as a line may be is shown too."""
        deep: list[Any] = []
        for _ in range(125):
            deep = [deep]
        self.asks.ask("tap")
        self.route(chi="pulse", deep=deep)
        (line,) = self.asks.sink.lines
        self.assertEqual(json.loads(line)["tone"]["deep"], deep)

    def test_lost(self) -> None:
        """A reader that falls behind is told how many tones it lost, and gets the latest."""
        self.asks.ask("tap")
        (session,) = self.one.control.sessions
        session.wire_full()
        for number in range(TAP_TONES + 50):
            self.route(chi="pulse", number=number, text="x" * 50_000)
        session.wire_drained()
        settle(self.reactor)
        shown = self.asks.heard()
        lost = sum(line.get("lost", 0) for line in shown)
        tones = [line["tone"]["number"] for line in shown if "tone" in line]
        self.assertGreater(lost, 0)
        self.assertEqual(len(tones) + lost, TAP_TONES + 50)
        self.assertEqual(tones[-1], TAP_TONES + 49)

    def test_ends_with_the_connection(self) -> None:
        """When its reader goes, the tap is gone; what it said meanwhile is not a request."""
        self.asks.ask("tap")
        self.asks.say({"do": "status"})
        self.assertEqual(self.asks.heard(), [])
        self.asks.near.close()
        settle(self.reactor)
        self.assertEqual(self.one.control.taps, 0)
        self.route(chi="pulse")

    def test_ends_while_behind(self) -> None:
        """A reader that goes while it is behind leaves nothing waiting."""
        self.asks.ask("tap")
        (session,) = self.one.control.sessions
        session.wire_full()
        for _ in range(3):
            self.route(chi="pulse", text="x" * 3_000_000)
        self.asks.near.abort()
        settle(self.reactor)
        self.assertEqual(self.one.control.taps, 0)

    def test_too_many(self) -> None:
        """The ninth tap is refused, and does not disturb the others."""
        for _ in range(TAPS):
            self.assertEqual(self.asker(self.one).ask("tap"), {"ok": True})
        self.assertEqual(self.refused(do="tap"), "queue.full")
        self.assertTrue(self.asks.ask("status")["ok"])

    def test_a_bug_ends_it(self) -> None:
        """A tap that dies is a traceback in the log, and the end of its reader's connection."""
        shows: Callable[[Any], Any] = self.one.control.verbs["tap"]
        self.one.control.verbs = {"tap": lambda request: evolve(shows(request), wanted=lambda tone: tone["nothing"])}
        self.asks.ask("tap")
        self.route(chi="pulse")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertIn("wire_lost", self.asks.sink.events)
        self.assertEqual(self.one.control.taps, 0)
