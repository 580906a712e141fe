"""
A client of the thrum socket for Twisted programs: say hello, send tones, ask and get the answer piece by piece.

::

    client = await connect(reactor, path)
    client.hello("my-bee", bee=["worker"], models=["echo"])
    async for tone in client.ask({"chi": "prompt", "modelId": "echo", "text": "hi"}):
        ...                                # chunks, then one finish or error

A program that cannot keep up is not read for: what it has not taken waits in the daemon, which disconnects it in the
end (wire-0.8 section 7).
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from ensemble.errors import EnsembleError, LocalWireError, RemoteWireError
from ensemble.identity import refuse_strangers
from ensemble.interfaces import IWire, IWireSink
from ensemble.protocols import Outbox, StreamWire, Turn
from ensemble.thrum.session import MAX_LINE
from ensemble.tone import (
    ENDS,
    THRUM_VERSION,
    Envelope,
    MalformedTone,
    RidMinter,
    decode_checked,
    encode,
    is_about,
    peek_each,
)

UNTAKEN: Final = 1024  # tones held for a reader before the socket is not read any more

_Key: TypeAlias = tuple[str, str]  # the field of a tone and its value; ``prompt`` for the sid of one


class ThrumLost(EnsembleError):
    """The connection to the daemon is gone."""


class Stream:
    """
    Tones for one reader, in order; an async iterator.

    It ends behind its terminal tone where it is an answer; when the connection is lost it raises `ThrumLost`.
    """

    def __init__(
        self,
        client: ThrumClient,
        is_last: Callable[[str], bool],
        closed: Callable[[Stream], None],
        sid: str | None = None,
        call_id: str | None = None,
    ) -> None:
        """:param sid: this one and the ``callId`` are the question's, where it is an answer."""
        self._client, self._is_last, self._closed = client, is_last, closed
        self.sid, self.call_id = sid, call_id
        self._lines: deque[bytes] = deque()
        self._waiting: Deferred[None] | None = None
        self._error: ThrumLost | None = None
        self._done = False

    @property
    def untaken(self) -> int:
        """Tones that wait to be taken."""
        return len(self._lines)

    def put(self, envelope: Envelope, line: bytes) -> None:
        """One tone for this reader; called by the client."""
        if self._done:
            return  # another reader of the same tone has just closed this one
        self._lines.append(line)
        if self._is_last(envelope.chi):
            self.close()
        self._wake()

    def lost(self, error: ThrumLost) -> None:
        """The connection is gone; called by the client."""
        self._error = error
        self._wake()

    def close(self) -> None:
        """Nothing more is taken in (idempotent); what came before can still be read."""
        if not self._done:
            self._done = True
            self._closed(self)
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._lines:
            if self._done:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            if self._waiting is None or self._waiting.called:  # called: the last wait was cancelled
                self._waiting = Deferred()
            await self._waiting
        line = self._lines.popleft()
        self._client.taken()
        return decode_checked(line)


@implementer(IWireSink)
class ThrumClient:
    """
    One connection to the daemon; make it with `connect`.

    :ivar on_tone: called with the envelope and line of every tone that no `ask` or `tones` takes.
    :ivar gone: fires with `ThrumLost` when the connection ends.
    """

    def __init__(self, wire: IWire, turn: Turn, wall_ms: Callable[[], int]) -> None:
        self.on_tone: Callable[[Envelope, bytes], None] | None = None
        self.gone: Deferred[ThrumLost] = Deferred()
        self._wire = wire
        self._outbox = Outbox(wire, turn, on_room=self._has_room)
        self._rids = RidMinter(wall_ms)
        self._asks: dict[_Key, list[Stream]] = {}  # one reader each, but for prompts that join
        self._all: list[Stream] = []
        self._lost: ThrumLost | None = None
        self._refused: RemoteWireError | None = None
        self._paused = False
        self._room: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin to read; done by `connect`."""
        self._wire.start(self)

    def rid(self) -> str:
        """A fresh rid."""
        return self._rids()

    def hello(self, name: str, **fields: Any) -> None:
        """
        Say what this program is.

        :param fields: of the hello: ``bee``, ``models``, ``tools``, ``chis``, ``version``, ... (mesh 9.4).
        """
        self.send({"chi": "hello", "rid": self.rid(), "hive": name, "protoVersion": THRUM_VERSION, **fields})

    def send(self, tone: Mapping[str, Any]) -> None:
        """
        Send one tone.  Only enqueues.

        :raises ThrumLost: the connection is gone or closed; or too much waits for the daemon, see `drained`.
        :raises LocalWireError: it is not a tone.
        """
        self.send_line(encode(tone))

    def send_line(self, line: bytes) -> None:
        """`send` for a tone that is encoded already."""
        if self._lost is not None:
            raise self._lost
        if not self._outbox.push(line):
            raise ThrumLost("the daemon does not read, and too much waits for it; await drained() between sends")

    async def drained(self) -> None:
        """
        Wait until at most half of what may wait for the daemon does.

        :raises ThrumLost: the connection is gone or closed.
        """
        if self._lost is not None:
            raise self._lost
        if self._outbox.size * 2 > self._outbox.limit:
            room: Deferred[None] = Deferred()
            self._room.append(room)
            self._outbox.want_room()
            await room

    def ask(self, tone: Mapping[str, Any]) -> Stream:
        """
        Send a tone and read what answers it.

        A missing ``rid`` is minted, and a prompt's missing ``sid`` and a tool-call's ``callId`` too.  As in the daemon
        (``docs/delivery.rst``) a key belongs to the first question that has it, until that is answered; but prompts
        with one ``sid`` are one, and it is theirs: a tool-call that names it is answered by its ``callId`` or ``rid``.

        :returns: every tone with its ``sid``, ``callId`` or ``rid``.  Of a prompt the last one is a finish or an error,
            of a tool-call a tool-result or an error, of anything else the first one is.
        :raises LocalWireError: it is not a tone, or another question has the key by which its answer is found: the
            ``callId``, or the ``rid`` where there is none.
        :raises ThrumLost: as `send`.
        """
        said = dict(tone)
        said.setdefault("rid", self.rid())
        is_prompt = said.get("chi") == "prompt"
        # Another program may mint this rid in this very millisecond.
        if is_prompt:
            said.setdefault("sid", f"hum-{uuid4().hex[:12]}")
        elif said.get("chi") == "tool-call":
            said.setdefault("callId", f"call-{uuid4().hex[:12]}")
        names = ("sid", "callId", "rid") if is_prompt else ("callId", "rid", "sid")  # its answer is found by the first
        own = {name: said[name] for name in names if isinstance(said.get(name), str)}
        named = [("prompt" if is_prompt and name == "sid" else name, key) for name, key in own.items()]
        keys = [key for key in named if key[0] == "prompt" or key not in self._asks]
        if keys[:1] != named[:1]:
            raise LocalWireError(
                "a question with this callId or rid still waits for its answer: choose a fresh one, or none"
            )
        self.send(said)

        def closed(stream: Stream) -> None:
            for key in keys:
                self._asks[key].remove(stream)
                if not self._asks[key]:
                    del self._asks[key]
            self.taken()

        last = ENDS.get(said.get("chi", ""))
        stream = Stream(self, lambda chi: last is None or chi in last, closed, own.get("sid"), own.get("callId"))
        for key in keys:
            self._asks.setdefault(key, []).append(stream)
        return stream

    def tones(self) -> Stream:
        """Every tone that no `ask` takes, from now on."""

        def closed(stream: Stream) -> None:
            self._all.remove(stream)
            self.taken()

        stream = Stream(self, lambda chi: False, closed)
        self._all.append(stream)
        if self._lost is not None:
            stream.lost(self._lost)
        return stream

    def close(self) -> None:
        """End the connection; what was sent still leaves, and nothing more is taken."""
        if self._lost is None:
            self._lost = ThrumLost("the connection to the daemon was closed here")
        while self._outbox.size:
            self._outbox.drained()  # a full wire keeps it, too, and knows how long to wait for a daemon that reads late
        self._wire.close()

    def taken(self) -> None:
        """A reader took a tone, or closed; called by its stream."""
        if self._paused and self._untaken() * 2 <= UNTAKEN:
            self._paused = False
            self._wire.resume()

    # IWireSink

    def lines_received(self, lines: list[bytes]) -> None:
        for line, envelope in zip(lines, peek_each(lines), strict=True):
            if self._lost is not None:
                return  # who was told of the line before has closed
            if isinstance(envelope, MalformedTone) or envelope.chi == "echo":
                continue  # of a daemon that is newer or broken; the next line may be fine
            askers = tuple(self._askers(envelope)) if self._asks else ()
            for taker in askers or tuple(self._all):  # who is woken may close
                taker.put(envelope, line)
            if not askers and self.on_tone is not None:
                self.on_tone(envelope, line)
        if not self._paused and self._untaken() > UNTAKEN:
            self._paused = True
            self._wire.pause()

    def bytes_trickled(self) -> None:
        pass

    def line_refused(self, error: RemoteWireError) -> None:
        self._refused = error
        self._wire.abort()

    def wire_full(self) -> None:
        self._outbox.full()

    def wire_drained(self) -> None:
        self._outbox.drained()

    def wire_lost(self, reason: str, clean: bool) -> None:
        lost = self._lost = ThrumLost(f"the connection to the daemon is gone: {self._refused or reason}")
        self._outbox.close()
        for stream in self._streams():
            stream.lost(lost)
        room, self._room = self._room, []
        for waiting in room:
            waiting.errback(lost)
        self.gone.callback(lost)

    def _untaken(self) -> int:
        return sum(stream.untaken for stream in self._streams())

    def _streams(self) -> set[Stream]:
        return {*chain.from_iterable(self._asks.values()), *self._all}

    def _askers(self, envelope: Envelope) -> Sequence[Stream]:
        """Whom a tone answers: an error is about one tone first, everything else about a call or a conversation."""
        sid, call_id, rid = envelope.sid, envelope.call_id, envelope.rid
        keys = (("callId", call_id), ("prompt", sid), ("sid", sid))
        for name, key in (("rid", rid), *keys) if envelope.chi == "error" else (*keys, ("rid", rid)):
            found = self._asks.get((name, key)) if key is not None else None
            if found is not None and (name != "rid" or is_about(envelope, found[0].sid, found[0].call_id)):
                return found
        return ()

    def _has_room(self) -> None:
        room, self._room = self._room, []
        for waiting in room:
            waiting.callback(None)


def connect(reactor: Any, path: str, wall: Callable[[], float] = time.time) -> Deferred[ThrumClient]:
    """
    Connect to the thrum socket.

    :param reactor: ``IReactorUNIX`` and ``IReactorTime``.
    :returns: fires with the client; fails with ``ConnectError`` where nobody listens there, and with
        ``PermissionError`` where it is somebody else who does.
    """
    connected: list[StreamWire] = []
    factory = Factory.forProtocol(
        lambda: StreamWire(reactor, connected.append, kind="unix", max_line=MAX_LINE, dialled=True)
    )
    factory.noisy = False  # its name twice in the program's log, each time, says nothing

    def ready(_: object) -> ThrumClient:
        server = getattr(connected[0].transport, "socket", None)  # memory has none
        if isinstance(server, socket.socket):
            try:
                refuse_strangers(server, path)
            except PermissionError:
                connected[0].abort()
                raise
        client = ThrumClient(connected[0], Turn(reactor), lambda: int(wall() * 1000))
        client.start()
        return client

    joined: Deferred[ThrumClient] = UNIXClientEndpoint(reactor, path).connect(factory).addCallback(ready)
    return joined
