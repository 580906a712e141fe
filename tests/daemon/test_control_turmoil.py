"""The control socket in any turmoil: each request has one answer, in order, and no client stalls another."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from hypothesis import example, given, settings, strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ensemble.daemon.control import (
    CONNECTIONS,
    QUEUE_BYTES,
    REQUEST_BYTES,
    Answer,
    ControlServer,
    ControlSession,
    Refusal,
    Request,
    Watch,
)
from ensemble.identity import HumdId
from ensemble.mesh import Tap
from ensemble.protocols import StreamWire, Turn
from ensemble.tone import IllegalTone
from tests.protocols.pretended import Socket, System

PEER = HumdId(b"\x01" * 32)
VERBS = ("now", "later", "big", "huge", "refuse", "bug", "odd", "tap", "hang-up", "unknown")
BAD = (b"", b"\r", b"{", b"[]", b'{"do":7}', b"\xff\0", b"[" * 200, b"1e999", b'{"do":"now","do":"tap"}', b'"' * 100)
SIZES = (1, 7, 100, 2**16, 2**20)  # bytes
HUGE = 3 * 2**19  # bytes: more than the queue

Step: TypeAlias = tuple[str, int, int]  # what, who, how


class Client:
    """
    A program on the socket.

    :ivar asked: for each request that was sent whole, its number; None where it has none.
    """

    def __init__(self, play: Play) -> None:
        self.system = System()
        factory: Any = play.server._listener._factory
        self.wire: Any = factory.buildProtocol(None)
        self.socket = Socket(play.reactor, self.system, self.wire, 0)
        self.going, self.asked = bytearray(), list[int | None]()
        self.late = len(play.server.sessions) >= CONNECTIONS  # it came when there were too many
        self.begun = False  # a line that is no request

    @property
    def reads(self) -> bool:
        """There is something for us to read."""
        return self.socket in self.wire._clock.readers and self.system.readable

    def heard(self) -> list[dict[str, Any]]:
        """All answers that are whole."""
        return [json.loads(line) for line in bytes(self.system.taken).split(b"\n")[:-1]]


class Play:
    """A server with verbs of all kinds, and clients that do as they like."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        verbs = {name: getattr(self, f"verb_{name.replace('-', '_')}") for name in VERBS if name != "unknown"}
        self.server = ControlServer(self.reactor, "/nowhere", verbs, Turn(self.reactor))
        self.clients: list[Client] = []
        self.later: list[tuple[Deferred[Answer], int]] = []
        self.taps: list[Tap] = []
        self.guest: Client | None = None  # who has just come, and is to be answered
        self.tones = self.count = 0

    # verbs

    def verb_now(self, request: Request) -> Answer:
        return {"ok": True, "n": request.get("n")}

    def verb_later(self, request: Request) -> Deferred[Answer]:
        waiting: Deferred[Answer] = Deferred()
        self.later.append((waiting, request["n"]))
        return waiting

    def verb_big(self, request: Request) -> Answer:
        return {"ok": True, "n": request["n"], "x": "x" * (QUEUE_BYTES // 3)}

    def verb_huge(self, request: Request) -> Answer:
        return {"ok": True, "n": request["n"], "x": "x" * HUGE}

    def verb_refuse(self, request: Request) -> Answer:
        raise Refusal("no", f"{request['n']}")

    def verb_bug(self, request: Request) -> Answer:
        raise ZeroDivisionError

    def verb_odd(self, request: Request) -> Answer:
        """What cannot be encoded."""
        return {"ok": True, "odd": "\ud800"}

    def verb_tap(self, request: Request) -> Watch:
        tap = Tap(self.taps.remove)
        self.taps.append(tap)
        return Watch(tap, lambda tone: bool(tone["n"] % 5))

    def verb_hang_up(self, request: Request) -> Answer:
        """One connection goes while another is served, or the same; a guest's stays."""
        guest = None if self.guest is None else self.guest.wire
        sessions = sorted(self.server.sessions, key=lambda session: self._number_of(session))
        going = [session for session in sessions if session._wire is not guest]
        going[request["n"] % len(going)].close()
        return {"ok": True, "n": request["n"]}

    def _number_of(self, session: ControlSession) -> int:
        return next(number for number, client in enumerate(self.clients) if client.wire is session._wire)

    # steps

    def come(self) -> Client:
        client = Client(self)
        self.clients.append(client)
        client.wire.makeConnection(client.socket)
        return client

    def crowd(self, client: Client, how: int) -> None:
        for _ in range(how % 18):
            self.come()

    def ask(self, client: Client, how: int) -> None:
        verb = VERBS[how % len(VERBS)]
        for _ in range((1, 1, 1, 5, 5 if verb in ("big", "huge") else 300)[how // len(VERBS) % 5]):
            self.count += 1
            client.asked.append(self.count)
            client.going += b'{"do":"%s","n":%d}\n' % (verb.encode(), self.count)
            client.begun = False

    def flood(self, client: Client, how: int) -> None:
        """More than one read of the socket gives."""
        for _ in range(4000):
            self.ask(client, 0)

    def nonsense(self, client: Client, how: int) -> None:
        line = BAD[how % len(BAD)]
        client.going += line + b"\n"
        if line.strip(b"\r") or client.begun:
            client.asked.append(None)
        client.begun = False

    def long_line(self, client: Client, how: int) -> None:
        client.begun = True
        client.going += b"x" * (REQUEST_BYTES // 2 + how * 2000)

    def give(self, client: Client, how: int) -> None:
        size = SIZES[how % len(SIZES)]
        client.system.coming += client.going[:size]
        del client.going[:size]
        self.turn()

    def flow(self, client: Client, how: int) -> None:
        client.system.room = 2**30
        for _ in range(3):
            self.give(client, -1)

    def fire(self, client: Client, how: int) -> None:
        """A verb that took its time is done, or failed."""
        if self.later:
            waiting, number = self.later.pop(how % len(self.later))
            if how % 3:
                waiting.callback({"ok": True, "n": number})
            else:
                waiting.errback(Failure(Refusal("no", f"{number}") if how % 2 else ZeroDivisionError()))

    def tone(self, client: Client, how: int) -> None:
        for _ in range((1, 3, 400)[how % 3]):
            self.tones += 1
            for tap in list(self.taps):
                tap.put(PEER, b'{"chi":"x","n":%d,"s":"%s"}' % (self.tones, b"x" * (0, 9000)[how // 3 % 2]))

    def stall(self, client: Client, how: int) -> None:
        client.system.room = (0, 3, 2000, 2**30)[how % 4]
        self.turn()

    def end(self, client: Client, how: int) -> None:
        client.system.ended = True
        client.system.reset = how % 2 == 0
        self.turn()

    def time(self, client: Client, how: int) -> None:
        self.reactor.advance((0.0, 1.0, 5.0, 30.0, 61.0)[how % 5])
        self.turn()

    def stranger(self, client: Client | None = None, how: int = 0) -> None:
        """Whoever comes is answered at once, whatever others do."""
        self.guest = late = self.come()
        self.ask(late, 0)
        self.flow(late, 0)
        self.guest = None
        (answer,) = late.heard()
        assert answer.get("qualifier") == "queue.full" if late.late else answer["n"] == self.count
        late.system.ended = True
        self.turn()

    # the reactor

    def turn(self) -> None:
        for _ in range(3):
            for client in [client for client in self.clients if client.socket.connected]:
                if client.reads:
                    self._reacted(client, client.socket.doRead)
                if client.socket in self.reactor.writers and (client.system.room or client.system.reset):
                    self._reacted(client, client.socket.doWrite)
            self.reactor.advance(0)

    def _reacted(self, client: Client, step: Callable[[], Any]) -> None:
        why = step()
        if why is not None:
            self.reactor.removeReader(client.socket)
            self.reactor.removeWriter(client.socket)
            client.socket.connectionLost(Failure(why))

    def look(self) -> None:
        """What is held of each is bounded."""
        assert len(self.server.sessions) <= CONNECTIONS
        for session in self.server.sessions:
            wire = session._wire
            assert isinstance(wire, StreamWire)
            assert sum(map(len, session._requests)) + len(wire._held) <= 3 * REQUEST_BYTES
            assert sum(map(len, session._unsaid)) + session._outbox.size <= QUEUE_BYTES + HUGE + 1000
            assert wire.transport._tempDataLen + len(wire.transport.dataBuffer) <= HUGE + QUEUE_BYTES


STEPS = ("come", "ask", "ask", "ask", "ask", "nonsense", "long_line", "give", "give", "flow", "flow", "flow", "fire")
MORE_STEPS = ("fire", "tone", "tone", "stall", "stall", "end", "time", "stranger", "crowd", "flood")
ANY_STEP = st.tuples(st.sampled_from((*STEPS, *MORE_STEPS)), st.integers(0, 11), st.integers(0, 71))


class TurmoilTests(SynchronousTestCase):
    """On Twisted's own transport."""

    @settings(max_examples=50)
    @example([("come", 0, 0), ("ask", 0, 6), ("ask", 0, 0), ("flow", 0, 0)])  # an answer that cannot be written
    @example([("come", 0, 0), ("ask", 0, 1), *[("flood", 0, 0)] * 3, ("flow", 0, 0)])  # one that waits, and a flood
    @example([("come", 0, 0), *[("ask", 0, 40)] * 12, ("ask", 0, 48), ("give", 0, 4), ("stranger", 0, 0)])  # hanging up
    @given(st.lists(ANY_STEP, min_size=20, max_size=60))
    def test_each_has_its_answer(self, steps: list[Step]) -> None:
        """
        Whoever asks has one answer for each request, in order, or the end of the connection; what is held stays
        bounded, whoever comes is answered whatever others do; and in the end no session, tap, or timer is left.
        """
        play = Play()
        with capturedLogs() as events:
            for what, who, how in steps:
                if what == "come" or not play.clients:
                    play.come()
                else:
                    getattr(play, what)(play.clients[-1 - who % min(4, len(play.clients))], how)
                play.look()
            self.recover(play)
            play.server.stopService()
            play.turn()
            play.time(play.clients[0], 2)
        bugs = [event["log_failure"] for event in events if "log_failure" in event]
        self.assertEqual([bug for bug in bugs if not bug.check(ZeroDivisionError, IllegalTone)], [])
        self.flushLoggedErrors(ZeroDivisionError, IllegalTone)
        self.assertEqual((play.server.sessions, play.server.taps, play.taps), (set(), 0, []))
        self.assertEqual(play.reactor.getDelayedCalls(), [])

    def recover(self, play: Play) -> None:
        """Everybody reads, and all that takes its time is done: is everything answered?"""
        for client in play.clients:
            client.system.room = 2**30
            client.system.coming += client.going
            client.going.clear()
        play.turn()
        while play.later or play.reactor.writers or any(client.reads for client in play.clients):
            play.fire(play.clients[0], 1)
            play.turn()
        for client in play.clients:
            self.judge(client)

    def judge(self, client: Client) -> None:
        """Are its answers those to what it asked?"""
        answers, closed = client.heard(), not client.socket.connected
        if closed and answers and answers[-1].get("qualifier") in ("tone.too-large", "queue.full"):
            answers.pop()
        watches = [at for at, answer in enumerate(answers) if answer == {"ok": True}]
        shown = answers[watches[0] + 1 :] if watches else []
        numbers = [line["tone"]["n"] for line in shown if "tone" in line]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertFalse([line for line in shown if line.keys() not in ({"tone"}, {"lost"})])
        answers = answers[: watches[0]] if watches else answers
        self.assertLessEqual(len(answers), len(client.asked))
        for answer, number in zip(answers, client.asked, strict=False):
            if "n" in answer:
                self.assertEqual(answer["n"], number)
            else:
                self.assertFalse(answer["ok"])
                self.assertTrue(answer["message"] == str(number) or not answer["message"].isdigit())
        if not (closed or watches):
            self.assertEqual(len(answers), len(client.asked))
