"""The daemon's end of a client's wire, for tests."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import InMemoryEndpoint, Turn
from ensemble.testing import World
from ensemble.thrum import MAX_LINE
from ensemble.thrum.client import Stream, ThrumClient
from ensemble.tone import encode
from tests.mesh.plain_peer import Ear


class DaemonTestCase(SynchronousTestCase):
    """A client on a memory wire, whose other end is the test's."""

    def setUp(self) -> None:
        self.world = World()
        me = self.world.key().humd_id()
        self.near, self.far = InMemoryEndpoint.pair(me, None, me, None, self.world.clock)
        self.daemon, self.far.max_line = Ear(), MAX_LINE
        self.far.start(self.daemon)
        self.client = ThrumClient(self.near, Turn(self.world.clock), lambda: 1)
        self.client.start()

    def say(self, *tones: dict[str, Any] | bytes) -> None:
        """What the daemon sends."""
        self.far.write([tone if isinstance(tone, bytes) else encode(tone) for tone in tones])
        self.world.settle()

    def read(self, stream: Stream) -> Deferred[list[dict[str, Any]]]:
        """Begin to read all that a stream says until it ends."""

        async def collect() -> list[dict[str, Any]]:
            return [tone async for tone in stream]

        return Deferred.fromCoroutine(collect())

    def next_of(self, stream: Stream) -> Deferred[dict[str, Any]]:
        """Begin to read one tone."""
        return Deferred.fromCoroutine(stream.__anext__())

    def drained(self) -> Deferred[None]:
        """Begin to wait for room."""
        return Deferred.fromCoroutine(self.client.drained())
