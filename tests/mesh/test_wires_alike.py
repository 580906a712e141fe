"""What a user of the mesh sees is the same on memory wires, on real TCP and over TLS: one body, all wires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ensemble.errors import LinkRefused, UnknownPeer
from ensemble.identity import Hint, HumdAddr, HumdId, Use, signed_bytes
from ensemble.interfaces import IWire
from ensemble.mesh import Dialler, Ensemble, KnownPeer, Policy
from ensemble.protocols import InMemoryEndpoint, Level, PeerCapabilities
from tests.attacks.arena import Humd, MemoryArena, RealArena, RealHouse, reactor
from tests.attacks.tls_arena import TlsArena

Dial = Callable[[Hint, HumdAddr], "Deferred[IWire]"]


class MemoryWires(MemoryArena):
    """Also dials: a hint names a house."""

    refused = "handshake.not-admitted"

    def __init__(self) -> None:
        super().__init__()
        self.clock: Any = self.world.clock
        self.known: dict[HumdId, Ensemble] = {}

    def dial_of(self, house: Humd) -> Dial:
        """How this house dials."""

        def dial(hint: Hint, addr: HumdAddr) -> Deferred[IWire]:
            there = self.known[addr.id]
            near, far = InMemoryEndpoint.pair(house.ensemble.me, None, addr.id, None, self.clock)
            far.peer = None
            there.install(far).addErrback(lambda failure: failure.trap(LinkRefused) and None)
            dialled: Deferred[IWire] = Deferred()
            dialled.callback(near)
            return dialled

        return dial

    def row(self, house: Humd) -> KnownPeer:
        """How others find this house."""
        self.known[house.ensemble.me] = house.ensemble
        return KnownPeer(house.ensemble.me, ("tcp:memory:1",))

    async def later(self, holds: Callable[[], Any]) -> None:
        """Something that takes a second or two."""
        self.world.advance(3)
        await self.until(holds)


class RealWires(RealArena):
    """Dials over loopback."""

    clock = reactor
    refused = "handshake.not-admitted"

    def dial_of(self, house: Humd) -> Dial:
        assert isinstance(house, RealHouse)
        return house.transport.dial

    def row(self, house: Humd) -> KnownPeer:
        assert isinstance(house, RealHouse)
        return KnownPeer(house.ensemble.me, house.addr.hints)

    async def later(self, holds: Callable[[], Any]) -> None:
        await self.until(holds)


class TlsWires(TlsArena, RealWires):
    """Dials over TLS, where a certificate is refused before any hello."""

    refused = "tls.leaf"


class Alike(TestCase):
    """Two humds, and what happens to their link."""

    timeout = 30
    make: type[MemoryWires] | type[RealWires]

    async def setUp(self) -> None:  # type: ignore[override]
        self.arena = type(self).make()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.arena.close()))
        self.a, self.b = self.arena.house(), self.arena.house()
        self.changes: list[tuple[str, bool]] = []
        self.a.ensemble.watch(lambda peer, up: self.changes.append(("a", up)))
        self.b.ensemble.watch(lambda peer, up: self.changes.append(("b", up)))

    def dialler(self, house: Humd, *others: Humd) -> Dialler:
        """Keeps the others linked, until the end of the test."""
        dial = self.arena.dial_of(house)
        dialler = Dialler(house.ensemble, {"tcp": dial, "tls": dial}, self.arena.clock, lambda: 0.0)
        dialler.set_peers([self.arena.row(other) for other in others])
        dialler.startService()
        self.addCleanup(dialler.stopService)
        return dialler

    def linked(self) -> bool:
        """Both sides say so."""
        a, b = self.a.ensemble, self.b.ensemble
        return a.linked(b.me) and b.linked(a.me)

    async def one_way(self, sender: Humd, receiver: Humd, count: int = 100) -> None:
        """Tones arrive once each, in order, as what they are."""
        tap = receiver.ensemble.subscribe()
        for number in range(count):
            sender.ensemble.route({"chi": "perf-mark", "n": number, "to": receiver.ensemble.me.full})
        await self.arena.until(lambda: len(tap._lines) >= count)
        tones = [await tap.get() for _ in range(count)]
        self.assertEqual([tone["n"] for tone in tones], list(range(count)))
        self.assertEqual({tone["from"] for tone in tones}, {sender.ensemble.me.full})
        self.assertEqual({tone["to"] for tone in tones}, {receiver.ensemble.me.full})
        tap.close()

    async def test_link_and_route_both_ways(self) -> None:
        """A link comes up proven on both sides, with what each says of itself, and carries tones both ways."""
        self.b.ensemble.capabilities = PeerCapabilities(nests=("claude-cli",))
        await self.arena.link(self.a, self.b)
        self.assertTrue(self.linked())
        for one, other in ((self.a, self.b), (self.b, self.a)):
            link = one.ensemble.link_to(other.ensemble.me)
            assert link is not None and link.shaken is not None
            self.assertIs(link.shaken.level, Level.PROVEN)
            await self.one_way(one, other)
        known = self.a.ensemble.peer_caps(self.b.ensemble.me)
        assert known is not None
        self.assertEqual(known.nests, ("claude-cli",))
        self.assertEqual(sorted(self.changes), [("a", True), ("b", True)])

    async def test_news_and_tones(self) -> None:
        """News to all and tones to one, over many turns and more than the wires take at once: in order, each once."""
        others = [self.b, self.arena.house()]
        for other in others:
            await self.arena.link(self.a, other)
        taps = [other.ensemble.subscribe() for other in others]
        wanted: list[list[int]] = [[], []]
        news = {"chi": "gossip-publish", "from": self.a.ensemble.me.full}
        number = 0
        for turn in range(50):
            count, text = (1, "x" * 300_000) if turn % 2 else (turn % 3, "")
            for _ in range(count):
                number += 1
                self.assertEqual(self.a.ensemble.broadcast({**news, "n": number, "s": text}), [])
                for numbers in wanted:
                    numbers.append(number)
            if turn % 5 == 0:
                number += 1
                self.a.ensemble.route({"chi": "perf-mark", "n": number, "to": others[1].ensemble.me.full})
                wanted[1].append(number)
            self.a.ensemble.turn._flush()
        await self.arena.until(lambda: [len(tap._lines) for tap in taps] == [len(numbers) for numbers in wanted])
        for numbers, tap in zip(wanted, taps, strict=True):
            self.assertEqual([(await tap.get())["n"] for _ in numbers], numbers)
            tap.close()

    async def test_long_tones(self) -> None:
        """A tone of megabytes crosses whole, and delays nothing for good."""
        await self.arena.link(self.a, self.b)
        tap = self.b.ensemble.subscribe()
        self.a.ensemble.route({"chi": "x", "s": "x" * 3_000_000, "to": self.b.ensemble.me.full})
        await self.arena.until(lambda: tap._lines)
        self.assertEqual(len((await tap.get())["s"]), 3_000_000)
        await self.one_way(self.b, self.a)

    async def test_goodbye(self) -> None:
        """A removed peer is gone on both sides, after all that was said before, and is not found any more."""
        await self.arena.link(self.a, self.b)
        tap = self.b.ensemble.subscribe()
        for number in range(50):
            self.a.ensemble.route({"chi": "x", "n": number, "to": self.b.ensemble.me.full})
        self.a.ensemble.remove_peer(self.b.ensemble.me)
        await self.arena.until(lambda: not self.a.ensemble._links and not self.b.ensemble._links)
        self.assertEqual([(await tap.get())["n"] for _ in range(50)], list(range(50)))
        self.assertEqual((self.a.ensemble.peers(), self.b.ensemble.peers()), ([], []))
        self.assertRaises(UnknownPeer, self.a.ensemble.route, {"chi": "x", "to": self.b.ensemble.me.full})
        self.assertEqual(sorted(self.changes), [("a", False), ("a", True), ("b", False), ("b", True)])

    async def test_redial_after_a_loss(self) -> None:
        """A configured peer whose link breaks is linked again, and tones flow as before."""
        self.dialler(self.a, self.b)
        await self.arena.until(self.linked)
        link = self.a.ensemble.link_to(self.b.ensemble.me)
        assert link is not None
        link.abort()
        await self.arena.until(lambda: ("a", False) in self.changes)
        await self.arena.later(self.linked)
        self.assertEqual([up for who, up in self.changes if who == "a"], [True, False, True])
        await self.one_way(self.a, self.b)
        await self.one_way(self.b, self.a)

    async def test_crossed_dials(self) -> None:
        """Two humds that dial each other at once end with one link, tell no loss, and lose and double no tone."""
        taps = self.a.ensemble.subscribe(), self.b.ensemble.subscribe()
        self.arena.row(self.a)
        self.arena.row(self.b)
        self.dialler(self.a, self.b)
        self.dialler(self.b, self.a)
        sent = 0
        while sent < 200:
            if self.linked():
                for one, other in ((self.a, self.b), (self.b, self.a)):
                    one.ensemble.route({"chi": "x", "n": sent, "to": other.ensemble.me.full})
                sent += 1
            await self.arena.until(lambda: self.linked())
        await self.arena.until(lambda: all(len(tap._lines) >= 200 for tap in taps))
        for tap in taps:
            self.assertEqual([(await tap.get())["n"] for _ in range(200)], list(range(200)))
        await self.arena.until(lambda: len(self.a.ensemble._links) == len(self.b.ensemble._links) == 1)
        self.assertEqual(sorted(self.changes), [("a", True), ("b", True)])
        await self.one_way(self.a, self.b)

    async def test_a_plain_peer(self) -> None:
        """A 0.7.0 peer that signs is linked at the level that admits it, its first tone before its hello included."""
        old = self.arena.house(policy=Policy(level=Level.SIGNED))
        rogue = await self.arena.rogue(old)
        key = self.a.ensemble.key
        assert key is not None
        me, at = key.humd_id(), self.arena.now_ms()
        tap = old.ensemble.subscribe()
        hello: dict[str, Any] = {
            "chi": "hello",
            "rid": "h",
            "from": me.full,
            "humd_id": me.full,
            "proto_version": "0.7.0",
        }
        hello |= {"pubkey": key.public.hex(), "signed_at": at, "nests": [], "hosts": [], "can_relay": False}
        hello |= {"signature": key.sign(signed_bytes(Use.HANDSHAKE, me.full, str(at))).hex()}
        rogue.say({"chi": "perf-mark", "n": 1}, hello, {"chi": "perf-mark", "n": 2})
        await self.arena.until(lambda: old.ensemble.linked(me) and len(tap._lines) == 2)
        self.assertEqual([(await tap.get())["n"] for _ in range(2)], [1, 2])
        old.ensemble.route({"chi": "perf-mark", "n": 3, "to": me.full})
        await self.arena.until(lambda: len(rogue.lines) == 2)
        self.assertEqual([tone["chi"] for tone in rogue.heard], ["hello", "perf-mark"])
        rogue.leave()
        await self.arena.until(lambda: not old.ensemble.linked(me))

    async def test_not_admitted(self) -> None:
        """Who has no row where rows are wanted is cut off without a word, and both sides say why in their own way."""
        strict = self.arena.house(policy=Policy(admit_any=False))
        row = self.arena.row(strict)
        wire = await self.arena.dial_of(self.a)(row.parsed_hints()[0], HumdAddr(strict.ensemble.me, row.hints))
        done = self.a.ensemble.install(wire)
        outcome: list[Any] = []
        done.addBoth(outcome.append)
        await self.arena.until(lambda: outcome)
        outcome[0].trap(LinkRefused)
        self.assertEqual(strict.ensemble.counters[self.arena.refused], 1)
        self.assertEqual((self.a.ensemble.peers(), strict.ensemble.peers()), ([], []))


class MemoryAlikeTests(Alike):
    """On one clock, in memory."""

    make = MemoryWires


class RealAlikeTests(Alike):
    """On the reactor, over loopback."""

    make = RealWires


class TlsAlikeTests(Alike):
    """On the reactor, inside TLS."""

    make = TlsWires


del Alike
