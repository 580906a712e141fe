"""
The control socket: how ``ensemble``, the command, and other programs of the operator ask a running daemon.

One request object per line, ``{"do": <verb>, ...}``; one answer line each, in order: ``{"ok": true, ...}`` or ``{"ok":
false, "qualifier": <word>, "message": <text>}``.  ``tap`` goes on: one ``{"tone": ...}`` line per tone, and ``{"lost":
n}`` where the reader fell behind, until the connection closes.  ``docs/daemon.rst`` has the verbs.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.errors import EnsembleError, RemoteWireError
from ensemble.interfaces import IWire, IWireSink
from ensemble.mesh import Tap
from ensemble.protocols import DEADLINES, Deadlines, Outbox, StreamWireFactory, Turn
from ensemble.thrum import UnixListener
from ensemble.tone import BadDocument, Qualifier, encode, read_document

REQUEST_BYTES: Final = 64 * 1024  # of one request line
QUEUE_BYTES: Final = 1024 * 1024  # unread by whoever asks: then no more is answered, and a tap loses its oldest
CONNECTIONS: Final = 16
TAPS: Final = 8

Request: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = dict[str, Any]


class Refusal(EnsembleError):
    """A request that is not done; the text is for people and names the mend."""

    def __init__(self, qualifier: str, message: str) -> None:
        super().__init__(message)
        self.qualifier = qualifier


@frozen
class Watch:
    """
    What `tap` answers: from now on, this.

    :ivar wanted: which tones are shown.
    """

    tap: Tap
    wanted: Callable[[Mapping[str, Any]], bool]


Verb: TypeAlias = Callable[[Request], "Answer | Watch | Deferred[Answer]"]


class ControlServer(Service):
    """The socket and the connections on it."""

    def __init__(
        self, reactor: Any, path: str, verbs: Mapping[str, Verb], turn: Turn, deadlines: Deadlines = DEADLINES
    ) -> None:
        """
        :param reactor: ``IReactorUNIX`` and ``IReactorTime``.
        :param verbs: by name; each may raise `EnsembleError`.
        """
        self.counters: Counter[str] = Counter()
        self.verbs, self.turn = verbs, turn
        self.taps = 0
        self.clock: IReactorTime = reactor
        self.idle_seconds = deadlines.control_idle_seconds
        self.sessions: set[ControlSession] = set()
        factory = StreamWireFactory(
            self.clock, self.accepted, kind="control", max_line=REQUEST_BYTES, deadlines=deadlines
        )
        self._listener = UnixListener(reactor, path, factory)

    def accepted(self, wire: IWire) -> None:
        """Serve one connection; for tests without sockets, too."""
        session = ControlSession(wire, self)
        if len(self.sessions) >= CONNECTIONS:
            session.turn_away()
            return
        self.sessions.add(session)
        wire.start(session)

    def startService(self) -> None:
        """:raises ConfigurationError: the socket cannot be made; the text says why."""
        self._listener.startService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        for session in list(self.sessions):
            session.close()
        return self._listener.stopService()

    def abandon(self) -> None:
        """The start failed later on: leave no socket behind."""
        self._listener.abandon()


@implementer(IWireSink)
class ControlSession:
    """One connection.  Requests are answered one after the other; meanwhile nothing more is read."""

    log = Logger()

    def __init__(self, wire: IWire, server: ControlServer) -> None:
        self._wire, self._server = wire, server
        self._outbox = Outbox(wire, server.turn, QUEUE_BYTES, self._has_room)
        self._unsaid: deque[bytes] = deque()  # an answer may be longer than the whole queue: it waits for its end
        self._requests: deque[bytes] = deque()
        self._busy = self._going = self._gone = False
        self._watch: Watch | None = None
        self._room: Deferred[None] | None = None
        self._idle = server.clock.callLater(server.idle_seconds, self._too_idle)

    def turn_away(self) -> None:
        """There are too many connections already."""
        self._wire.start(self)
        self._refuse(Refusal(Qualifier.QUEUE_FULL, f"{CONNECTIONS} control connections are open already; close one"))
        self.close()

    def close(self) -> None:
        """What is queued leaves, then the connection closes."""
        self._outbox.flush()
        self._wire.close()

    # IWireSink

    def lines_received(self, lines: list[bytes]) -> None:
        if self._watch is None:
            self._not_idle()
            self._requests.extend(lines)
            self._go_on()

    def bytes_trickled(self) -> None:
        pass  # the wire's own deadline bounds a line

    def line_refused(self, error: RemoteWireError) -> None:
        self._refuse(Refusal(Qualifier.TONE_TOO_LARGE, f"{error}; the connection is closed"))
        self.close()

    def wire_full(self) -> None:
        self._outbox.full()

    def wire_drained(self) -> None:
        self._not_idle()
        self._outbox.drained()

    def wire_lost(self, reason: str, clean: bool) -> None:
        self._gone = True
        if self._idle.active():
            self._idle.cancel()
        self._requests.clear()
        self._unsaid.clear()
        self._outbox.close()
        self._server.sessions.discard(self)
        if self._watch is not None:
            self._watch.tap.close()
        self._has_room()

    def _not_idle(self) -> None:
        if self._idle.active():
            self._idle.reset(self._server.idle_seconds)

    def _too_idle(self) -> None:
        """It would keep a place from others for ever: it is silent, or does not read what it asked for."""
        if self._watch is None:
            self._server.counters["control.idle"] += 1
            self._wire.abort()

    def _has_room(self) -> None:
        self._push()
        waiting, self._room = self._room, None
        if waiting is not None:
            waiting.callback(None)
        self._go_on()

    # requests

    def _go_on(self) -> None:
        if self._going or self._gone:
            return
        self._going = True
        while self._requests and self._may_answer():
            self._do(self._requests.popleft())
        self._going = False
        if self._may_answer() or self._watch is not None:
            self._wire.resume()  # a tap is read too, or we would not see its reader leave
        else:
            self._wire.pause()

    def _may_answer(self) -> bool:
        return not self._busy and self._watch is None and not self._crowded()

    def _crowded(self) -> bool:
        """Whoever asks does not read; `_has_room` goes on when that changes."""
        if self._gone or not (self._unsaid or self._outbox.size * 2 > self._outbox.limit):
            return False
        self._outbox.want_room()
        return True

    def _do(self, line: bytes) -> None:
        self._server.counters["control.requests"] += 1
        self._busy = True
        done: Deferred[Any] = maybeDeferred(cast(Callable[[bytes], Any], self._perform), line)
        done.addCallback(_written).addErrback(self._failed)
        done.addCallback(self._answered)

    def _perform(self, line: bytes) -> Answer | Watch | Deferred[Answer]:
        try:
            request = read_document(line)
        except BadDocument as error:
            raise Refusal(Qualifier.TONE_MALFORMED, f'not JSON: {error}; send {{"do":"status"}} and an LF') from None
        if not isinstance(request, dict) or not isinstance(request.get("do"), str):
            raise Refusal(Qualifier.TONE_MALFORMED, 'a request is an object with a string "do", as {"do":"status"}')
        verb = self._server.verbs.get(request["do"])
        if verb is None:
            known = ", ".join(sorted(self._server.verbs))
            raise Refusal(Qualifier.NOT_SUPPORTED, f"there is no verb {request['do'][:40]!r}; there are {known}")
        return verb(request)

    def _failed(self, failure: Failure) -> bytes:
        error = failure.value
        if not isinstance(error, Refusal):
            self.log.failure("a control request died", failure=failure)
            error = Refusal(Qualifier.NOT_SUPPORTED, f"{type(error).__name__}: a bug; see the daemon's log")
        return encode(self._refused(error))

    def _answered(self, answer: bytes | Watch) -> None:
        self._busy = False
        if isinstance(answer, Watch):
            self._begin_watch(answer)
        else:
            self._say_line(answer)
        self._go_on()

    def _refused(self, refusal: Refusal) -> Answer:
        self._server.counters["control.refused"] += 1
        return {"ok": False, "qualifier": str(refusal.qualifier), "message": str(refusal)}

    def _refuse(self, refusal: Refusal) -> None:
        self._say(self._refused(refusal))

    def _say(self, answer: Answer) -> None:
        self._say_line(encode(answer))

    def _say_line(self, line: bytes) -> None:
        if not self._gone:
            self._unsaid.append(line)
            self._push()

    def _push(self) -> None:
        while self._unsaid and self._outbox.push(self._unsaid[0]):
            self._unsaid.popleft()

    # tap

    def _begin_watch(self, watch: Watch) -> None:
        if self._gone or self._server.taps >= TAPS:
            watch.tap.close()
            self._refuse(Refusal(Qualifier.QUEUE_FULL, f"{TAPS} taps are open already; close one"))
            return
        self._watch = watch
        self._requests.clear()
        self._server.taps += 1
        self._say({"ok": True})
        Deferred.fromCoroutine(self._show(watch)).addErrback(
            lambda failure: self.log.failure("a tap died", failure=failure)
        ).addCallback(self._watched)

    async def _show(self, watch: Watch) -> None:
        told = 0
        async for tone in watch.tap:
            if self._gone:
                return
            if watch.tap.lost > told:
                self._say({"lost": watch.tap.lost - told})
                told = watch.tap.lost
            if watch.wanted(tone):
                # Spliced: a tone may be as deep as a line can be, and this object is one deeper.
                self._say_line(b"".join((b'{"tone":', encode(tone), b"}")))
                while self._crowded():
                    self._room = Deferred()
                    await self._room

    def _watched(self, _: object) -> None:
        self._server.taps -= 1
        if not self._gone:
            self.close()


def _written(answer: Answer | Watch) -> bytes | Watch:
    """For the wire, while whoever asked can still be told that it cannot be written."""
    return answer if isinstance(answer, Watch) else encode(answer)
