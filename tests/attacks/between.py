"""The scene with an attacker between two humds: what `test_network` and `test_cuts` share."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ensemble.mesh import Dialler, KnownPeer, Policy, Tap
from ensemble.protocols import Level, Turn
from ensemble.thrum.client import ThrumClient
from tests.attacks.arena import RealArena, RealHouse, reactor
from tests.attacks.network import Middle
from tests.attacks.scene import MODEL, Scene

MARK = "perf-mark"  # taps see it, bees do not


class Between(Scene):
    """
    Alice keeps a link to the victim, which is Bob, through the attacker's port.

    :ivar clock: Alice's, for redials and liveness; it moves when a test says so.
    """

    level = Level.PROVEN
    arena: RealArena
    victim: RealHouse

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.bob = self.victim
        self.middle = self.between(self.bob.port)
        self.alice, self.clock, self.dialler_of_alice = self.dials(self.middle)
        self.at_alice: Tap = self.alice.ensemble.subscribe()

    def between(self, port: int) -> Middle:
        """An attacker in front of this port, until the test ends."""
        middle = Middle(port)
        self.addCleanup(lambda: Deferred.fromCoroutine(middle.close()))
        return middle

    def dials(self, middle: Middle) -> tuple[RealHouse, Clock, Dialler]:
        """A humd that dials Bob there."""
        clock = Clock()
        house = self.arena.house(clock=clock, turn=Turn(reactor), policy=Policy(level=Level.PROVEN))
        scheme = self.bob.addr.hints[0].partition(":")[0]
        row = KnownPeer(self.bob.ensemble.me, (f"{scheme}:127.0.0.1:{middle.port}",))
        dial = house.transport.dial
        dialler = Dialler(house.ensemble, {scheme: dial}, clock, lambda: 0.0)
        dialler.set_peers([row])
        self.addCleanup(dialler.stopService)
        return house, clock, dialler

    async def both_linked(self, house: RealHouse) -> None:
        """Both sides say so."""
        one, two = house.ensemble, self.bob.ensemble
        await self.arena.until(lambda: one.linked(two.me) and two.linked(one.me))

    async def begin(self) -> None:
        """Let Alice link."""
        self.dialler_of_alice.startService()
        await self.both_linked(self.alice)

    async def linked_again(self, connections: int = 2) -> None:
        """The link was lost, and a redial brings it back."""
        await self.arena.until(lambda: not self.alice.ensemble.linked(self.bob.ensemble.me))
        await self.arena.until(lambda: self.bob.ensemble.counters["peers.lost"] == self.losses + 1)
        self.losses += 1
        self.clock.advance(60)
        await self.both_linked(self.alice)
        self.assertEqual(len(self.middle.connections), connections)
        await self.flows()

    def say(self, *numbers: int, house: RealHouse | None = None) -> None:
        """Alice, or another, says so many tones to Bob."""
        for number in numbers:
            (house or self.alice).ensemble.route({"chi": MARK, "n": number, "to": self.bob.ensemble.me.full})

    def answer(self, *numbers: int) -> None:
        """Bob says so many to Alice."""
        for number in numbers:
            self.bob.ensemble.route({"chi": MARK, "n": number, "to": self.alice.ensemble.me.full})

    async def heard(self, tap: Tap, *numbers: int) -> None:
        """Exactly these arrived."""
        await self.arena.until(lambda: len(tap._lines) >= len(numbers))
        self.assertEqual([(await tap.get())["n"] for _ in range(len(tap._lines))], list(numbers))

    async def flows(self) -> None:
        """Tones pass both ways, and no others had come; the friend's link is undisturbed."""
        self.say(1000)
        self.answer(1001)
        await self.heard(self.tap, 1000)
        await self.heard(self.at_alice, 1001)
        await self.all_is_well()

    async def prompted(self) -> tuple[ThrumClient, Any]:
        """A program of Alice's waits for Bob's bee."""
        asker = await self.arena.join(self.alice, "asker")
        stream = asker.ask({"chi": "prompt", "sid": "s", "modelId": MODEL, "to": self.bob.ensemble.me.full})
        await self.arena.until(lambda: any(tone["chi"] == "prompt" for tone in self.to_the_bee))
        self.to_the_bee.clear()
        await self.tap.get()
        return asker, stream
