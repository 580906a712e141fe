"""
The scene of an attack: a humd that is attacked, an honest peer linked to it, an honest bee, and what must not change.

``Scene`` is the part of a test case that both arenas share.  Its bodies are ``async``, its conditions events.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ensemble.identity import HumdKey
from ensemble.mesh import Limits, Policy, Tap
from ensemble.protocols import Level, Role
from ensemble.thrum.client import ThrumClient
from ensemble.tone import Envelope, decode_checked
from tests.attacks.arena import Arena, Humd, MemoryArena, RealArena, Rogue
from tests.protocols.handshaking import End, Humd as Shaker

NEWS = "x-news"
MODEL = "m"
CHIS = [NEWS, "prompt", "chunk", "finish", "tool-call", "tool-result", "error", "hello", "goodbye", "attach", "x-evil"]


class Scene(TestCase):
    """
    :ivar victim: who is attacked.
    :ivar friend: an honest humd that is linked to it, over a link that must not be disturbed.
    :ivar bee: an honest program of the victim, which gets whatever a bee can get.
    """

    timeout = 60
    level = Level.OPEN
    losses = 0  # of links of the attacker's
    limits: Limits | None = None
    make_arena: Callable[[], Arena]

    arena: Arena
    victim: Humd
    friend: Humd
    bee: ThrumClient

    async def setUp(self) -> None:  # type: ignore[override]
        self.arena = type(self).make_arena()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.arena.close()))
        self.numbers = count(1)
        self.to_the_bee: list[dict[str, Any]] = []
        self.victim = self.arena.house(policy=Policy(level=self.level), limits=self.limits)
        self.friend = self.arena.house()
        await self.arena.link(self.friend, self.victim)
        self.bee = await self.arena.join(self.victim, "bee", bee=["worker"], models=[MODEL], chis=CHIS)
        self.bee.on_tone = self.bee_heard
        self.tap: Tap = self.victim.ensemble.subscribe()
        self.at_the_friend: Tap = self.friend.ensemble.subscribe()
        await self.all_is_well()

    def bee_heard(self, envelope: Envelope, line: bytes) -> None:
        """Breaths are not for anybody."""
        if envelope.chi != "breath":
            self.to_the_bee.append(decode_checked(line))

    # what must hold after an attack

    async def all_is_well(self) -> None:
        """The friend's link still carries tones both ways, each once and nothing between them; the bee is there."""
        number = next(self.numbers)
        before = len(self.to_the_bee)
        self.friend.ensemble.route({"chi": NEWS, "n": number, "to": self.victim.ensemble.me.full})
        self.victim.ensemble.route({"chi": NEWS, "n": number, "to": self.friend.ensemble.me.full})
        await self.arena.until(lambda: len(self.to_the_bee) > before)
        self.assertEqual([self.to_the_bee.pop()["n"] for _ in self.to_the_bee[before:]], [number])
        tones = [await tap.get() for tap in (self.tap, self.at_the_friend)]
        self.assertEqual([tone["n"] for tone in tones], [number, number])
        self.assertEqual([tone["from"] for tone in tones], [self.friend.ensemble.me.full, self.victim.ensemble.me.full])
        self.assertEqual(self.victim.ensemble.counters["peers.lost"], self.losses)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def all_is_well_but_the_tap(self) -> None:
        """As `all_is_well`, where the attacker's own tones are good ones, and a tap sees them."""
        self.tap._lines.clear()
        self.tap._size = 0
        await self.all_is_well()

    def nothing_leaked(self) -> None:
        """Not one tone of the attacker reached the bee, a tap, or the friend."""
        self.assertEqual(self.to_the_bee, [])
        for tap in (self.tap, self.at_the_friend):
            self.assertEqual(list(tap._lines), [])

    def counted(self, *counters: str) -> int:
        """The sum of these counters of the victim's mesh."""
        return sum(self.victim.ensemble.counters[counter] for counter in counters)

    # how an attacker begins

    def key(self) -> HumdKey:
        """A fresh one."""
        return HumdKey.generate()

    def dialler(self, key: HumdKey, binding: str = "none") -> End:
        """The handshake of an attacker that dials the victim under an id of its own."""
        return End(Shaker(key).shake(Role.DIALLER, self.victim.ensemble.me, binding=binding))

    async def linked(self, rogue: Rogue | None = None) -> Rogue:
        """An attacker that is a peer: it proved who it is, and misbehaves from now on."""
        rogue = rogue if rogue is not None else await self.arena.rogue(self.victim)
        rogue.key = self.key()
        await self.shake(rogue, self.dialler(rogue.key, rogue.binding))
        await self.arena.until(lambda: self.victim.ensemble.linked(rogue.id))
        return rogue

    async def shake(self, rogue: Rogue, end: End) -> None:
        """An honest dialler's handshake; behind it the attacker has heard nothing."""
        for line in end.start(self.arena.now_ms()):
            rogue.say(line)
        while end.up is None and end.refused is None:
            await self.arena.until(lambda: rogue.lines or rogue.lost)
            if rogue.lost:
                return
            rogue.say(*end.hear(rogue.lines.pop(0), self.arena.now_ms()))

    async def served(self, rogue: Rogue) -> None:
        """Wait until the victim has handled all that a linked attacker said: a forgery more is answered behind it."""
        rid = f"barrier-{next(self.numbers)}"
        rogue.say({"chi": "x", "rid": rid, "from": self.friend.ensemble.me.full})
        mark = rid.encode()
        await self.arena.until(lambda: rogue.lost or any(mark in line for line in rogue.lines))
        self.victim.ensemble.counters["tones.refused.from.forged"] -= 1
        rogue.lines = [line for line in rogue.lines if mark not in line]


def in_both(*bodies: type[Scene]) -> dict[str, type[Scene]]:
    """For each of these, a test case on memory wires and one on real sockets, by their names."""
    return on(*bodies, Memory=MemoryArena, Real=RealArena)


def on(*bodies: type[Scene], **arenas: type[Any]) -> dict[str, type[Scene]]:
    """For each of these, a test case in each of these arenas, by their names."""
    made: dict[str, type[Scene]] = {}
    for body in bodies:
        for word, arena in arenas.items():
            name = f"{word}{body.__name__}Tests"
            made[name] = type(
                name, (body,), {"make_arena": arena, "__module__": body.__module__, "__doc__": body.__doc__}
            )
    return made
