"""What `ensemble.protocols.porch` promises: who comes is counted, waits where it must, and has its turn."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import Porch
from ensemble.protocols.share import BURST_SECONDS, FLOW_BYTES
from ensemble.protocols.stream import StreamWire


class Guests:
    """A host that writes down what it is told."""

    def __init__(self) -> None:
        self.here: list[Any] = []

    def has_room(self, address: str) -> bool:
        return address != "192.0.2.9"

    def came(self, wire: Any) -> None:
        self.here.append(wire)

    def gone(self, wire: Any) -> None:
        self.here.remove(wire)


class PorchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.host = Clock(), Guests()
        self.porch = Porch(self.clock, self.host, traffic=self.traffic, handshake_percent=50)
        self.begun: list[str] = []
        self.cost = 0.0  # seconds of each handshake
        self.wires: dict[str, Any] = {}
        self.porch.work(lambda: None)  # the first look at the traffic
        self.clock.advance(1)

    def traffic(self) -> int:
        """Tones flow for as long as this test is about that."""
        return FLOW_BYTES

    def spend(self, seconds: float) -> None:
        """As time passes while we work: no timer fires meanwhile."""
        self.clock.rightNow += seconds

    def come(self, name: str, address: str = "192.0.2.1") -> Any:
        """:returns: what makes it go."""
        wire = self.wires[name] = StreamWire(self.clock)
        wire.address = address

        def shake() -> None:
            self.begun.append(name)
            self.spend(self.cost)

        self.porch.enter(wire, shake)
        return lambda: self.porch.leave(wire, shake)

    def test_no_waiting(self) -> None:
        """Where there is time nobody waits but for the reactor, and then no timer runs."""
        self.come("a")
        self.come("b")
        self.clock.advance(0)
        self.assertEqual((self.begun, len(self.porch)), (["a", "b"], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.host.here, list(self.wires.values()))

    def test_turns(self) -> None:
        """What was spent is earned back first; then one begins at a time, each address in its turn."""
        self.porch.work(lambda: self.spend(BURST_SECONDS + 0.5))
        for name, address in (("a1", "192.0.2.1"), ("a2", "192.0.2.1"), ("b1", "192.0.2.2")):
            self.come(name, address)
        self.assertEqual((self.begun, len(self.porch), len(self.host.here)), ([], 3, 3))
        self.cost = 0.1
        self.clock.pump([0.0, 0.5, 0.49])
        self.assertEqual(self.begun, [])
        self.clock.advance(0.02)
        self.assertEqual(self.begun, ["a1"])
        self.come("c1", "192.0.2.3")
        self.clock.advance(0.05)
        self.assertEqual(self.begun, ["a1"])
        self.clock.pump([0.1, 0.2, 0.2])
        self.assertEqual(self.begun, ["a1", "c1", "b1", "a2"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_was_before(self) -> None:
        """What a piece of work had cost before we were asked is earned back like the rest of it."""
        self.porch.work(lambda: self.spend(BURST_SECONDS), 0.5)
        self.come("a")
        self.clock.pump([0.0, 0.5, 0.49])
        self.assertEqual(self.begun, [])
        self.clock.advance(0.02)
        self.assertEqual(self.begun, ["a"])

    def test_every_other_turn(self) -> None:
        """Those that go on and those that begin have one turn each; the oldest of either first."""
        for name in "abc":
            self.come(name)
            self.porch.again(self.wires[name], partial(self.begun.append, name.upper()))
        self.clock.pump([0.0] * 6)
        self.assertEqual(self.begun, ["A", "a", "B", "b", "C", "c"])
        for name in "def":
            self.porch.again(self.wires["a"], partial(self.begun.append, name))
        self.clock.pump([0.0] * 3)
        self.assertEqual((self.begun[6:], self.clock.getDelayedCalls()), (["d", "e", "f"], []))

    def test_one_bug_stops_nobody(self) -> None:
        """Where one handshake dies at its beginning the reactor is told, and the next has its turn all the same."""

        def broken() -> None:
            raise RuntimeError("a bug")

        self.porch.enter(StreamWire(self.clock), broken)
        self.come("b")
        self.assertRaises(RuntimeError, self.clock.advance, 0)
        self.clock.advance(0)
        self.assertEqual((self.begun, self.clock.getDelayedCalls()), (["b"], []))

    def test_gone(self) -> None:
        """Who leaves has no turn and is counted no more; the last to leave takes the timer along."""
        self.porch.work(lambda: self.spend(1.0))
        leave = [self.come(name) for name in "ab"]
        leave[0]()
        self.assertEqual((len(self.porch), self.host.here), (1, [self.wires["b"]]))
        leave[1]()
        self.assertEqual((len(self.porch), self.host.here, self.clock.getDelayedCalls()), (0, [], []))

    def test_room(self) -> None:
        """It is the host who says whether there is room; without one there is."""
        self.assertEqual([self.porch.has_room(f"192.0.2.{last}") for last in (8, 9)], [True, False])
        self.assertTrue(Porch(self.clock).has_room("192.0.2.9"))
