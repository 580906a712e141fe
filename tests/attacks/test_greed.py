"""Peers that send too much, and many that read nothing: on real sockets, while an honest link carries tones."""

from __future__ import annotations

from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

from twisted.internet.task import deferLater

from ensemble.errors import RouteError
from ensemble.mesh import KnownPeer, Limits, Policy
from ensemble.mesh.allowance import MALFORMED_AT_ONCE, MALFORMED_PER_SECOND
from ensemble.mesh.limits import KIB, MIB
from ensemble.protocols import StreamWire
from ensemble.tone import encode
from tests.attacks.arena import RealArena, RealHouse, RealRogue, Rogue, reactor
from tests.attacks.scene import NEWS, Scene

LAZY = 100
LIMITS = Limits(queues_bytes=8 * MIB, stranger_tones_per_second=2000, stranger_bytes_per_second=MIB, burst_seconds=1)


class GreedTests(Scene):
    """The victim knows its friend; everybody else is a stranger with a pace, and all queues together have 8 MiB."""

    make_arena = RealArena
    arena: RealArena
    victim: RealHouse
    friend: RealHouse
    limits = LIMITS
    timeout = 100

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.victim.ensemble.judge_again(Policy(level=self.level, known=(KnownPeer(self.friend.ensemble.me),)))

    async def test_a_flood_of_tones(self) -> None:
        """A stranger that floods is read at its pace and loses nothing; the friend's tones pass it by the thousand."""
        rogue = await self.linked()
        assert isinstance(rogue, RealRogue)
        flood = encode({"chi": "x-evil", "to": self.victim.ensemble.me.full})
        begun, at = self.counted("tones.received"), reactor.seconds()
        rogue.say(*[flood] * 20_000)
        await self.arena.until(lambda: self.counted("links.throttled") > 0)
        sent = 5000
        for number in range(sent):
            self.friend.ensemble.route({"chi": NEWS, "n": number, "to": self.victim.ensemble.me.full})
        await self.arena.until(lambda: len(self.of_the_friend()) == sent)
        self.assertEqual(self.of_the_friend(), list(range(sent)))
        evil = self.counted("tones.received") - begun - sent
        chunk = 2**16 // len(flood)  # what is read at once is handled, and owed
        self.assertLessEqual(evil, LIMITS.stranger_tones_per_second * (1 + reactor.seconds() - at) + chunk)
        link = self.victim.ensemble.link_to(rogue.id)
        assert link is not None and link.reading.allowance is not None
        self.assertGreater(link.reading.allowance.throttled, 0)
        friend = self.victim.ensemble.link_to(self.friend.ensemble.me)
        assert friend is not None and friend.reading.allowance is not None
        self.assertEqual(friend.reading.allowance.throttled, 0)
        self.assertFalse(rogue.lost)

    async def test_a_flood_of_lines_that_are_no_tones(self) -> None:
        """Bad lines in one chunk are read at a pace of their own; the friend's tones and the rogue's own pass."""
        rogue = await self.linked()
        assert isinstance(rogue, RealRogue)
        begun, at = self.counted("tones.received"), reactor.seconds()
        rogue.say(*[b"x"] * 4000, {"chi": "x-evil"})
        await self.arena.until(lambda: self.counted("links.throttled") > 0)
        self.assertLess(self.counted("tones.malformed"), 4000)
        self.friend.ensemble.route({"chi": NEWS, "n": 1, "to": self.victim.ensemble.me.full})
        await self.arena.until(lambda: len(self.of_the_friend()) == 1)
        paid = MALFORMED_AT_ONCE + MALFORMED_PER_SECOND * (reactor.seconds() - at)
        self.assertLessEqual(self.counted("tones.malformed"), paid + 1)
        await self.arena.until(lambda: self.counted("tones.received") == begun + 2)
        self.assertEqual(self.counted("tones.malformed"), 4000)
        self.assertFalse(rogue.lost)

    async def test_a_hundred_that_read_nothing(self) -> None:
        """Of a hundred peers that read nothing the greediest go, and only as many as must; the friend's tones flow."""
        lazy = [await self.linked() for _ in range(LAZY)]
        for rogue in lazy:
            rogue.stop_reading()
            self.narrow(rogue)
        line = "x" * (16 * KIB)
        for _ in range(40):
            for rogue in lazy[:50]:
                self.write(rogue, line)
            self.assertLessEqual(self.queued(), LIMITS.queues_bytes + LAZY * 64 * KIB)
            await deferLater(reactor, 0)  # the end of a turn, at which queues are flushed
        shed = self.counted("links.shed")
        self.assertGreater(shed, 0)
        self.assertEqual(self.counted("peers.lost"), shed)
        kept = [rogue for rogue in lazy if self.victim.ensemble.linked(rogue.id)]
        self.assertEqual(len(kept), LAZY - shed)
        self.assertLessEqual({rogue.id for rogue in lazy[50:]}, {rogue.id for rogue in kept})
        self.assertTrue(self.victim.ensemble.linked(self.friend.ensemble.me))
        sent = 200
        for number in range(sent):
            self.friend.ensemble.route({"chi": NEWS, "n": number, "to": self.victim.ensemble.me.full})
        await self.arena.until(lambda: len(self.of_the_friend()) == sent)
        self.assertEqual(self.of_the_friend(), list(range(sent)))

    def write(self, rogue: Rogue, text: str) -> None:
        try:
            self.victim.ensemble.route({"chi": "x", "to": rogue.id.full, "s": text})
        except RouteError:
            pass  # it was shed, or its queue is full

    def narrow(self, rogue: Rogue) -> None:
        """Give the system little room for what a peer does not read: it would else take megabytes itself."""
        link = self.victim.ensemble.link_to(rogue.id)
        assert isinstance(rogue, RealRogue) and link is not None and isinstance(link.wire, StreamWire)
        rogue.transport.socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 32 * KIB)  # type: ignore[union-attr]
        link.wire.transport.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 32 * KIB)

    def queued(self) -> int:
        """Bytes in the queues of all links of the victim."""
        return sum(link.queued for link in self.victim.ensemble._links)

    def of_the_friend(self) -> list[int]:
        """The numbers that the bee got from the friend."""
        return [tone["n"] for tone in self.to_the_bee if tone["chi"] == NEWS]


del Scene
