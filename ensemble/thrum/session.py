"""
One local program on the thrum socket: mesh 9.3 with the exceptions of wire-0.8 section 8.

What the program sees: a breath on connect; every ``rid`` echoed before its tone is handled (not ``echo``, ``log``);
a breath behind the echo of each hello.  A line that is no tone is answered with ``tone.malformed``, and the
connection stays.

A full queue refuses what somebody asks of the program, and pieces of an answer: whoever said it is told, and the
program stays.  It is disconnected where it takes nothing for ``client_slow_seconds`` from then on, or where errors,
which cannot be refused, fill the queue to twice its bound.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from ensemble.errors import RemoteWireError
from ensemble.interfaces import IClient, IWire, IWireSink
from ensemble.protocols import BudgetExceeded, Outbox, UnfinishedLine
from ensemble.tone import (
    NEVER_ANSWERED,
    THRUM_VERSION,
    Envelope,
    MalformedTone,
    Qualifier,
    encode,
    error_tone,
    is_expired,
    peek_each,
    salvage,
)

if TYPE_CHECKING:
    from ensemble.thrum.server import ThrumServer

BREATH = encode({"chi": "breath", "from": "daemon", "protoVersion": THRUM_VERSION, "sessions": []})
MAX_LINE = 16 * 1024 * 1024  # bytes of one tone on the thrum socket


@implementer(IClient, IWireSink)
class Session:
    """The daemon's end of one connection."""

    log = Logger()

    def __init__(self, wire: IWire, client_id: str, server: ThrumServer) -> None:
        self.client_id = client_id
        self._wire, self._server, self._node = wire, server, server.node
        self._outbox = Outbox(wire, server.turn, server.queue_bytes, self._has_room, partial(server.queues.note, self))
        self._half = server.queue_bytes // 2
        self._refused = self._full = False  # since it last had room; the wire
        self._slow: IDelayedCall | None = None  # while both are so
        self._reading = True
        self._held: list[bytes] = []
        self._gone = self._shed = False
        self._closing: IDelayedCall | None = None
        self._slip: tuple[Envelope, str, IDelayedCall] | None = None  # the latest line, which is no tone; not told yet

    def begin(self) -> None:
        """Greet the program and listen to it."""
        self._node.client_joined(self)
        self._outbox.push(BREATH)
        self._wire.start(self)

    # IClient

    @property
    def congested(self) -> bool:
        """True while more than half of the queue is full: whoever writes to this program should pause."""
        return self._outbox.size > self._half

    def deliver(self, line: bytes, droppable: bool = False, final: bool = False) -> bool:
        if self._gone or self._shed:
            return False
        outbox = self._outbox
        if outbox.push(line, droppable):
            if outbox.size > self._half:
                outbox.want_room()
            return True
        if not droppable:
            self._refused = True
            self._watch()
            if final:
                if outbox.size + len(line) < 2 * outbox.limit:
                    return outbox.push(line, whatever=True)
                self._cut(f"it did not read {outbox.size} bytes, and errors cannot be refused")
        return False

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._wire.pause()

    def resume(self) -> None:
        if self._reading or self._gone:
            return
        self._reading = True
        held, self._held = self._held, []
        if held:
            self.lines_received(held)
        if self._reading:
            self._wire.resume()

    def close(self) -> None:
        """What is queued leaves, as far as it does in time, then the connection closes."""
        self._outbox.flush()
        if not self._outbox.size:
            self._wire.close()
        elif self._closing is None:
            self._outbox.when_empty(self._wire.close)
            self._closing = self._server.clock.callLater(self._server.deadlines.client_close_seconds, self._wire.abort)

    # LineHolder: our queue, among all queues

    def budget_exceeded(self, error: BudgetExceeded) -> None:
        self._shed = True
        self._server.counters["thrum.shed"] += 1
        self.log.warn(
            "disconnecting local client {client}: {cause}; it reads too slowly, or --limit queues_bytes is too low",
            client=self.client_id,
            cause=str(error),
        )
        self._outbox.close()
        self._wire.abort()  # whose end is told in a later turn: somebody is in the middle of a push

    def _has_room(self) -> None:
        self._refused = False
        if not self._gone:
            self._node.client_has_room(self)

    # IWireSink

    def lines_received(self, lines: list[bytes]) -> None:
        self._server.turn.handle(self._receive, lines)

    def _receive(self, lines: list[bytes]) -> None:
        self._tell_slip()
        for at, envelope in enumerate(peek_each(lines)):
            if not self._reading:
                self._held.extend(lines[at:])
                return
            if self._gone:
                return
            line = lines[at]
            if isinstance(envelope, MalformedTone):
                self._malformed(line, envelope)
                if at + 1 < len(lines):
                    self._tell_slip()
                continue
            rid, chi = envelope.rid, envelope.chi
            if rid is not None and chi != "echo" and chi != "log":
                self._echo(rid, envelope.dusk)
            if chi == "hello":
                self._outbox.push(BREATH)
            self._node.client_said(self, envelope, line)

    def bytes_trickled(self) -> None:
        pass  # a person may type a tone by hand; the wire's own deadline bounds a line

    def line_refused(self, error: RemoteWireError) -> None:
        self._server.counters["thrum.line_refused"] += 1
        qualifier = Qualifier.TONE_MALFORMED if isinstance(error, UnfinishedLine) else Qualifier.TONE_TOO_LARGE
        self.deliver(encode(error_tone(qualifier, f"{error}; the connection is closed")), final=True)
        self._leave(str(error))
        self.close()

    def wire_full(self) -> None:
        self._full = True
        self._outbox.full()
        self._watch()

    def wire_drained(self) -> None:
        self._full = False
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        self._outbox.drained()

    def wire_lost(self, reason: str, clean: bool) -> None:
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._outbox.close()
        self._leave(reason)

    def _watch(self) -> None:
        """What it is sent was refused, and the wire takes nothing: for so long, and no longer."""
        if self._refused and self._full and self._slow is None and not self._gone:
            self._slow = self._server.clock.callLater(self._server.deadlines.client_slow_seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._slow = None
        self._cut(f"its queue is full, and it read nothing for {self._server.deadlines.client_slow_seconds} s")

    def _cut(self, cause: str) -> None:
        self._server.counters["thrum.disconnected.slow"] += 1
        self.log.warn(
            "disconnecting local client {client}: {cause}; does it read while it works?  "
            "--limit client_queue_bytes=… allows more",
            client=self.client_id,
            cause=cause,
        )
        self._leave("it read too slowly")
        self._wire.abort()

    def _malformed(self, line: bytes, error: MalformedTone) -> None:
        self._server.counters["thrum.malformed"] += 1
        found = salvage(line)
        if found.rid is not None or found.chi not in NEVER_ANSWERED:
            told = error_tone(Qualifier.TONE_MALFORMED, str(error), rid=found.rid, sid=found.sid, call_id=found.call_id)
            self.deliver(encode(told), droppable=True)
        if found.chi:
            self._slip = found.envelope, str(error), self._server.clock.callLater(0, self._tell_slip)

    def _tell_slip(self) -> None:
        """Before what comes behind it; but where the connection ended in that line, the loss is told instead."""
        slip, self._slip = self._slip, None
        if slip is not None:
            read, cause, later = slip
            if later.active():
                later.cancel()
            if not self._gone:
                self._node.client_garbled(self, read, cause)

    def _echo(self, rid: str, dusk: int | None) -> None:
        """The receipt; of a tone past its dusk it says so, and the node tells whoever waits."""
        echo: dict[str, object] = {"chi": "echo", "rid": rid, "ok": True}
        if is_expired(dusk, self._server.wall_ms()):
            echo |= {"ok": False, "error": "past dusk"}
        self._outbox.push(encode(echo), droppable=True)

    def _leave(self, reason: str) -> None:
        if not self._gone:
            self._gone = True
            self._held = []
            if self._slow is not None:
                self._slow.cancel()
                self._slow = None
            if self._outbox.dropped:
                self._server.counters["thrum.dropped"] += self._outbox.dropped
            self.log.debug("local client {client} is gone: {reason}", client=self.client_id, reason=reason)
            self._tell_slip()
            self._server.sessions.pop(self.client_id, None)
            self._node.client_left(self)
