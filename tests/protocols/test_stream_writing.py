"""What a stream wire writes, to a socket and to what is none."""

from __future__ import annotations

from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from ensemble.protocols import StreamWire
from tests.protocols.pretended import Socket, System
from tests.protocols.streaming import StreamWireCase


class WritingTests(StreamWireCase):
    def test_one_write(self) -> None:
        """The lines of one write leave as one segment."""
        wire = self.wire()
        writes: list[bytes] = []
        self.transport.write = writes.append  # type: ignore[method-assign]
        wire.write([b"one", b"two"])
        wire.write([])
        self.assertEqual((writes, wire.sent), ([b"one\ntwo\n"], 8))

    def test_back_pressure(self) -> None:
        """What the transport says of its buffer reaches the sink."""
        self.wire()
        producer: Any = self.transport.producer
        producer.pauseProducing()
        producer.resumeProducing()
        producer.stopProducing()
        self.assertEqual(self.sink.events, ["wire_full", "wire_drained"])

    def socket_wire(self) -> tuple[StreamWire, Socket, System]:
        socket = Socket(MemoryReactor(), System(), Protocol())
        wire = StreamWire(self.clock)
        wire.makeConnection(socket)
        wire.start(self.sink)
        return wire, socket, socket.system

    def test_sent_at_once(self) -> None:
        """What a socket takes is sent before write returns; the reactor is not troubled, nobody told."""
        wire, socket, system = self.socket_wire()
        wire.write([b"one", b"two"])
        wire.write([b"three"])
        self.assertEqual((system.taken, self.sink.events), (b"one\ntwo\nthree\n", []))
        self.assertEqual(socket.reactor.getWriters(), [])

    def test_not_overtaken(self) -> None:
        """What somebody wrote to the transport before it was a wire's, as a header, leaves first."""
        socket = Socket(MemoryReactor(), System(), Protocol())
        socket.write(b"PROXY\n")
        wire = StreamWire(self.clock)
        wire.makeConnection(socket)
        wire.start(self.sink)
        wire.write([b"one"])
        self.assertEqual((socket.system.taken, self.sink.events), (b"", ["wire_full"]))
        socket.doWrite()
        self.assertEqual((socket.system.taken, self.sink.events), (b"PROXY\none\n", ["wire_full", "wire_drained"]))
        wire.write([b"two"])
        self.assertEqual((socket.system.taken, socket.reactor.getWriters()), (b"PROXY\none\ntwo\n", []))

    def test_process(self) -> None:
        """A transport that has no address, as that of a process, has an empty one."""

        def nobody() -> None:
            raise NotImplementedError

        self.transport.getPeer = nobody  # type: ignore[method-assign]
        wire = self.wire()
        wire.write([b"one"])
        self.assertEqual((wire.address, self.transport.value()), ("", b"one\n"))

    def test_not_all_at_once(self) -> None:
        """What a socket does not take waits, in order; the wire is full while anything waits, and told once."""
        wire, socket, system = self.socket_wire()
        for _ in range(2):
            system.taken, system.room, self.sink.events = bytearray(), 5, []
            wire.write([b"one", b"two"])
            wire.write([b"three"])
            self.assertEqual((system.taken, self.sink.events), (b"one\nt", ["wire_full"]))
            system.room = 4
            socket.doWrite()
            self.assertEqual(self.sink.events, ["wire_full"])
            system.room = 1000
            socket.doWrite()
            self.assertEqual((system.taken, self.sink.events), (b"one\ntwo\nthree\n", ["wire_full", "wire_drained"]))

    def test_sent_while_draining(self) -> None:
        """Who writes when told that the wire drained is sent at once again, behind what was waiting."""
        wire, socket, system = self.socket_wire()
        drained = self.sink.wire_drained

        def more() -> None:
            drained()
            wire.write([b"two"])

        self.sink.wire_drained = more  # type: ignore[method-assign]
        system.room = 1
        wire.write([b"one"])
        system.room = 6
        socket.doWrite()
        self.assertEqual((system.taken, self.sink.events), (b"one\ntwo", ["wire_full", "wire_drained", "wire_full"]))

    def test_close_while_full(self) -> None:
        """An orderly close sends what waits, then ends."""
        wire, socket, system = self.socket_wire()
        system.room = 1
        wire.write([b"one"])
        wire.close()
        system.room = 1000
        self.assertIs(socket.doWrite(), CONNECTION_DONE)
        self.assertEqual((system.taken, self.sink.events), (b"one\n", ["wire_full"]))

    def test_send_that_fails(self) -> None:
        """A socket that fails raises nothing in write: the transport meets the same error and tells of the loss."""
        wire, socket, system = self.socket_wire()
        system.reset = True
        wire.write([b"one"])
        self.assertIs(socket.doWrite(), CONNECTION_LOST)
        self.assertEqual(self.sink.events, ["wire_full"])

    def test_wrapped_socket(self) -> None:
        """A transport that wraps a socket, as TLS does, is never passed by: not a byte leaves in clear."""

        class Veil(ProtocolWrapper):
            def write(self, data: bytes) -> None:
                super().write(data.upper())

        socket = Socket(MemoryReactor(), System(), Protocol())
        wire = StreamWire(self.clock)
        Veil(WrappingFactory(Factory()), wire).makeConnection(socket)
        wire.start(self.sink)
        wire.write([b"one"])
        socket.doWrite()
        self.assertEqual(socket.system.taken, b"ONE\n")
        self.assertIs(socket.producer, wire)
