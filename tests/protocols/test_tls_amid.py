"""A TLS wire while a message of TLS's own is in pieces: nothing can be sealed before it is whole."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols.tls import TlsWire
from ensemble.protocols.tls_sessions import KEY_UPDATES, TlsSessions
from tests.protocols.pretended import Socket, System
from tests.protocols.recording import RecordingSink
from tests.protocols.test_tls_wire import TlsWireCase
from tests.protocols.tls_peers import ALICE, BOB, Credential, Sessions
from tests.protocols.tls_sealing import HANDSHAKE, KEY_UPDATE, SealingSession


class AmidTests(TlsWireCase):
    """Bob's wire; Alice, who seals her own records, has sent the first of two pieces of a key update."""

    def setUp(self) -> None:
        super().setUp()
        self.far = SealingSession(Sessions(Credential.humd(ALICE)), listens=False)
        self.wire.dataReceived(self.far.shake())
        self.wire.dataReceived(self.far.receive(self.socket.taken()))
        self.wire.start(self.sink)
        self.assertEqual(self.sink.events, [])
        self.update(KEY_UPDATE[:4])
        self.assertEqual(self.sink.events, ["wire_full"])

    def update(self, piece: bytes) -> None:
        assert self.far.sealer is not None
        self.wire.dataReceived(self.far.sealer.seal(piece, HANDSHAKE))

    def finish(self) -> bytes:
        """Her message is whole now; until then nothing leaves.  :returns: what Alice can read."""
        self.assertEqual(self.socket.taken(), b"")
        self.update(KEY_UPDATE[4:])
        self.far.receive(self.socket.taken())
        return b"".join(self.far.read())

    def test_written_meanwhile(self) -> None:
        """What is written leaves once the message is whole, in order, and then there is room for more."""
        for line in (b"one", b"two"):
            self.wire.write([line])
        self.assertEqual((self.finish(), self.sink.events), (b"one\ntwo\n", ["wire_full", "wire_drained"]))

    def test_closed_meanwhile(self) -> None:
        """Who closes the wire says so once the message is whole, behind what it wrote."""
        self.wire.write([b"goodbye"])
        self.wire.close()
        self.assertEqual((self.finish(), self.far.told), (b"goodbye\n", True))

    def test_cut_meanwhile(self) -> None:
        """Who is told of too many key updates may say a last line though another has begun: it is lost, and no bug."""
        self.finish()
        sealer = self.far.sealer
        assert sealer is not None
        sealer.next_key()
        updates = b"".join(sealer.key_update() for _ in range(KEY_UPDATES))
        self.patch(self.sink, "line_refused", lambda error: self.wire.write([b"goodbye"]))
        self.wire.dataReceived(updates + sealer.seal(KEY_UPDATE[:4], HANDSHAKE))
        self.assertEqual((self.socket.taken(), self.socket.disconnected), (b"", True))


class SocketTests(SynchronousTestCase):
    """The same on Twisted's own transport, which keeps what the system does not take."""

    def test_full_before(self) -> None:
        """A wire that was full once has room again when such a message is whole, as any other."""
        clock: Any = MemoryReactorClock()
        sink, system = RecordingSink(), System()
        wire = TlsWire(clock, lambda new: new.start(sink), lambda *told: self.fail(str(told)), TlsSessions(BOB))
        socket = Socket(clock, system, wire)
        far = SealingSession(Sessions(Credential.humd(ALICE)), listens=False)
        wire.makeConnection(socket)
        wire.dataReceived(far.shake())
        wire.dataReceived(far.receive(bytes(system.taken)))
        system.taken.clear()
        system.room = 0
        wire.write([b"one"])
        system.room = 2**20
        socket.doWrite()
        self.assertEqual(sink.events, ["wire_full", "wire_drained"])
        assert far.sealer is not None
        for piece in (KEY_UPDATE[:4], KEY_UPDATE[4:]):
            wire.write([b"two"])
            wire.dataReceived(far.sealer.seal(piece, HANDSHAKE))
        self.assertEqual(sink.events, ["wire_full", "wire_drained"] * 2)
        far.receive(bytes(system.taken))
        self.assertEqual(b"".join(far.read()), b"one\ntwo\ntwo\n")
