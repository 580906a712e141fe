"""
One link, from accept or dial to its end.

States: *pending* (only the handshake is processed, wire-0.8 section 2) -> *up* -> *leaving* (our goodbye is the last
line; what the peer still says is read) -> *gone*.  The handshake, liveness and framing rules are cores of their
own; this adapter gives them bytes and time, and tells its owner what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ensemble.errors import LinkRefused, QueueFull, RemoteWireError, SendFailed, ToneTooLarge
from ensemble.identity import HumdId, tamed
from ensemble.interfaces import IWire, IWireSink
from ensemble.mesh.defaults import MESSAGE_CHARACTERS
from ensemble.mesh.limits import Limits
from ensemble.mesh.link_actions import GoodbyeReason
from ensemble.mesh.link_owner import LinkOwner, State
from ensemble.mesh.pulse import Pulse
from ensemble.mesh.reading import Reading
from ensemble.protocols import BYE_FEATURE, PENDING_BYTES, PING_FEATURE, Outbox, ReadyToProve, Refused, Send
from ensemble.tone import LINK_CHI, Envelope, MalformedTone, decode_checked, encode, peek_each

if TYPE_CHECKING:
    from ensemble.protocols import Block, BudgetExceeded, Event, Handshake, LineBudget, Turn, Up

_OWN_CHI = LINK_CHI - {"hello"}  # a later hello is a bee's, on its way to somebody
_SPEAKING = (State.UP, State.LEAVING)  # the peer may


@implementer(IWireSink)
class Link:
    """
    See the module.  All the methods run in the reactor thread.

    :ivar shaken: what the peer said and showed; None before it is up.
    :ivar up_at: seconds on the clock when it came up, as ``began`` when it was made.
    """

    __slots__ = (
        "_clock",
        "_handshake",
        "_heard_out",
        "_limits",
        "_outbox",
        "_owner",
        "_parted",
        "_pulse",
        "_silent",
        "_turn",
        "_wall_ms",
        "began",
        "counted",
        "heard",
        "max_tone",
        "peer",
        "peer_text",
        "reading",
        "shaken",
        "state",
        "statements",
        "up_at",
        "wire",
        "wrote",
    )

    def __init__(
        self,
        wire: IWire,
        handshake: Handshake,
        owner: LinkOwner,
        clock: IReactorTime,
        wall_ms: Callable[[], int],
        turn: Turn,
        max_tone: int,
        limits: Limits,
        queues: LineBudget,
    ) -> None:
        """
        :param max_tone: bytes per line that we accept once the link is up.
        :param limits: of them its own queue, and its deadlines.
        :param queues: over what waits in the queues of all links and programs.
        """
        self.wire = wire
        self.state = State.PENDING
        self.peer: HumdId | None = wire.peer.id if wire.peer is not None else None
        self.peer_text = ""
        self.shaken: Up | None = None
        self.max_tone = max_tone
        self.began = clock.seconds()
        self.up_at, self.counted = 0.0, 0
        self.wrote = self.heard = False  # tones, not only lines of the link's own
        self.statements = 0  # of keys, that came on it
        self._silent = ""  # why we gave the peer up
        self._parted = self._heard_out = False  # it said goodbye, which is a line in the log; and that was its last
        self._handshake: Handshake | None = handshake
        self._limits = limits
        self._owner, self._clock, self._wall_ms, self._turn = owner, clock, wall_ms, turn
        room, note = partial(owner.link_has_room, self), partial(queues.note, self)
        self._outbox = Outbox(wire, turn, limits.peer_queue_bytes, room, note)
        self._pulse: Pulse | None = None
        self.reading = Reading(wire, clock, self._tones)

    def begin(self) -> None:
        """Start the handshake; the owner keeps its deadline and calls `too_late`."""
        assert self._handshake is not None
        # Not a ceiling per line: what follows the handshake in its chunk may be long.
        self.wire.limit_total(PENDING_BYTES)
        self.wire.write(self._handshake.start(self._wall_ms()))
        self.wire.start(self)  # which may deliver at once what came meanwhile

    def too_late(self) -> None:
        """The handshake took too long."""
        if self.state is State.PENDING:
            cause = f"no handshake within {self._limits.pending_seconds} s"
            self._refuse(Refused(cause, "handshake.timeout", "is a humd at the other end?", self.peer))

    # what the owner does with a link that is up

    @property
    def queued(self) -> int:
        """Bytes that wait in our own queue."""
        return self._outbox.size

    @property
    def dropped(self) -> int:
        """Tones dropped under pressure, so far."""
        return self._outbox.dropped

    @property
    def may_be_dropped(self) -> bool:
        """True for a dial whose last handshake line is unsent."""
        return self.wire.dialled and self.state is State.PENDING

    def send(self, line: bytes, droppable: bool = False) -> bool:
        """
        Queue one line; it leaves this turn with all others.

        :returns: True where more than half of the queue is full: the source should pause.
        :raises ToneTooLarge: longer than the peer accepts.
        :raises SendFailed: we have said goodbye on it.
        :raises QueueFull: the peer reads too slowly.
        """
        outbox = self._outbox
        assert self.shaken is not None
        if self.state is not State.UP:
            raise SendFailed("the link is closing; try again later")
        if len(line) > self.shaken.max_tone:
            raise ToneTooLarge(
                f"the tone is {len(line)} bytes, the peer accepts {self.shaken.max_tone}; send less at once"
            )
        self.wrote = True
        if not outbox.push(line, droppable):
            raise QueueFull("the peer reads too slowly and its queue is full; try again later")
        if outbox.size * 2 <= outbox.limit:
            return False
        outbox.want_room()
        return True

    def send_block(self, block: Block) -> None:
        """Queue what other links are sent too: droppable, short enough for the peer, lost where we said goodbye."""
        if self.state is State.UP:
            self.wrote = True
            self._outbox.add_block(block)

    @property
    def round_trip(self) -> float | None:
        """Seconds, of the last ping that was answered."""
        return self._pulse.round_trip if self._pulse is not None else None

    @property
    def skew_ms(self) -> int | None:
        """The peer's clock less ours, as the last pong told."""
        return self._pulse.skew_ms if self._pulse is not None else None

    def probe(self) -> Deferred[None]:
        """
        Ask the peer for a sign of life now.

        :returns: fires when it came, with `round_trip` and `skew_ms` fresh; fails with `LinkRefused`.
        """
        if self._pulse is None or self.state is not State.UP:
            return fail(LinkRefused("the link is not up"))
        return self._pulse.probe()

    def say_goodbye(self, reason: GoodbyeReason, message: str = "") -> None:
        """Queue our last line; a peer without ``bye-1`` gets none."""
        if self.state is State.UP:
            if self.shaken is not None and BYE_FEATURE in self.shaken.features:
                text = message or reason.message
                self._push_own({"chi": "goodbye", "reason": reason.value, "message": text}, whatever=True)
            self.state = State.LEAVING
            self._outbox.settle()

    def say(self, tone: Mapping[str, object]) -> None:
        """Queue a line of the link's own, though the queue be full; nothing where it is not up."""
        self._push_own(tone, whatever=True)

    def close(self) -> None:
        """Orderly: what is queued leaves as far as the wire takes it; who cuts it when that takes long is its owner."""
        if self.state is State.GONE:
            return
        self.state = State.CLOSING
        self._outbox.flush()
        if self._outbox.size:
            self._outbox.when_empty(self.wire.close)
        else:
            self.wire.close()

    def abort(self) -> None:
        """At once and undrained; the rest of the lines in hand is not handled either."""
        if self.state is not State.GONE:
            self.state = State.GONE
            self.wire.abort()

    def set_waiting(self, waits: bool) -> None:
        """Somebody waits for an answer over this link, or nobody does any more."""
        if self._pulse is not None:
            self._pulse.set_waiting(waits)

    # IWireSink

    def lines_received(self, lines: list[bytes]) -> None:
        self._turn.handle(self._receive, lines)

    def _receive(self, lines: list[bytes]) -> None:
        if self.state is State.PENDING:
            lines = self._shake(lines)
            if not lines:
                return
        if self._pulse is not None:
            self._pulse.heard()
        self._tones(lines)
        self._spend(len(lines))

    def bytes_trickled(self) -> None:
        if self._pulse is not None:
            self._pulse.heard()
        self._spend(1)  # a TLS record of one byte costs as much as a short line

    def line_refused(self, error: RemoteWireError) -> None:
        if self.state is State.PENDING:
            self._refuse(Refused(cause=str(error), counter="handshake.line", mend="", peer=None))
        elif self.state is not State.GONE:
            self.say_goodbye(GoodbyeReason.LIMIT, str(error))
            self._silent = str(error)
            self._owner.link_broke(self, str(error))
            self._outbox.flush()
            if self.queued:
                self.abort()  # it does not read either: no goodbye will ever leave
            else:
                self.close()

    def wire_full(self) -> None:
        if self._pulse is not None:
            self._pulse.wire_full()
        self._outbox.full()

    def wire_drained(self) -> None:
        if self._pulse is not None:
            self._pulse.wire_drained()
        self._outbox.drained()

    def wire_lost(self, reason: str, clean: bool) -> None:
        self.state = State.GONE
        self.reading.stop()
        self._handshake = None
        self._outbox.close()
        if self._pulse is not None:
            self._pulse.stop()
        self._owner.link_gone(self, self._silent or reason, clean)

    # LineHolder: our queue, among all queues

    @property
    def standing(self) -> int:
        """Of whom it is, as its wire has it."""
        return self.wire.standing

    def budget_exceeded(self, error: BudgetExceeded) -> None:
        self._outbox.forget()
        self.say_goodbye(GoodbyeReason.LIMIT)  # it leaves where the wire takes anything
        # Somebody is in the middle of a push, and the end of a link is told to many: later.
        self._clock.callLater(0, self._owner.link_shed, self, str(error))

    # the handshake

    def _shake(self, lines: list[bytes]) -> list[bytes]:
        """Feed the handshake; what follows its last line belongs to the link and is returned."""
        for at, line in enumerate(lines):
            handshake = self._handshake
            if handshake is None:
                return []
            self._handle(handshake.receive(line, self._wall_ms()))
            if self.state is not State.PENDING:
                return lines[at + 1 :] if self.state is State.UP else []
        return []

    def _handle(self, events: Sequence[Event]) -> None:
        if lines := [event.line for event in events if isinstance(event, Send)]:
            self.wire.write(lines)  # at once, and before anything else is done
            if not self.wire.dialled:
                self._owner.link_hello_admissible(self)
        for event in events:
            if self.state is State.GONE or self._handshake is None:
                return  # also where the line itself was what ended it: it may change the rules
            if isinstance(event, ReadyToProve):
                if self._owner.link_may_prove(event.peer):
                    self._handle(self._handshake.prove())
                else:
                    self._refuse(Refused("another link to it is up", "dial.superseded", "", event.peer))
            elif isinstance(event, Refused):
                self._refuse(event)
            elif not isinstance(event, Send):
                self._came_up(event)

    def _came_up(self, up: Up) -> None:
        self._handshake = None
        self.shaken, self.peer, self.peer_text = up, up.peer, up.peer.full
        self.up_at = self._clock.seconds()
        self.counted = self.wire.sent + self.wire.received
        self.state = State.UP
        self.wire.max_line = self.max_tone
        self.wire.limit_total(None)
        pings = PING_FEATURE in up.features
        say, taken, gone = self._push_own, self._when_taken, self._given_up
        self._pulse = Pulse(self._clock, self._wall_ms, pings, say, taken, gone, self.wire.arrived, self._limits)
        self.reading.pulse = self._pulse
        if not pings:
            self.wire.keep_alive(True)
        self._owner.link_up(self)
        self._tones(list(up.held))

    def _refuse(self, refused: Refused) -> None:
        """Before a link is up a refusal is a silent close, told in our own log."""
        self._handshake = None
        self._owner.link_refused(self, refused)
        self.wire.abort()

    # tones

    def _tones(self, lines: list[bytes]) -> None:
        tone, reading = self._owner.link_tone, self.reading
        for at, envelope in enumerate(peek_each(lines)):
            if not reading.on:
                reading.hold(lines[at:])
                return
            if self.state not in _SPEAKING or self._heard_out:
                return
            line = lines[at]
            if isinstance(envelope, MalformedTone):
                self._owner.link_malformed(self, line, envelope)
            elif envelope.chi in _OWN_CHI:
                self._link_tone(envelope.chi, envelope, line)
            else:
                self.heard = True
                tone(self, envelope, line)

    def _spend(self, tones: int) -> None:
        """Once for each chunk, after it was handled: what is too much is not lost, it is the next that waits."""
        if self.reading.allowance is not None and self.state is State.UP and self.reading.spend(tones):
            self._owner.link_throttled(self)

    def _link_tone(self, chi: str, envelope: Envelope, line: bytes) -> None:
        assert self._pulse is not None
        if chi == "ping":
            self._pulse.pinged(envelope)
        elif chi == "pong":
            self._pulse.ponged(envelope)
        elif chi in ("succession", "revocation"):
            self._owner.link_statement(self, decode_checked(line))
        elif chi == "goodbye" and not self._parted:
            self._parted = True
            self._heard_out = self.shaken is not None and BYE_FEATURE in self.shaken.features
            body = decode_checked(line)
            said = (body.get("reason"), body.get("message"))
            texts = [each[:MESSAGE_CHARACTERS] if isinstance(each, str) else "" for each in said]
            reason, message = (tamed(each)[:MESSAGE_CHARACTERS] for each in texts)
            self._owner.link_goodbye(self, reason, message)

    def _push_own(self, tone: Mapping[str, object], whatever: bool = False) -> None:
        if self.state is State.UP:  # behind our goodbye there is nothing, not even a pong
            line = encode(tone)
            if self.shaken is not None and len(line) <= self.shaken.max_tone:  # a pong has what the ping had
                self._outbox.push(line, whatever=whatever)

    def _when_taken(self, callback: Callable[[], None]) -> None:
        if self.state is State.UP:  # later it is the close that waits for that
            self._outbox.when_empty(callback)

    def _given_up(self, cause: str) -> None:
        self._silent = cause
        self.abort()
