"""A stream wire on a string, and what its tests share."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import LineBudget, StreamWire
from tests.protocols.recording import RecordingSink

DONE = Failure(ConnectionDone())


class StreamWireCase(SynchronousTestCase):
    """A wire, its transport, its sink and its clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.sink = RecordingSink()

    def wire(self, start: bool = True, budget: LineBudget | None = None, max_line: int = 100) -> StreamWire:
        wire = StreamWire(self.clock, budget=budget, max_line=max_line)
        wire.makeConnection(self.transport)
        if start:
            wire.start(self.sink)
        return wire

    def assertNoTimers(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
