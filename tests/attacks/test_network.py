"""An attacker that controls the network between two humds: what it can read, change and repeat, and what it cannot."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.logger import capturedLogs

from ensemble.errors import LinkRefused
from ensemble.identity import HumdAddr
from ensemble.mesh import Dialler, KnownPeer, Policy
from ensemble.protocols import Level, StreamWire, TcpTransport, TlsTransport
from tests.attacks.arena import RealArena, RealHouse, RealRogue, reactor
from tests.attacks.between import MARK, Between
from tests.attacks.tls_arena import TlsArena, TlsHouse
from tests.protocols.handshaking import changed


class Networks(Between):
    """What holds on plain TCP and over TLS alike."""

    replay_counter: str

    async def test_delays(self) -> None:
        """Whatever is held back, and let go byte by byte, arrives once and in order; the link stays."""
        await self.begin()
        connection = self.middle.last
        connection.up.shut = connection.down.shut = True
        self.say(*range(50))
        self.answer(*range(50))
        await self.arena.until(lambda: len(connection.up.held) > 2000 and len(connection.down.held) > 2000)
        await self.all_is_well()
        for pipe in (connection.up, connection.down):
            data, pipe.held = bytes(pipe.held), bytearray()
            for at in range(len(data)):
                pipe.give(data[at : at + 1])
            pipe.open()
        await self.heard(self.tap, *range(50))
        await self.heard(self.at_alice, *range(50))
        await self.flows()
        self.assertEqual(len(self.middle.connections), 1)

    async def test_drops(self) -> None:
        """A network that swallows everything is noticed within nine seconds by whoever waits, who is told."""
        # When a ping has arrived the system tells in its own time, of which the nine seconds of our clock know nothing.
        self.patch(StreamWire, "arrived", lambda _: None)
        await self.begin()
        _, stream = await self.prompted()
        connection = self.middle.last
        connection.up.shut = connection.down.shut = connection.mute = True
        self.clock.advance(3)  # then a ping
        await self.arena.until(lambda: connection.up.held)
        for _ in range(6):
            self.clock.advance(1)
        await self.arena.until(lambda: stream.untaken)
        tone = await anext(stream)
        self.assertEqual((tone["chi"], tone["qualifier"]), ("error", "peer.lost"))
        self.clock.advance(1)  # Bob still has the old one: the newer replaces it
        await self.arena.until(lambda: self.bob.ensemble.counters["peers.lost"] == 1)
        self.losses = 1
        await self.both_linked(self.alice)
        await self.flows()

    async def test_cuts(self) -> None:
        """A cut in the middle of a line or record, by FIN or reset: half a tone is none, and who waits is told."""
        await self.begin()
        for connections, fin in enumerate((False, True), start=2):
            _, stream = await self.prompted()
            connection = self.middle.last
            pipe = connection.up
            pipe.end = connection.finish if fin else connection.cut
            pipe.left = 700
            said = {"chi": MARK, "to": self.bob.ensemble.me.full, "s": "x" * 600, "n": 1}
            self.alice.ensemble.route(said)
            await self.arena.until(lambda: stream.untaken)  # noqa: B023
            self.assertEqual((await anext(stream))["qualifier"], "peer.lost")
            await self.linked_again(connections)

    async def test_replayed_to_the_listener(self) -> None:
        """All that a dialler said in one session, said again in another, links nobody."""
        await self.begin()
        self.say(1)
        await self.heard(self.tap, 1)
        before = self.bob.ensemble.counters.copy()
        rogue = self.arena.keep(RealRogue())
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.bob.port), rogue)
        rogue.raw(bytes(self.middle.last.up.came))
        await self.arena.until(lambda: rogue.lost)
        self.assertEqual(self.bob.ensemble.counters - before, {self.replay_counter: 1})
        await self.flows()
        self.assertEqual(len(self.middle.connections), 1)

    async def test_replayed_to_the_dialler(self) -> None:
        """All that a listener said in one session, said again in another, links nobody."""
        await self.begin()
        self.answer(1)
        await self.heard(self.at_alice, 1)
        said = bytes(self.middle.last.down.came)

        def replay(connection: Any) -> None:
            def swallow(_: bytes) -> bytes:
                if connection.down.edit is not swallow:
                    connection.down.edit = swallow
                    connection.down.give(said)
                return b""

            connection.up.edit = swallow

        self.middle.began = replay
        self.middle.last.cut()
        await self.arena.until(lambda: not self.alice.ensemble.linked(self.bob.ensemble.me))
        await self.arena.until(lambda: self.bob.ensemble.counters["peers.lost"] == 1)
        self.losses = 1
        self.clock.advance(1)
        await self.arena.until(lambda: self.dialler_of_alice.last_failure(self.bob.ensemble.me))
        self.assertFalse(self.alice.ensemble.linked(self.bob.ensemble.me))
        self.assertEqual(list(self.at_alice._lines), [])
        await self.all_is_well()

    async def test_spliced(self) -> None:
        """Two sessions, one of another peer, cannot be joined so that a tone of one arrives as one of the other."""
        await self.begin()
        middle = self.between(self.bob.port)
        carol, _, dialler = self.dials(middle)
        dialler.startService()
        await self.both_linked(carol)
        one, two = self.middle.last, middle.last
        one.up.out, two.up.out = two.up.out, one.up.out
        self.say(1)
        self.say(2, house=carol)
        await self.spliced_end()
        self.nothing_leaked()
        await self.all_is_well()

    async def spliced_end(self) -> None:
        """What becomes of the two tones."""
        raise NotImplementedError


class TlsNetworkTests(Networks):
    """The same over TLS, and what only TLS can promise."""

    make_arena = TlsArena
    replay_counter = "tls.handshake"
    victim: TlsHouse

    async def spliced_end(self) -> None:
        await self.arena.until(lambda: self.counted("peers.lost") == 2)
        self.losses = 2

    async def test_reads(self) -> None:
        """Who reads all that passes learns two addresses and how much is said: no id, no certificate, no tone."""
        await self.begin()
        await self.prompted()
        self.say(1)
        self.answer(1)
        await self.heard(self.tap, 1)
        await self.heard(self.at_alice, 1)
        connection = self.middle.last
        passed = bytes(connection.up.came + connection.down.came)
        self.assertGreater(len(passed), 3000)
        words = [b'"chi"', b"hello", b"humd_", b"prompt", MARK.encode(), b"proof-1", b"ping-1"]
        for house in (self.alice, self.bob):
            me, key = house.ensemble.me, house.ensemble.key
            assert key is not None and isinstance(house.transport, TlsTransport)
            pin = house.transport.fingerprint
            words += [me.digest, me.digest.hex().encode(), me.short.encode(), key.public, key.public.hex().encode()]
            words += [bytes.fromhex(pin), pin.encode()]
        self.assertEqual([word for word in words if word in passed], [])

    async def test_reorders(self) -> None:
        """Two records in the wrong order end the link; neither tone arrives, and a redial goes on."""
        await self.begin()
        pipe = self.middle.last.up
        pipe.shut = True
        self.say(1)
        await self.arena.until(lambda: pipe.held)
        first, pipe.held = bytes(pipe.held), bytearray()
        self.say(2)
        await self.arena.until(lambda: pipe.held)
        pipe.give(bytes(pipe.held) + first)
        await self.linked_again()

    async def test_repeats(self) -> None:
        """A record that comes twice is heard once, and ends the link."""
        await self.begin()
        self.middle.last.up.edit = lambda data: data + data
        self.say(1)
        await self.heard(self.tap, 1)
        await self.linked_again()

    async def test_changes(self) -> None:
        """One bit of a record that is another ends the link with its cause in the log; nothing of it arrives."""
        await self.begin()
        alice = self.alice.ensemble.me.full
        self.middle.last.up.edit = lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        with capturedLogs() as events:
            self.say(1)
            await self.linked_again()
        causes = [event["reason"] for event in events if event.get("peer") == alice and "reason" in event]
        self.assertIn("TLS failed: ", str(causes[0]))

    async def test_changes_the_handshake(self) -> None:
        """A ClientHello or a ServerHello that was changed on its way ends in no link."""
        for direction in ("up", "down"):

            def spoil(connection: Any) -> None:
                pipe = getattr(connection, direction)  # noqa: B023
                pipe.edit = lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:] if len(data) > 60 else data

            self.middle.began = spoil
            with self.assertRaises(LinkRefused):
                await self.alice.ensemble.install(await self.alice.transport.connect(self.through()))
        self.assertEqual(self.bob.ensemble.peers(), [self.friend.ensemble.me])
        await self.all_is_well()

    def through(self) -> HumdAddr:
        """Bob's address as Alice has it."""
        return HumdAddr(self.bob.ensemble.me, (f"tls:127.0.0.1:{self.middle.port}",))

    async def test_downgraded_by_silence(self) -> None:
        """A row with a secure hint is never dialled over plain TCP, however long the secure one fails."""
        plain = self.between(self.victim.plain)
        self.middle.closed = True
        hints = (f"tcp:127.0.0.1:{plain.port}", f"tls:127.0.0.1:{self.middle.port}")
        dials = {"tls": self.alice.transport.dial, "tcp": TcpTransport(reactor).dial}
        dialler = Dialler(self.alice.ensemble, dials, self.clock, lambda: 0.0)
        dialler.set_peers([KnownPeer(self.bob.ensemble.me, hints)])
        self.addCleanup(dialler.stopService)
        dialler.startService()
        for _ in range(5):
            await self.arena.until(self.clock.getDelayedCalls)  # it has failed, and waits
            self.assertIn("tls:", dialler.last_failure(self.bob.ensemble.me))
            self.clock.advance(60)
        await self.arena.until(self.clock.getDelayedCalls)
        self.middle.closed = False
        self.clock.advance(60)
        await self.both_linked(self.alice)
        self.assertEqual((plain.connections, len(self.middle.connections)), ([], 1))

    async def test_downgraded_inbound(self) -> None:
        """A peer whose row has a secure hint hears nothing of ours on our plain port; the log says how to allow it."""
        alice = self.alice.ensemble.me
        row = KnownPeer(alice, ("tls:192.0.2.1:1",))
        self.bob.ensemble.policy = Policy(Level.PROVEN, False, [row, KnownPeer(self.friend.ensemble.me)])
        rogue = self.arena.keep(RealRogue())
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.victim.plain), rogue)
        key = self.alice.ensemble.key
        assert key is not None
        with capturedLogs() as events:
            rogue.say(*self.dialler(key).start(self.arena.now_ms()))
            await self.arena.until(lambda: rogue.lost)
        self.assertEqual((rogue.lines, self.counted("handshake.not-admitted")), ([], 1))
        (cause,) = [event["cause"] for event in events if event.get("counter") == "handshake.not-admitted"]
        self.assertIn("to allow plain wires", cause)
        self.assertFalse(self.bob.ensemble.linked(alice))
        await self.begin()  # the same peer over TLS
        await self.flows()


class TcpNetworkTests(Networks):
    """Plain TCP, where the attacker may read and change what it likes, and some of that is in vain."""

    make_arena = RealArena
    replay_counter = "handshake.bad-proof"

    async def spliced_end(self) -> None:
        """What is said in a wrong name is refused."""
        await self.arena.until(lambda: self.counted("tones.refused.from.forged") == 2)

    async def stripped(self, up: bool, refuser: RealHouse) -> None:
        """Take the proof out of the hello of one of the two."""

        def strip(connection: Any) -> None:
            pipe = connection.up if up else connection.down

            def edit(data: bytes) -> bytes:
                line, lf, rest = data.partition(b"\n")
                pipe.edit = lambda data: data
                return changed(line, features=["ping-1", "bye-1"]) + lf + rest

            pipe.edit = edit

        self.middle.began = strip
        with self.assertRaises(LinkRefused):
            hint = f"tcp:127.0.0.1:{self.middle.port}"
            await self.alice.ensemble.install(
                await self.alice.transport.connect(HumdAddr(self.bob.ensemble.me, (hint,)))
            )
        await self.arena.until(lambda: refuser.ensemble.counters["handshake.unproven"] == 1)
        self.assertFalse(self.bob.ensemble.linked(self.alice.ensemble.me))
        await self.all_is_well()

    async def test_strips_the_dialler(self) -> None:
        """A dialler's hello without its features is refused where proofs are wanted."""
        await self.stripped(True, self.bob)

    async def test_strips_the_listener(self) -> None:
        """So is a listener's."""
        await self.stripped(False, self.alice)


del Between, Networks
