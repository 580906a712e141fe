"""
Our wire without a mesh around it: ``StreamWire``, ``Outbox`` and the tone codec.

``[tls] recv | send PORT N | echo | rtt PORT N | relay OUT``.  A listener prints ``READY PORT``; ``recv`` and ``rtt``
end with one line of JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from zope.interface import implementer

from bench.measure import percentiles, say, tell, tell_rate
from bench.tones import TONE, TURN
from ensemble.errors import RemoteWireError
from ensemble.identity import HumdAddr, HumdKey
from ensemble.interfaces import IWire, IWireSink
from ensemble.protocols import Outbox, TcpTransport, TlsTransport, Turn
from ensemble.tone import MalformedTone, decode, decode_each, encode, peek_each

reactor = cast(Any, _reactor)
turn = Turn(reactor)

KEY = HumdKey.from_seed(bytes(32))  # of both ends, so that nobody has to be told an id
TRANSPORTS: dict[str, Callable[[HumdKey], TcpTransport]] = {
    "tcp": lambda key: TcpTransport(reactor),
    "tls": lambda key: TlsTransport(reactor, key),
}
transport = TRANSPORTS["tcp"](KEY)


def finish() -> None:
    """Stop the reactor, unless that is under way."""
    if reactor.running:
        reactor.stop()


@implementer(IWireSink)
class End:
    """One end of a wire: what comes goes to `heard`, what leaves goes through an outbox."""

    def __init__(self, wire: IWire) -> None:
        self.wire = wire
        self.outbox = Outbox(wire, turn)
        self.push = self.outbox.push
        self.is_full = False

    def heard(self, lines: list[bytes]) -> None:
        """Whole lines."""

    def room(self) -> None:
        """The wire takes more again."""

    def more(self) -> None:
        """`room` in a later turn, unless the wire is full by then."""
        if not self.is_full:
            self.room()

    def gone(self) -> None:
        """The wire is closed."""
        finish()

    def lines_received(self, lines: list[bytes]) -> None:
        turn.handle(self.heard, lines)

    def bytes_trickled(self) -> None:
        pass

    def line_refused(self, error: RemoteWireError) -> None:
        raise error

    def wire_full(self) -> None:
        self.is_full = True
        self.outbox.full()

    def wire_drained(self) -> None:
        was_full, self.is_full = self.is_full, False
        self.outbox.drained()
        if was_full and not self.is_full:
            self.room()

    def wire_lost(self, reason: str, clean: bool) -> None:
        self.outbox.close()
        self.gone()


class Receiver(End):
    """Decodes every tone in full; the clock runs from the first chunk to the end of the stream."""

    count = 0
    began = 0.0

    def heard(self, lines: list[bytes]) -> None:
        if not self.count:
            self.began = time.perf_counter()
        count = 0
        for tone in decode_each(lines):
            if not isinstance(tone, MalformedTone) and "to" in tone:
                count += 1
        self.count += count

    def gone(self) -> None:
        tell_rate(self.count, self.began)
        finish()


class Sender(End):
    """Offers 64 tones a turn while the wire takes them, each encoded anew."""

    def __init__(self, wire: IWire, count: int) -> None:
        super().__init__(wire)
        self.left = count

    def room(self) -> None:
        push, now = self.push, min(TURN, self.left)
        for _ in range(now):
            push(encode(TONE))
        self.left -= now
        if not self.left:
            self.outbox.when_empty(self.wire.close)
        else:
            reactor.callLater(0, self.more)


class Echo(End):
    def heard(self, lines: list[bytes]) -> None:
        for line in lines:
            self.push(encode(decode(line)))


class Tripper(End):
    """One tone at a time, there and back."""

    def __init__(self, wire: IWire, count: int) -> None:
        super().__init__(wire)
        self.count, self.trips = count, cast(list[float], [])

    def go(self) -> None:
        self.began = time.perf_counter()
        self.push(encode(TONE))

    def heard(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            decode(line)
            self.trips.append(time.perf_counter() - self.began)
        if len(self.trips) < self.count:
            self.go()
        else:
            tell(percentiles(self.trips))
            self.wire.close()


class Relay(End):
    """What comes is validated by a peek; the same bytes go on."""

    onward: End

    def heard(self, lines: list[bytes]) -> None:
        push = self.onward.push
        for line, envelope in zip(lines, peek_each(lines), strict=True):
            if not isinstance(envelope, MalformedTone) and envelope.to:
                push(line)

    def gone(self) -> None:
        self.onward.outbox.when_empty(self.onward.wire.close)


class Onward(End):
    """The far side of a relay: while it is full, the near side is not read."""

    def __init__(self, wire: IWire, source: IWire) -> None:
        super().__init__(wire)
        self.source = source

    def wire_full(self) -> None:
        super().wire_full()
        self.source.pause()

    def room(self) -> None:
        self.source.resume()


def listen(build: Callable[[IWire], None]) -> None:
    listening: Deferred[Any] = transport.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), build)
    listening.addCallback(lambda port: say(f"READY {port.getHost().port}"))


def dial(port: int, build: Callable[[IWire], None]) -> None:
    address = HumdAddr(KEY.humd_id()).with_hint(f"{transport.scheme}:127.0.0.1:{port}")
    dialled: Deferred[IWire] = transport.connect(address)
    dialled.addCallback(build)
    dialled.addErrback(_give_up)


def _give_up(failure: Any) -> None:
    sys.stderr.write(failure.getTraceback())
    finish()


def main(command: str, *rest: str) -> None:
    global transport
    if command in TRANSPORTS:
        transport = TRANSPORTS[command](KEY)
        command, rest = rest[0], rest[1:]
    numbers = [int(text) for text in rest]

    def relay(wire: IWire) -> None:
        near = Relay(wire)

        def dialled(far_wire: IWire) -> None:
            near.onward = Onward(far_wire, wire)
            far_wire.start(near.onward)
            wire.start(near)

        dial(numbers[0], dialled)

    def send(wire: IWire) -> None:
        sender = Sender(wire, numbers[1])
        wire.start(sender)
        sender.room()

    def rtt(wire: IWire) -> None:
        tripper = Tripper(wire, numbers[1])
        wire.start(tripper)
        tripper.go()

    match command:
        case "recv":
            listen(lambda wire: wire.start(Receiver(wire)))
        case "echo":
            listen(lambda wire: wire.start(Echo(wire)))
        case "relay":
            listen(relay)
        case "send":
            dial(numbers[0], send)
        case "rtt":
            dial(numbers[0], rtt)
        case _:
            raise SystemExit(__doc__)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
