"""A TLS wire between socket and sink, with a clock: what the sink does inside a delivery, and ends that hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import HumdAddr
from ensemble.protocols import DEADLINES, StreamWire, TlsTransport
from ensemble.protocols.tls import HANDSHAKE_BYTES, TlsWire
from ensemble.protocols.tls_sessions import KEY_UPDATES, TlsSession, TlsSessions, TooManyKeyUpdates
from tests.protocols.recording import RecordingSink
from tests.protocols.tls_peers import ALICE, BOB, Credential


class Socket(StringTransport):
    """A transport without a system below it."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.7", 1))

    def unregisterProducer(self) -> None:
        """As every socket: nothing where there is none."""
        self.producer = None

    def taken(self) -> bytes:
        """What was written since this was asked last."""
        data: bytes = self.value()
        self.clear()
        return data


class TlsWireCase(SynchronousTestCase):
    """Bob's wire, accepted; at the other end is the core of a session of Alice's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sink = RecordingSink()
        self.socket = Socket()
        self.built: list[Any] = []
        factory: Any = TlsTransport(self.clock, BOB).factory(
            self.built.append, failed=lambda *told: self.fail(str(told))
        )
        self.wire: Any = factory.buildProtocol(None)
        self.wire.makeConnection(self.socket)
        self.clock.advance(0)
        self.alice = TlsSessions(ALICE).dial(lambda der: True)

    def shake(self, says: bytes = b"") -> None:
        """Alice's last flight may have something behind it."""
        self.alice.shake()
        self.wire.dataReceived(self.alice.outgoing())
        self.alice.receive(self.socket.taken())
        self.assertTrue(self.alice.shake())
        self.wire.dataReceived(self.alice.outgoing() + self.alice.seal(says))
        self.assertEqual(self.built, [self.wire])

    def start(self) -> None:
        self.shake()
        self.wire.start(self.sink)

    def heard(self) -> bytes:
        """What Alice can read now."""
        self.alice.receive(self.socket.taken())
        read = b""
        while plain := self.alice.read():
            read += plain
        return read

    def end(self) -> None:
        """The system tells that the connection is closed, or was aborted."""
        self.wire.connectionLost(Failure(ConnectionAborted() if self.socket.disconnected else ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TlsWireTests(TlsWireCase):
    """What comes and goes, and how it ends."""

    def test_data_behind_the_handshake(self) -> None:
        """What comes in one piece with the end of the handshake waits for the sink, and then is not lost."""
        self.shake(b"one\ntwo\n")
        self.assertEqual(self.socket.producerState, "paused")
        self.wire.start(self.sink)
        self.clock.advance(0)
        self.assertEqual((self.sink.lines, self.socket.producerState), ([b"one", b"two"], "producing"))

    def test_much_behind_the_handshake(self) -> None:
        """That a handshake has a limit is nothing to what comes in one piece with its end, however much."""
        lines = [b"%d" % number for number in range(20_000)]

        def begin(wire: TlsWire) -> None:
            self.built.append(wire)
            wire.start(self.sink)

        self.wire._built = begin
        self.shake(b"\n".join(lines) + b"\n")
        self.clock.advance(0)
        self.assertEqual((self.sink.lines, self.sink.clean, self.socket.disconnecting), (lines, None, False))

    def test_long_in_pieces(self) -> None:
        """All pieces of a handshake count."""
        told: list[tuple[str, str, str]] = []
        self.wire._failed = lambda *failure: told.append(failure)
        sessions = TlsSessions(ALICE)
        for _ in range(400):
            sessions._dialling.add_extra_chain_cert(Credential.humd(ALICE).certificate)
        alice = sessions.dial(lambda der: True)
        alice.shake()
        hello = alice.outgoing()
        self.wire.dataReceived(hello)
        alice.receive(self.socket.taken())
        alice.shake()
        flight = alice.outgoing()
        limit = HANDSHAKE_BYTES - len(hello)
        for at in range(0, limit - 1, 1000):
            self.wire.dataReceived(flight[at : min(at + 1000, limit - 1)])
        self.assertEqual(told, [])
        self.wire.dataReceived(flight[limit - 1 : limit])
        self.assertEqual([failure[0] for failure in told], ["tls.long"])
        self.assertTrue(self.socket.disconnecting)

    def test_long_and_broken(self) -> None:
        """Why a handshake failed is not hidden by what somebody writes behind it."""
        told: list[tuple[str, str, str]] = []
        self.wire._failed = lambda *failure: told.append(failure)
        for data in (b"GET / HTTP/1.1\r\n" + bytes(40_000), bytes(40_000), bytes(40_000)):
            self.wire.dataReceived(data)
        self.assertEqual((told, self.socket.disconnecting), ([], True))
        self.end()
        ((counter, cause, _),) = told
        self.assertEqual((counter, "http request" in cause), ("tls.handshake", True))

    def test_too_many_key_updates(self) -> None:
        """Whoever changes its keys again and again is cut at once: there may be answers that it does not read."""
        self.start()
        self.wire._session.messages = KEY_UPDATES + 1
        self.wire.dataReceived(self.alice.seal(b"one\n"))
        self.assertEqual([type(error) for error in self.sink.errors], [TooManyKeyUpdates])
        self.assertTrue(self.socket.disconnected)

    def test_too_many_key_updates_one_by_one(self) -> None:
        """They count in however many reads they come."""
        self.start()
        for number in range(KEY_UPDATES + 1):
            self.assertEqual((self.sink.errors, self.socket.disconnected), ([], False), number)
            self.wire._session.messages = 1
            self.wire.dataReceived(self.alice.seal(b"one\n"))
        self.assertEqual([type(error) for error in self.sink.errors], [TooManyKeyUpdates])
        self.assertTrue(self.socket.disconnected)

    def test_paused_inside(self) -> None:
        """A sink that pauses at the first of many records gets the rest when it resumes, in order."""
        self.start()
        self.sink.on_lines = lambda lines: self.wire.pause()
        self.wire.dataReceived(b"".join(self.alice.seal(b"%d\n" % number) for number in range(5)))
        self.assertEqual((self.sink.lines, self.socket.producerState), ([b"0"], "paused"))
        self.sink.on_lines = None
        self.wire.resume()
        self.clock.advance(0)
        self.assertEqual(self.sink.lines, [b"%d" % number for number in range(5)])

    def test_paused_before_the_end(self) -> None:
        """An end that came meanwhile waits for the sink, too, and is answered once all before it was read."""
        self.start()
        self.sink.on_lines = lambda lines: self.wire.pause()
        self.wire.dataReceived(self.alice.seal(b"one\n") + self.alice.seal(b"two\n") + self.alice.close())
        self.assertEqual((self.sink.lines, self.socket.disconnecting), ([b"one"], False))
        self.sink.on_lines = None
        self.wire.resume()
        self.clock.advance(0)
        self.assertEqual((self.sink.lines, self.socket.disconnecting), ([b"one", b"two"], True))
        self.end()
        self.assertTrue(self.sink.clean)

    def test_closed_before_the_end_was_told(self) -> None:
        """Who closes a wire that it has paused before the other's end does not wait for that end."""
        self.start()
        self.sink.on_lines = lambda lines: self.wire.pause()
        self.wire.dataReceived(self.alice.seal(b"one\n") + self.alice.seal(b"two\n") + self.alice.close())
        self.assertFalse(self.socket.disconnecting)
        self.wire.close()
        self.assertEqual((self.heard(), self.alice.ended, self.socket.disconnecting), (b"", True, True))
        self.end()
        self.assertEqual((self.sink.lines, self.sink.clean), ([b"one"], True))

    def test_aborted_inside(self) -> None:
        """A sink that aborts at the first of many records hears nothing more, and nothing more leaves."""
        self.start()
        self.socket.taken()
        self.sink.on_lines = lambda lines: self.wire.abort()
        self.wire.dataReceived(self.alice.seal(b"one\n") + self.alice.seal(b"two\n") + self.alice.close())
        self.wire.write([b"more"])
        self.wire.dataReceived(b"whatever")
        self.assertEqual((self.sink.lines, self.socket.taken()), ([b"one"], b""))
        self.assertTrue(self.socket.disconnecting)
        self.end()

    def test_closed_inside(self) -> None:
        """A sink that closes at the first of many records hears nothing more; what it wrote leaves, then an end."""
        self.start()

        def leave(_: list[bytes]) -> None:
            self.wire.write([b"goodbye"])
            self.wire.close()

        self.sink.on_lines = leave
        self.wire.dataReceived(self.alice.seal(b"one\n") + self.alice.seal(b"two\n"))
        self.assertEqual((self.heard(), self.alice.ended, self.sink.lines), (b"goodbye\n", True, [b"one"]))
        self.assertFalse(self.socket.disconnecting, "it did not wait for the other end")
        self.wire.dataReceived(self.alice.seal(b"three\n") + self.alice.close())
        self.assertTrue(self.socket.disconnecting)
        self.end()
        self.assertEqual((self.sink.lines, self.sink.clean), ([b"one"], True))

    def test_closed_while_paused(self) -> None:
        """Whoever closes a wire that it does not read still reads the other's end."""
        self.start()
        self.wire.pause()
        self.assertEqual(self.socket.producerState, "paused")
        self.wire.close()
        self.assertEqual((self.socket.producerState, self.heard(), self.alice.ended), ("producing", b"", True))
        self.wire.dataReceived(self.alice.close())
        self.assertTrue(self.socket.disconnecting)
        self.end()
        self.assertTrue(self.sink.clean)

    def test_closed_when_built(self) -> None:
        """Whoever closes a wire as soon as it is there still reads the other's end."""

        def built(wire: TlsWire) -> None:
            self.built.append(wire)
            wire.close()

        self.wire._built = built
        self.shake()
        self.assertEqual(self.socket.producerState, "producing")
        self.assertEqual((self.heard(), self.alice.ended), (b"", True))
        self.wire.dataReceived(self.alice.close())
        self.assertTrue(self.socket.disconnecting)
        self.end()

    def test_broken(self) -> None:
        """Whoever sends what cannot be opened is told by an alert, and the wire ends, not cleanly."""
        self.start()
        self.socket.taken()
        changed = bytearray(self.alice.seal(b"one\n"))
        changed[-1] ^= 1
        self.wire.dataReceived(bytes(changed))
        self.assertEqual((self.heard(), self.socket.disconnecting), (b"", True))
        self.assertIn("bad record mac", self.alice.broken)
        self.end()
        self.assertEqual((self.sink.lines, self.sink.clean), ([], False))

    def test_never_answered(self) -> None:
        """A peer that never answers our end is cut off after five seconds, whatever else it says."""
        self.start()
        self.wire.close()
        for _ in range(4):
            self.clock.advance(DEADLINES.connection_close_seconds / 4)
            self.wire.dataReceived(self.alice.seal(b"and another thing\n"))
        self.assertTrue(self.socket.disconnected)
        self.end()
        self.assertEqual((self.sink.lines, self.sink.clean), ([], False))

    def test_more_behind_its_end(self) -> None:
        """What comes behind the other's end is nothing to us, and leaves no timer of ours behind."""
        self.start()
        self.wire.dataReceived(self.alice.close())
        self.wire.dataReceived(b"more")
        self.end()
        self.assertEqual((self.sink.lines, self.sink.clean), ([], True))

    def test_never_read(self) -> None:
        """Nor does a peer that ended, and takes nothing of what waits, stay for longer; nothing is sealed for it."""
        self.start()
        self.wire.dataReceived(self.alice.close())
        self.assertTrue(self.socket.disconnecting)
        self.socket.taken()
        self.wire.write([b"more"])
        self.assertEqual(self.socket.taken(), b"")
        self.clock.advance(DEADLINES.connection_close_seconds)
        self.assertTrue(self.socket.disconnected)
        self.end()
        self.assertFalse(self.sink.clean, "nobody knows what it took")

    def test_reset_behind_the_end(self) -> None:
        """An end that was read is one, also where the system says of what followed that it was lost."""
        self.start()
        self.wire.dataReceived(self.alice.seal(b"last") + self.alice.close())
        self.wire.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.sink.lines, self.sink.clean), ([b"last"], True))

    def test_ended_and_closed(self) -> None:
        """A wire whose peer ended first is closed by its owner like any other."""
        self.start()
        self.wire.dataReceived(self.alice.seal(b"last") + self.alice.close())
        self.wire.connectionLost(Failure(ConnectionDone()))
        self.wire.close()
        self.assertEqual((self.sink.lines, self.sink.clean, self.clock.getDelayedCalls()), ([b"last"], True, []))

    def test_back_pressure(self) -> None:
        """What the socket says of its buffer reaches the sink."""
        self.start()
        producer: Any = self.socket.producer
        producer.pauseProducing()
        producer.resumeProducing()
        self.assertEqual(self.sink.events, ["wire_full", "wire_drained"])

    def test_together(self) -> None:
        """The lines of one write are one record; only what was said inside counts as sent and received."""
        self.start()
        self.wire.write([b"with the tickets"])
        self.socket.taken()
        self.wire.write([b"one", b"two"])
        self.wire.write([])
        self.wire.dataReceived(self.alice.seal(b"three\n"))
        records = self.socket.taken()
        self.assertEqual(int.from_bytes(records[3:5], "big") + 5, len(records))
        self.assertEqual((self.wire.sent, self.wire.received), (17 + 8, 6))


class DialledTests(SynchronousTestCase):
    def test_our_end_leaves_at_once(self) -> None:
        """
        The end of our handshake has left when the wire is there; where a leaf is refused, an alert and no end.

        That it is refused is not hidden by what its owner writes behind it.
        """
        for accepted in (True, False):
            self.dial(HumdAddr((BOB if accepted else ALICE).humd_id()), accepted)

    def test_a_second_look(self) -> None:
        """Were OpenSSL not to ask whether a leaf is the right one, or not to heed the answer, nobody would be built."""

        class Careless(TlsSessions):
            def dial(self, accepts: Callable[[bytes], bool]) -> TlsSession:
                return super().dial(lambda der: True)

        socket, failed = Socket(), []
        wanted = HumdAddr(ALICE.humd_id())
        wire = TlsWire(Clock(), self.fail, lambda *told: failed.append(told), Careless(ALICE), peer=wanted)
        wire.makeConnection(socket)
        bob = TlsSessions(BOB).accept()
        bob.receive(socket.taken())
        bob.shake()
        wire.dataReceived(bob.outgoing())
        self.assertEqual([told[0] for told in failed], ["tls.leaf"])
        self.assertTrue(socket.disconnected)

    def dial(self, wanted: HumdAddr, accepted: bool) -> None:
        """From Alice, to whom Bob answers."""
        socket = Socket()
        built: list[bool] = []
        failed: list[tuple[str, str, str]] = []

        def came(_: StreamWire) -> None:
            built.append(bool(socket.value()))

        wire = TlsWire(Clock(), came, lambda *told: failed.append(told), TlsSessions(ALICE), peer=wanted)
        wire.makeConnection(socket)
        bob: TlsSession = TlsSessions(BOB).accept()
        bob.receive(socket.taken())
        bob.shake()
        wire.dataReceived(bob.outgoing() + (b"" if accepted else bytes(40_000)))
        bob.receive(socket.taken())
        self.assertEqual(bob.shake(), accepted)
        self.assertEqual(built, [True] if accepted else [])
        self.assertEqual((socket.disconnecting, bool(bob.broken)), (not accepted, not accepted))
        wire.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([told[0] for told in failed], [] if accepted else ["tls.leaf"])
