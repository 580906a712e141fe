"""The pings of a link: those that are due, where the timer fires late or the ping leaves late, and those of a probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.mesh.pulse import ASK_AGAIN_SECONDS, Pulse
from ensemble.protocols import DEADLINES
from ensemble.tone import Envelope

IDLE, PATIENCE = DEADLINES.ping_after_seconds, DEADLINES.gone_after_seconds


class PulseTestCase(SynchronousTestCase):
    """A link on which nothing is heard, and whose wire takes what is said at once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said: list[Mapping[str, Any]] = []
        self.queued: list[Callable[[], None]] | None = None  # told of what the wire takes; None: it takes all at once
        self.gone: list[str] = []
        self.pulse = Pulse(
            self.clock,
            lambda: int(self.clock.seconds() * 1000),
            True,
            self.said.append,
            lambda taken: taken() if self.queued is None else self.queued.append(taken),
            self.gone.append,
            lambda: None,
            DEADLINES,
        )


class LateTests(PulseTestCase):
    """The process was stopped, the machine slept, or something took long."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.pump([1.0] * int(IDLE + PATIENCE - 1))
        self.assertEqual([tone["chi"] for tone in self.said], ["ping"])

    def stop(self, seconds: float, answered: bool) -> None:
        """For so long, a second before the end of our patience; the answer is read behind the timers that are due."""
        if answered:
            self.clock.callLater(seconds - 0.5, self.pulse.heard)
        self.clock.advance(seconds)

    def test_answered(self) -> None:
        """What has come meanwhile is read before it is judged."""
        self.stop(20, answered=True)
        self.assertEqual(self.gone, [])
        self.clock.advance(IDLE)
        self.assertEqual(len(self.said), 2)

    def test_silent(self) -> None:
        """Where nothing has, the peer is gone in the same turn."""
        self.stop(20, answered=False)
        self.assertEqual(self.gone, [f"no answer to a ping within {PATIENCE + 19:.1f} s"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_long(self) -> None:
        """After a longer time than that the peer has given us up, whatever it had said before."""
        self.stop(PATIENCE + 2, answered=True)
        self.assertEqual(len(self.gone), 1)

    def test_how_late(self) -> None:
        """A second tells; what is less is the reactor's usual."""
        for seconds, gone in ((2.2, 0), (1.8, 1)):
            self.setUp()
            self.stop(seconds, answered=True)
            self.assertEqual(len(self.gone), gone, seconds)

    def test_busy(self) -> None:
        """Who is busy all the time waits for one more turn of the reactor, and then judges."""
        gone: list[int] = []

        def busy() -> None:
            gone.append(len(self.gone))
            self.clock.rightNow += 2.0
            if len(gone) < 3:
                self.clock.callLater(0, busy)

        self.clock.callLater(1.5, busy)
        self.clock.advance(5)
        self.assertEqual(gone, [0, 1, 1])

    def test_link_ends_meanwhile(self) -> None:
        """Who reads may find the end of the link: nothing is judged then."""
        self.clock.callLater(5, self.pulse.stop)
        self.clock.advance(10)
        self.assertEqual((self.gone, self.clock.getDelayedCalls()), ([], []))


class FullWireTests(PulseTestCase):
    """The wire has a ping, and cannot send it."""

    def setUp(self) -> None:
        super().setUp()
        self.pulse.wire_full()
        self.clock.pump([1.0] * int(IDLE + PATIENCE + 1))
        self.assertEqual([tone["chi"] for tone in self.said], ["ping"])

    def test_drained(self) -> None:
        """The peer is asked when the ping leaves: our patience counts from then."""
        self.pulse.wire_drained()
        self.clock.pump([1.0] * int(PATIENCE - 1))
        self.assertEqual(self.gone, [])
        self.clock.advance(1)
        self.assertEqual(self.gone, [f"no answer to a ping within {PATIENCE:.1f} s"])

    def test_room_again(self) -> None:
        """The next ping leaves at once."""
        self.pulse.wire_drained()
        self.pulse.heard()
        self.clock.pump([1.0] * int(IDLE + PATIENCE))
        self.assertEqual((len(self.said), self.gone), (2, [f"no answer to a ping within {PATIENCE:.1f} s"]))

    def test_next_ping(self) -> None:
        """One that waits behind other tones is no question yet, though the wire takes some of those."""
        self.pulse.wire_drained()
        self.pulse.heard()
        self.queued = []
        self.clock.pump([1.0] * int(IDLE))
        self.assertEqual((len(self.said), len(self.queued)), (2, 1))
        self.pulse.wire_full()
        self.pulse.wire_drained()
        self.clock.pump([1.0] * int(PATIENCE + 1))
        self.assertEqual(self.gone, [])

    def test_link_has_ended(self) -> None:
        """Whatever the wire tells of a link that is gone, no timer is left."""
        self.pulse.stop()
        for told in (self.pulse.wire_drained, self.pulse.paused, self.pulse.resumed):
            told()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ProbeTests(PulseTestCase):
    """Somebody wants to know how far the peer is."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(5)
        self.probe = self.pulse.probe()

    def answer(self, ping: int) -> None:
        self.pulse.ponged(Envelope(chi="pong", rid=self.said[ping]["rid"]))

    def test_round_trip(self) -> None:
        """It is counted from the ping, and no pong that nobody asked for changes it."""
        self.clock.advance(0.25)
        self.answer(0)
        self.successResultOf(self.probe)
        self.clock.advance(1)
        for rid in (None, self.said[0]["rid"]):
            self.pulse.ponged(Envelope(chi="pong", rid=rid))
            self.assertEqual(self.pulse.round_trip, 0.25)

    def test_asked_again(self) -> None:
        """Who asks a little later waits for the same pong; where that stays out the next who asks has another sent."""
        self.clock.advance(ASK_AGAIN_SECONDS - 0.5)
        probes = [self.probe, self.pulse.probe()]
        self.assertEqual(len(self.said), 1)
        self.clock.advance(0.5)
        probes.append(self.pulse.probe())
        self.assertEqual(len(self.said), 2)
        self.answer(0)
        for probe in probes:
            self.assertNoResult(probe)
        self.answer(1)
        for probe in probes:
            self.successResultOf(probe)
