"""
An attacker who holds back one of two links that both sides dialled, and ends the other: tones may be lost, but what is
said later is never read first (docs/one-link.rst).
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ensemble.identity import HumdAddr, HumdKey
from ensemble.mesh import Policy
from ensemble.protocols import Level
from tests.attacks.arena import RealArena, RealHouse
from tests.attacks.network import Connection, Middle
from tests.attacks.tls_arena import TlsArena


class Crossed(TestCase):
    """The leader's dial and the follower's go through a port of the attacker each."""

    timeout = 30
    make: type[RealArena]

    def setUp(self) -> None:
        self.arena = self.make()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.arena.close()))
        keys = sorted((HumdKey.generate() for _ in range(2)), key=lambda key: key.humd_id())
        self.leader, self.follower = (self.arena.house(key, policy=Policy(level=Level.PROVEN)) for key in keys)
        self.heard = self.follower.ensemble.subscribe()

    async def dial(self, house: RealHouse, other: RealHouse, held: bool = False) -> Connection:
        """
        Dial until ``house`` has its link.

        :param held: what leaves it from then on does not arrive: its proof, and what it says.
        """
        middle = Middle(other.port)
        self.addCleanup(lambda: Deferred.fromCoroutine(middle.close()))
        if held:
            house.ensemble.watch(lambda peer, up: setattr(middle.last.up, "shut", True))
        scheme = other.addr.hints[0].partition(":")[0]
        address = HumdAddr(other.ensemble.me).with_hint(f"{scheme}:127.0.0.1:{middle.port}")
        await house.ensemble.install(await house.transport.connect(address))
        return middle.last

    def say(self, *numbers: int) -> None:
        """The leader, to the follower."""
        for number in numbers:
            self.leader.ensemble.route({"chi": "perf-mark", "n": number, "to": self.follower.ensemble.me.full})

    async def read(self, *numbers: int) -> None:
        """Exactly these were read, in this order."""
        await self.arena.until(lambda: len(self.heard._lines) >= len(numbers))
        self.assertEqual([(await self.heard.get())["n"] for _ in range(len(self.heard._lines))], list(numbers))

    async def two(self) -> tuple[Connection, Connection]:
        """The follower has both up and does not read the winner; the leader has that one alone, and speaks on it."""
        losing = await self.dial(self.follower, self.leader, held=True)
        winning = await self.dial(self.leader, self.follower)
        await self.arena.until(self.both_up)
        before = len(winning.up.came)
        self.say(1, 2, 3)
        await self.arena.until(lambda: len(winning.up.came) > before)
        return losing, winning

    def both_up(self) -> bool:
        """The follower has two links."""
        known = self.follower.ensemble._members.get(self.leader.ensemble.me)
        return known is not None and len(known.up_links) == 2

    def lost(self) -> bool:
        """The leader has lost its link."""
        return not self.leader.ensemble.linked(self.follower.ensemble.me)

    async def test_held_back(self) -> None:
        """The follower's link comes up when the leader has lost its own: it is refused, and what was said is read."""
        losing, winning = await self.two()
        winning.finish()
        await self.arena.until(self.lost)
        losing.up.open()
        await self.read(1, 2, 3)
        await self.arena.until(lambda: not self.follower.ensemble.linked(self.leader.ensemble.me))
        self.assertEqual(self.leader.ensemble.counters["links.superseded"], 1)
        await self.dial(self.leader, self.follower)
        self.say(4, 5)
        await self.read(4, 5)


class TcpCrossedTests(Crossed):
    make = RealArena


class TlsCrossedTests(Crossed):
    make = TlsArena


del Crossed
