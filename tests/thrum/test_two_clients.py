"""Two programs that ask in the same millisecond, and so mint the same rids."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ensemble.testing import House, World
from ensemble.thrum.client import Stream, ThrumClient
from ensemble.tone import Envelope, decode


async def collect(stream: Stream) -> list[dict[str, Any]]:
    """All that a stream says until it ends."""
    return [tone async for tone in stream]


class TwoClientsTests(SynchronousTestCase):
    """Both ask one bee."""

    def setUp(self) -> None:
        self.world = World()
        house = House(self.world)
        self.asked: list[dict[str, Any]] = []
        self.bee: ThrumClient = house.join("bee", bee=["worker", "forager"], models=["m"], tools=[{"name": "t"}])
        self.bee.on_tone = self.heard
        self.askers = [house.join(name) for name in ("a", "b")]

    def heard(self, envelope: Envelope, line: bytes) -> None:
        """What the bee hears."""
        if envelope.chi in ("prompt", "tool-call"):
            self.asked.append(decode(line))

    def both_ask(self, tone: dict[str, Any]) -> list[Deferred[list[dict[str, Any]]]]:
        """Both say this; the bee gets both."""
        streams = [asker.ask(tone) for asker in self.askers]
        self.world.settle()
        rids = [asked["rid"] for asked in self.asked]
        self.assertEqual((len(rids), len(set(rids))), (2, 1))
        return [Deferred.fromCoroutine(collect(stream)) for stream in streams]

    def answer(self, at: int, chi: str, *keys: str) -> None:
        """The bee answers one of them."""
        self.bee.send({"chi": chi, "at": at, **{key: self.asked[at][key] for key in keys}})
        self.world.settle()

    def test_tool_calls(self) -> None:
        """Each call has its own result, whoever's comes first."""
        first, second = self.both_ask({"chi": "tool-call", "toolName": "t"})
        self.answer(1, "tool-result", "rid", "callId")
        self.assertNoResult(first)
        self.assertEqual([tone["at"] for tone in self.successResultOf(second)], [1])
        self.answer(0, "tool-result", "rid", "callId")
        self.assertEqual([tone["at"] for tone in self.successResultOf(first)], [0])

    def test_errors(self) -> None:
        """An error ends the one that it is about."""
        for tone, key in (
            ({"chi": "prompt", "modelId": "m"}, "sid"),
            ({"chi": "tool-call", "toolName": "t"}, "callId"),
        ):
            self.setUp()
            first, second = self.both_ask(tone)
            self.answer(1, "error", "rid", key)
            self.assertNoResult(first)
            self.assertEqual([tone["at"] for tone in self.successResultOf(second)], [1])
            self.answer(0, "error", "rid", key)
            self.assertEqual([tone["at"] for tone in self.successResultOf(first)], [0])
