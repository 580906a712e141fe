"""Peers that proved who they are and abuse TLS itself: records of any size, key updates without end, ends that lie."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LinkRefused
from ensemble.identity import HumdAddr, HumdId
from ensemble.mesh import Tap
from ensemble.mesh.allowance import Allowance
from ensemble.protocols.newcomer import MOST_LINES, MOST_PIECES, TooManyPieces
from ensemble.protocols.tls_sessions import (
    KEY_UPDATE_SECONDS,
    KEY_UPDATES,
    LEAST_RECORD,
    MESSAGE_BYTES,
    KeyUpdates,
    TooManyKeyUpdates,
)
from ensemble.tone import read_document
from tests.attacks.arena import RealRogue, reactor
from tests.attacks.scene import Scene
from tests.attacks.test_crowds import MEGABYTE, resident
from tests.attacks.tls_arena import TlsArena, TlsHouse, TlsRogue
from tests.protocols.tls_peers import ALICE, Credential, Sessions
from tests.protocols.tls_sealing import ALERT, APPLICATION, CLOSE_NOTIFY, FULL, HANDSHAKE, KEY_UPDATE, Sealer

TONE = b'{"chi":"perf-mark","n":%d}\n'  # taps see it, bees do not


class Records(Scene):
    """A rogue with a sealer of its own, linked."""

    make_arena = TlsArena
    arena: TlsArena
    victim: TlsHouse

    async def linked_over_tls(self, size: int = FULL) -> tuple[TlsRogue, Sealer]:
        """A rogue whose lines leave in records of this size, from its hello on."""
        rogue = await self.arena.rogue(self.victim)
        rogue.size = size
        await self.linked(rogue)
        assert rogue.sealer is not None
        return rogue, rogue.sealer

    async def dialled_over_tls(self) -> tuple[TlsRogue, Deferred[HumdId]]:
        """A rogue that the victim dialled, and has said hello to."""
        rogue = self.arena.keep(TlsRogue(Sessions(Credential.humd(ALICE)), listens=True))
        port = reactor.listenTCP(0, Factory.forProtocol(lambda: rogue), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = HumdAddr(ALICE.humd_id(), (f"tls:127.0.0.1:{port.getHost().port}",))
        linking = self.victim.ensemble.install(await self.victim.transport.connect(address))
        await self.arena.until(lambda: rogue.lines)
        return rogue, linking

    async def in_tones(self, tap: Tap, count: int) -> list[int]:
        """The numbers of that many tones."""
        await self.arena.until(lambda: len(tap._lines) >= count)
        return [(await tap.get())["n"] for _ in range(count)]

    async def gone(self, rogue: TlsRogue) -> None:
        await self.arena.until(lambda: rogue.lost)

    async def lost(self, rogue: TlsRogue) -> str:
        """Wait until the victim has lost it, alone.  :returns: the cause in the log."""
        with capturedLogs() as events:
            await self.arena.until(lambda: rogue.lost and not self.victim.ensemble.linked(rogue.id))
        self.losses += 1
        (cause,) = [event["reason"] for event in events if event.get("peer") == rogue.id.full and "reason" in event]
        return str(cause)


class SizeTests(Records):
    """How a stream is cut into records changes nothing of what it says."""

    async def test_one_byte_each(self) -> None:
        """A hello, a proof and tones in records of one byte make a link and arrive once each, in order."""
        rogue, _ = await self.linked_over_tls(size=1)
        rogue.raw(b"".join(TONE % number for number in range(200)))
        self.assertEqual(await self.in_tones(self.tap, 200), list(range(200)))
        await self.all_is_well_but_the_tap()

    async def test_one_byte_each_from_the_start(self) -> None:
        """Nor does it matter for a ClientHello."""

        class Shredder(TlsRogue):
            def connectionMade(self) -> None:
                send, self.send = self.send, self.shred  # type: ignore[method-assign]
                super().connectionMade()
                self.send = send  # type: ignore[method-assign]

            def shred(self, records: bytes) -> None:
                head, content = records[:3], records[5:]
                RealRogue.raw(self, b"".join(head + b"\0\x01" + bytes([byte]) for byte in content))

        rogue = self.arena.keep(Shredder())
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.victim.port), rogue)
        await self.arena.until(lambda: rogue.sealer is not None or rogue.lost)
        await self.linked(rogue)
        await self.served(rogue)
        self.assertFalse(rogue.lost)
        await self.all_is_well()

    async def test_before_a_link(self) -> None:
        """Nobody has thousands of them until then, nor of small lines, however few bytes that are."""
        for said, size in ((b"x" * (MOST_PIECES + 1), 1), (b'{"chi":"x"}\n' * (MOST_LINES + 1), FULL)):
            rogue = await self.arena.rogue(self.victim)
            rogue.size = size
            with capturedLogs() as events:
                rogue.raw(said)
                await self.gone(rogue)
            self.assertEqual(rogue.lines, [])
            causes = {event["cause"] for event in events if event.get("counter") == "handshake.line"}
            self.assertLessEqual(causes, {str(TooManyPieces())})
        self.assertEqual(self.counted("handshake.line"), 2)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_stuffed(self) -> None:
        """Padding and empty records are bytes as all others for the pace of a peer; honest records have none."""
        rogue, sealer = await self.linked_over_tls()
        link = self.victim.ensemble.link_to(rogue.id)
        assert link is not None
        wire = link.wire
        self.assertLess(abs(wire.stuffing), 1000)
        link.reading.count_for(Allowance())
        before, spent = wire.stuffing, link.reading._spent
        rogue.send(
            b"".join(sealer.seal(b"", padding=10_000) for _ in range(20)) + sealer.seal(TONE % 1, padding=10_000)
        )
        self.assertEqual(await self.in_tones(self.tap, 1), [1])
        rogue.raw(TONE % 2)
        self.assertEqual(await self.in_tones(self.tap, 1), [2])
        self.assertEqual(wire.stuffing - before, 21 * 10_000 + 20 * LEAST_RECORD)
        self.assertEqual(link.reading._spent - spent, wire.stuffing - before + len(TONE % 1) * 2)
        await self.all_is_well_but_the_tap()

    async def test_full(self) -> None:
        """Records of 16 KiB carry hundreds of tones each, a tone of three megabytes, and padding around one byte."""
        rogue, sealer = await self.linked_over_tls()
        rogue.raw(b"".join(TONE % number for number in range(200)))
        rogue.raw(b'{"chi":"perf-mark","n":200,"s":"' + b"x" * 3_000_000 + b'"}\n')
        rogue.send(b"".join(sealer.seal(bytes([byte]), padding=FULL - 1) for byte in TONE % 201))
        self.assertEqual(await self.in_tones(self.tap, 202), list(range(202)))
        await self.all_is_well_but_the_tap()

    async def test_too_long(self) -> None:
        """A record of more than 16 KiB ends the link, and says so."""
        rogue, sealer = await self.linked_over_tls()
        rogue.send(sealer.seal(TONE % 1 + bytes(FULL)))
        self.assertIn("TLS failed: ", await self.lost(rogue))
        self.nothing_leaked()
        await self.all_is_well()

    async def test_empty(self) -> None:
        """Some empty records are nothing; an endless row of them ends the link."""
        rogue, sealer = await self.linked_over_tls()
        rogue.send(b"".join(sealer.seal(b"") for _ in range(20)) + sealer.seal(TONE % 1))
        self.assertEqual(await self.in_tones(self.tap, 1), [1])
        rogue.send(b"".join(sealer.seal(b"") for _ in range(5000)))
        self.assertIn("TLS failed: record too small", await self.lost(rogue))
        await self.all_is_well_but_the_tap()


class PieceTests(Records):
    """Messages of TLS's own that are cut into records (RFC 8446 5.1), in the middle of which nothing can be sealed."""

    async def test_whole_again(self) -> None:
        """What was said meanwhile leaves when the message is whole, all of it and in order."""
        rogue, sealer = await self.linked_over_tls()
        link = self.victim.ensemble.link_to(rogue.id)
        assert link is not None
        for at in range(len(KEY_UPDATE)):
            rogue.send(sealer.seal(KEY_UPDATE[at : at + 1], HANDSHAKE))
            if at == 3:  # now OpenSSL knows what it is, and how long
                await self.arena.until(lambda: link._outbox._full)
                heard = len(rogue.lines)
                for number in range(100):
                    self.victim.ensemble.route({"chi": "perf-mark", "n": number, "to": rogue.id.full})
        sealer.next_key()
        await self.arena.until(lambda: len(rogue.lines) >= heard + 100)
        self.assertEqual([read_document(line)["n"] for line in rogue.lines[heard:]], list(range(100)))
        rogue.raw(TONE % 7)
        self.assertEqual(await self.in_tones(self.tap, 1), [7])
        await self.all_is_well_but_the_tap()

    async def test_never_whole(self) -> None:
        """A ticket of whoever we dial that goes on and on ends the connection."""
        rogue, linking = await self.dialled_over_tls()
        assert rogue.sealer is not None
        rogue.send(rogue.sealer.seal(b"\x04\x01\0\0", HANDSHAKE))  # of 64 KiB
        for _ in range(4 * MESSAGE_BYTES // 1000):
            rogue.send(rogue.sealer.seal(bytes(1000), HANDSHAKE))
        with self.assertRaisesRegex(LinkRefused, "no end of a message of TLS's own"):
            await linking
        await self.all_is_well()


class UpdateTests(Records):
    """Key updates, for which OpenSSL has no ceiling."""

    async def test_some(self) -> None:
        """A peer that changes its keys now and then, and wants ours changed, keeps its link both ways."""
        rogue, sealer = await self.linked_over_tls()
        for number in range(KEY_UPDATES // 3):
            rogue.send(sealer.key_update(answer=number % 2 == 0) + sealer.seal(TONE % number))
        self.assertEqual(await self.in_tones(self.tap, KEY_UPDATES // 3), list(range(KEY_UPDATES // 3)))
        await self.served(rogue)
        self.assertFalse(rogue.lost)
        await self.all_is_well_but_the_tap()

    async def flooded(self, *, answer: bool, data: bytes, read: bool) -> None:
        """Updates until the link is gone."""
        rogue, sealer = await self.linked_over_tls()
        if not read:
            rogue.stop_reading()
        before = resident()
        link = self.victim.ensemble.link_to(rogue.id)
        assert link is not None
        flood = b"".join(sealer.key_update(answer) + (sealer.seal(data) if data else b"") for _ in range(10_000))
        rogue.send(flood)
        with capturedLogs() as events:
            await self.arena.until(lambda: not self.victim.ensemble.linked(rogue.id))
        self.losses += 1
        causes = [event["cause"] for event in events if event.get("counter") == "links.broke"]
        self.assertEqual(causes, [str(TooManyKeyUpdates())])
        self.assertEqual(self.counted("links.broke"), 1)
        self.assertLess(link.wire.received, len(flood) // 10)
        self.assertLess(resident() - before, 10 * MEGABYTE)
        rogue.leave()
        await self.all_is_well_but_the_tap()

    async def test_flood(self) -> None:
        """A flood of key updates ends its link at once, with its cause in the log, and only that."""
        await self.flooded(answer=False, data=b"", read=True)

    async def test_flood_for_answers(self) -> None:
        """A peer that wants an answer to each update and reads none leaves nothing behind with us."""
        await self.flooded(answer=True, data=b"", read=False)

    async def test_flood_with_bytes(self) -> None:
        """A byte between the updates changes nothing."""
        await self.flooded(answer=True, data=b"\n", read=True)

    async def test_flood_with_tones(self) -> None:
        """Nor does a tone."""
        await self.flooded(answer=False, data=TONE % 1, read=True)

    async def test_flood_before_a_hello(self) -> None:
        """Nor does it need a link: a connection that says nothing else is gone as fast."""
        rogue = await self.arena.rogue(self.victim)
        assert rogue.sealer is not None
        await self.arena.until(lambda: self.victim.ensemble.pending)
        rogue.send(b"".join(rogue.sealer.key_update() for _ in range(1000)))
        with capturedLogs() as events:
            await self.arena.until(lambda: rogue.lost)
        self.assertEqual((self.counted("handshake.line"), self.victim.ensemble.pending), (1, 0))
        causes = [event["cause"] for event in events if event.get("counter") == "handshake.line"]
        self.assertEqual(causes, [str(TooManyKeyUpdates())])
        await self.all_is_well()

    async def test_flood_of_a_listener(self) -> None:
        """Whoever we dial can flood us neither, with updates or with tickets for sessions that we never resume."""
        ticket = b"\x04\0\0\x12" + b"\0\0\xff\0" + bytes(4) + b"\x01a" + b"\0\x04abcd" + bytes(2)
        for seal in (Sealer.key_update, lambda sealer: sealer.seal(ticket, HANDSHAKE)):
            rogue, linking = await self.dialled_over_tls()
            assert rogue.sealer is not None
            rogue.send(b"".join(seal(rogue.sealer) for _ in range(1000)))
            with self.assertRaisesRegex(LinkRefused, "key updates"):
                await linking
        await self.all_is_well()


class AllowanceTests(SynchronousTestCase):
    """What a patient peer may do."""

    def test_time_gives_it_back(self) -> None:
        """Who changes its keys rarely may do so for ever."""
        updates, now = KeyUpdates(), 0.0
        for _ in range(10):
            self.assertTrue(all(updates.more(1, now) for _ in range(KEY_UPDATES)))
            self.assertFalse(updates.more(1, now + KEY_UPDATE_SECONDS))
            now += KEY_UPDATE_SECONDS + 1


class EndTests(Records):
    """Ends of a session, and those that only look like one."""

    half, whole = b'{"chi":"perf-mark","n":', b'{"chi":"perf-mark","n":7}'

    async def test_close_notify_in_a_line(self) -> None:
        """An end in the middle of a line ends the link in order; the half line is no tone."""
        rogue, sealer = await self.linked_over_tls()
        rogue.send(sealer.seal(TONE % 1 + self.half) + sealer.seal(CLOSE_NOTIFY, ALERT) + sealer.seal(TONE % 2))
        self.assertEqual(await self.lost(rogue), "closed cleanly")
        self.assertEqual(await self.in_tones(self.tap, 1), [1])
        await self.all_is_well_but_the_tap()

    async def test_last_line_without_lf(self) -> None:
        """The last line may come without its LF where the peer itself ended the session (mesh 2.2)."""
        rogue, sealer = await self.linked_over_tls()
        rogue.send(sealer.seal(self.whole) + sealer.seal(CLOSE_NOTIFY, ALERT))
        await self.lost(rogue)
        self.assertEqual(await self.in_tones(self.tap, 1), [7])

    async def test_truncated(self) -> None:
        """Whoever cuts TCP cannot make a tone of what stands in a line: an end without close_notify ends no line."""
        for said in (self.half, self.whole):
            rogue, sealer = await self.linked_over_tls()
            rogue.send(sealer.seal(said))
            rogue.transport.loseConnection()  # type: ignore[union-attr]
            self.assertEqual(await self.lost(rogue), "cut off")
        self.assertEqual(self.counted("links.broke"), 0)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_half_a_record(self) -> None:
        """Nor does an end in the middle of a record, or a record that was changed on its way."""
        for spoil in (lambda record: record[:-3], lambda record: record[:-1] + bytes([record[-1] ^ 1])):
            rogue, sealer = await self.linked_over_tls()
            rogue.send(spoil(sealer.seal(TONE % 1)))
            rogue.transport.loseConnection()  # type: ignore[union-attr]
            await self.lost(rogue)
        self.nothing_leaked()
        await self.all_is_well()

    async def test_out_of_place(self) -> None:
        """Messages that have no place on a link that is up, or no sense at all, end it."""
        wrong = (
            ("a ClientHello", HANDSHAKE, b"\x01\0\0\0"),
            ("a session ticket", HANDSHAKE, b"\x04\0\0\0"),
            ("a Finished", HANDSHAKE, b"\x14\0\0\x30" + bytes(48)),
            ("an update of no kind", HANDSHAKE, b"\x18\0\0\x01\x07"),
            ("an alert", ALERT, b"\x02\x50"),
            ("half an alert", ALERT, b"\x02"),
            ("no content type", 0, b""),
            ("another content type", APPLICATION + 1, b"x"),
        )
        for what, kind, content in wrong:
            rogue, sealer = await self.linked_over_tls()
            rogue.send(sealer.seal(content, kind) + sealer.seal(TONE % 1))
            self.assertIn("TLS failed: ", await self.lost(rogue), what)
        self.assertEqual(self.counted("links.broke"), len(wrong))
        self.nothing_leaked()
        await self.all_is_well()

    async def test_before_a_hello(self) -> None:
        """A record that was changed, or is too long, is counted and told also where no link is up yet."""
        with capturedLogs() as events:
            for size, change in ((1, 1), (FULL + 1, 0)):
                rogue = await self.arena.rogue(self.victim)
                assert rogue.sealer is not None
                await self.arena.until(lambda: self.victim.ensemble.pending)
                *record, last = rogue.sealer.seal(bytes(size))
                rogue.send(bytes([*record, last ^ change]))
                await self.arena.until(lambda: not self.victim.ensemble.pending)
        self.assertEqual((self.counted("handshake.line"), self.counted("links.broke")), (2, 0))
        told, *_ = [event for event in events if event.get("counter") == "handshake.line"]
        self.assertEqual(told["peer"], "127.0.0.1")
        self.assertIn("TLS failed: ", told["cause"])
        await self.all_is_well()

    async def test_plain_text(self) -> None:
        """Bytes that are no record end the link: nobody can fall back to plain text on it."""
        rogue, _ = await self.linked_over_tls()
        rogue.send(TONE % 1)
        self.assertIn("TLS failed: ", await self.lost(rogue))
        self.nothing_leaked()


del Scene, Records
