"""What a program sees on the thrum socket, alone and through two humds."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ensemble.protocols import DEADLINES, LineTooLong, UnfinishedLine
from ensemble.testing import House, World
from ensemble.thrum.client import Stream, ThrumClient, ThrumLost
from ensemble.thrum.session import Session
from ensemble.tone import encode
from tests.mesh.plain_peer import Ear

BREATH = {"chi": "breath", "from": "daemon", "protoVersion": "0.8.0", "sessions": []}


class Program(Ear):
    """A program that is nothing but a connection to the thrum socket."""

    def __init__(self, world: World, house: House) -> None:
        super().__init__()
        self.world = world
        self.wire = house.wire()
        self.wire.start(self)
        world.settle()

    def say(self, *tones: dict[str, Any] | bytes) -> list[dict[str, Any]]:
        """Send tones or lines; what comes back at once."""
        before = len(self.heard)
        self.wire.write([tone if isinstance(tone, bytes) else encode(tone) for tone in tones])
        self.world.settle()
        return self.heard[before:]


class SessionTests(SynchronousTestCase):
    """mesh 9.3, with the exceptions of wire-0.8 section 8."""

    def setUp(self) -> None:
        self.world = World()
        self.house = House(self.world)
        self.program = Program(self.world, self.house)

    def test_breath_on_connect(self) -> None:
        """A program is greeted before it says anything."""
        self.assertEqual(self.program.heard, [BREATH])

    def test_hello_is_echoed_then_breathed(self) -> None:
        """The echo of a hello comes first, then a second breath."""
        self.assertEqual(
            self.program.say({"chi": "hello", "rid": "h1", "hive": "demo", "bee": ["forager"]}),
            [{"chi": "echo", "rid": "h1", "ok": True}, BREATH],
        )

    def test_every_rid_is_echoed_once(self) -> None:
        """Each tone with a rid is echoed before its answer; echo and log never are."""
        heard = self.program.say({"chi": "prompt", "rid": "p1", "sid": "s1"})
        self.assertEqual([tone["chi"] for tone in heard], ["echo", "error"])
        self.assertEqual(heard[1]["qualifier"], "prompt.no-worker")
        self.assertEqual(self.program.say({"chi": "echo", "rid": "e"}, {"chi": "log", "rid": "l"}), [])

    def test_past_dusk(self) -> None:
        """A tone past its dusk is echoed as not taken, told as an error, and goes no further."""
        heard = self.program.say({"chi": "prompt", "rid": "p1", "sid": "s1", "dusk": 1})
        self.assertEqual(heard[0], {"chi": "echo", "rid": "p1", "ok": False, "error": "past dusk"})
        self.assertEqual((heard[1]["qualifier"], len(heard)), ("tone.expired", 2))

    def test_what_is_queued_leaves_before_the_end(self) -> None:
        """A stop, and an error that ends the connection, wait for a full wire; a program that reads nothing is cut."""
        session = self.stalled()
        session.deliver(encode({"chi": "log", "n": 1}))
        session.close()
        session.close()
        self.world.settle()
        self.assertEqual((self.program.heard, self.program.lost), ([BREATH], None))
        session.wire_drained()
        self.world.settle()
        self.assertEqual(self.program.heard[1:], [{"chi": "log", "n": 1}])
        self.assertIsNotNone(self.program.lost)
        lazy = Program(self.world, self.house)
        session = self.stalled()
        session.line_refused(LineTooLong(9, 8, []))
        self.world.advance(4.5)
        self.assertIsNone(lazy.lost)
        self.world.advance(1.0)
        self.assertIsNotNone(lazy.lost)
        self.assertEqual(lazy.heard, [BREATH])

    def test_bad_lines_are_told_and_cost_nothing(self) -> None:
        """Whatever is no tone is answered as such, and the next tone works."""
        for line in (b"{", b"[]", b'{"chi":7}', b'{"chi":"prompt","sid":3,"rid":"r"}', b'{"x":NaN}', b"\xff\xfe"):
            heard = self.program.say(line)
            self.assertEqual([tone.get("qualifier") for tone in heard], ["tone.malformed"])
        self.assertEqual(self.program.say({"chi": "hello", "hive": "x"}), [BREATH])

    def test_bad_lines_that_are_never_answered(self) -> None:
        """Of a kind that gets no answer only a bad line with a rid is told: somebody may look for that."""
        self.assertEqual(self.program.say(b'{"chi":"error","sid":7}', b'{"chi":"log","sid":7,"rid":7}'), [])
        [told] = self.program.say(b'{"chi":"pulse","sid":7,"rid":"r"}')
        self.assertEqual((told["qualifier"], told["rid"]), ("tone.malformed", "r"))

    def test_a_line_that_the_socket_refuses(self) -> None:
        """What was wrong with the last line is told before the connection closes; too long is not too old."""
        for error, qualifier in ((LineTooLong(9, 8, []), "tone.too-large"), (UnfinishedLine(9, 60), "tone.malformed")):
            program = Program(self.world, self.house)
            list(self.house.thrum.sessions.values())[-1].line_refused(error)
            self.world.settle()
            self.assertEqual(program.heard[-1]["qualifier"], qualifier)
            self.assertIsNotNone(program.lost)

    def test_a_full_worker_stays(self) -> None:
        """What is asked of a worker whose queue is full is refused; it stays, and answers what it had got."""
        self.program.say({"chi": "hello", "hive": "w", "bee": ["worker"], "models": ["m"]})
        streams = self.ask_too_much(self.house.join())
        self.program.wire.resume()
        self.world.settle()
        got = [tone["sid"] for tone in self.program.heard if tone["chi"] == "prompt"]
        self.program.say(*({"chi": "finish", "sid": sid} for sid in got))
        ends = [self.successResultOf(Deferred.fromCoroutine(collect(stream)))[-1] for stream in streams]
        self.assertEqual({end["qualifier"] for end in ends if end["chi"] == "error"}, {"queue.full"})
        self.assertEqual([end["chi"] for end in ends].count("finish"), len(got))
        self.world.advance(DEADLINES.client_slow_seconds + 1)
        self.assertIsNone(self.program.lost)

    def test_a_program_that_never_reads_is_disconnected(self) -> None:
        """Where it takes nothing for half a minute once its queue is full, it is cut and whoever waits is told."""
        self.program.say({"chi": "hello", "hive": "w", "bee": ["worker"], "models": ["m"]})
        streams = self.ask_too_much(self.house.join())
        self.world.advance(DEADLINES.client_slow_seconds - 7)
        self.assertEqual(self.house.thrum.counters["thrum.disconnected.slow"], 0)
        self.world.advance(1.5)
        ends = [self.successResultOf(Deferred.fromCoroutine(collect(stream)))[-1] for stream in streams]
        self.assertEqual({end["qualifier"] for end in ends}, {"worker.lost", "queue.full"})
        self.assertEqual(self.house.thrum.counters["thrum.disconnected.slow"], 1)
        self.assertEqual(len(self.house.thrum.sessions), 1)

    def test_a_program_that_reads_slowly_stays(self) -> None:
        """Whatever it takes, it has half a minute more for what follows; once there was room its time does not run."""
        session = self.stalled()
        self.fill(session, 9)
        for _ in range(3):
            self.world.advance(DEADLINES.client_slow_seconds - 1)
            session.wire_drained()
            session.wire_full()
        self.fill(session, 5)
        self.world.advance(DEADLINES.client_slow_seconds + 1)
        self.assertIsNone(self.program.lost)
        self.assertIn("client-1", self.house.thrum.sessions)

    def test_a_program_that_goes_while_it_is_full(self) -> None:
        """No timer of its own stays behind."""
        session = self.stalled()
        self.fill(session, 9)
        self.program.wire.close()
        self.world.advance(DEADLINES.client_slow_seconds + 1)
        self.assertEqual(self.house.thrum.counters["thrum.disconnected.slow"], 0)

    def test_errors_have_a_ceiling(self) -> None:
        """Errors are taken over the bound; at twice of it the program goes at once."""
        session = self.stalled()
        line = b"x" * (2**20 - 1)
        taken = [session.deliver(line, final=True) for _ in range(16)]
        self.assertEqual((taken, self.house.thrum.sessions != {}), ([True] * 16, True))
        self.assertFalse(session.deliver(line))
        self.assertEqual(self.house.thrum.counters["thrum.disconnected.slow"], 0)
        self.assertFalse(session.deliver(line, final=True))
        self.assertEqual(self.house.thrum.counters["thrum.disconnected.slow"], 1)
        self.assertEqual(self.house.thrum.sessions, {})

    def test_a_last_word_with_a_full_queue(self) -> None:
        """What was wrong with a program's last line is told also where its queue is full."""
        session = self.stalled()
        self.fill(session, 9)
        session.line_refused(LineTooLong(9, 8, []))
        session.wire_drained()
        self.world.settle()
        self.assertEqual(self.program.heard[-1]["qualifier"], "tone.too-large")
        self.assertIsNotNone(self.program.lost)

    def stalled(self) -> Session:
        """The only session, whose wire takes nothing."""
        (session,) = self.house.thrum.sessions.values()
        session.wire_full()
        return session

    def ask_too_much(self, asker: ThrumClient) -> list[Stream]:
        """Prompts for the program, which reads nothing, until its queue refuses some; that was six seconds ago."""
        self.program.wire.pause()
        streams = []
        for _ in range(7):
            for _ in range(60):  # 4.8 MB at once, with `text` and `content`; the memory wire itself takes 256 lines
                streams.append(asker.ask({"chi": "prompt", "modelId": "m", "text": "x" * 40_000}))
            self.world.advance(6)  # for five of them the asker may not be read
        return streams

    def fill(self, session: Session, size: int) -> None:
        """So many MiB, for a wire that takes nothing."""
        for _ in range(size):
            session.deliver(encode({"chi": "log", "s": "x" * 2**20}))

    def test_what_is_dropped_is_counted(self) -> None:
        """Receipts that had to make room for what somebody waits for are counted, once the program is gone."""
        session = self.stalled()
        for number in range(3):
            self.program.say({"chi": "perf-mark", "rid": f"r{number}"})
        self.assertTrue(session.deliver(b"x" * (8 * 1024 * 1024 - 1)))
        self.program.wire.close()
        self.world.settle()
        self.assertEqual(self.house.thrum.counters["thrum.dropped"], 3)


class ConversationTests(SynchronousTestCase):
    """An asker here, a worker there."""

    def setUp(self) -> None:
        self.world = World()
        self.here, self.there = House(self.world), House(self.world)
        self.world.link(self.here.ensemble, self.there.ensemble)
        self.worker = Program(self.world, self.there)
        self.worker.say({"chi": "hello", "hive": "w", "bee": ["worker"], "models": ["m"]})
        self.asker = self.here.join("asker")

    def ask(self, **more: Any) -> Stream:
        """A prompt to the other humd."""
        stream = self.asker.ask({"chi": "prompt", "sid": "s1", "modelId": "m", "to": self.there.me.full, **more})
        self.world.settle()
        return stream

    def test_prompt_chunks_finish(self) -> None:
        """A question crosses, the answer comes back piece by piece, to the asker and nobody else."""
        bystander = Program(self.world, self.here)
        stream = self.ask(text="hi")
        prompt = self.worker.heard[-1]
        self.assertEqual((prompt["chi"], prompt["content"], prompt["from"]), ("prompt", "hi", self.here.me.full))
        self.worker.say(
            {"chi": "chunk", "sid": "s1", "delta": "a"},
            {"chi": "chunk", "sid": "s1", "delta": "b"},
            {"chi": "finish", "sid": "s1"},
        )
        tones = self.successResultOf(Deferred.fromCoroutine(collect(stream)))
        self.assertEqual([tone.get("delta") for tone in tones], ["a", "b", None])
        self.assertEqual({tone["from"] for tone in tones}, {self.there.me.full})
        self.assertEqual(bystander.heard, [BREATH])

    def test_a_lost_peer_is_told(self) -> None:
        """When the other humd dies in the middle, the asker gets peer.lost within ten seconds."""
        link = self.world.link(self.here.ensemble, House(self.world).ensemble)
        self.assertIsNotNone(link)
        stream = self.ask(text="hi")
        self.worker.say({"chi": "chunk", "sid": "s1", "delta": "a"})
        wire = self.here.ensemble.link_to(self.there.me)
        assert wire is not None
        wire.wire.partition(True)  # type: ignore[attr-defined]
        wire.wire._other.partition(True)  # type: ignore[attr-defined]
        self.world.advance(10)
        tones = self.successResultOf(Deferred.fromCoroutine(collect(stream)))
        self.assertEqual([tone.get("qualifier") for tone in tones], [None, "peer.lost"])

    def test_a_lost_worker_is_told_across(self) -> None:
        """When the worker dies in the middle, the asker at the other humd gets worker.lost at once."""
        stream = self.ask(text="hi")
        self.worker.wire.close()
        self.world.settle()
        tones = self.successResultOf(Deferred.fromCoroutine(collect(stream)))
        self.assertEqual([tone["qualifier"] for tone in tones], ["worker.lost"])

    def test_unknown_peer(self) -> None:
        """A prompt to a humd that is not linked is answered at once."""
        stream = self.ask(to=World(seed=9).key().humd_id().full)
        tones = self.successResultOf(Deferred.fromCoroutine(collect(stream)))
        self.assertEqual([tone["qualifier"] for tone in tones], ["route.unknown-peer"])

    def test_a_fast_worker_is_paused_for_a_slow_link(self) -> None:
        """A worker that outruns the link is not read for a while, and nothing is lost or told as lost."""
        stream = self.ask(text="hi")
        link = self.there.ensemble.link_to(self.here.me)
        assert link is not None
        link.wire_full()
        for _ in range(5):
            self.worker.say({"chi": "chunk", "sid": "s1", "delta": "x" * 1_000_000})
        queued = link.queued
        self.worker.say({"chi": "chunk", "sid": "s1", "delta": "late"})
        self.assertEqual(link.queued, queued)  # it was not read
        link.wire_drained()
        self.world.settle()
        self.worker.say({"chi": "finish", "sid": "s1"})
        tones = self.successResultOf(Deferred.fromCoroutine(collect(stream)))
        self.assertEqual([len(tone.get("delta", "")) for tone in tones], [1_000_000] * 5 + [4, 0])

    def test_five_seconds_at_most(self) -> None:
        """A worker is paused for five seconds at most; beyond the bound it is told that the queue is full."""
        self.ask(text="hi")
        link = self.there.ensemble.link_to(self.here.me)
        assert link is not None
        link.wire_full()
        for _ in range(5):
            self.worker.say({"chi": "chunk", "sid": "s1", "delta": "x" * 1_000_000})
        before = len(self.worker.heard)
        there = self.here.ensemble.link_to(self.there.me)
        assert there is not None
        for _ in range(6):
            self.worker.say({"chi": "chunk", "sid": "s1", "delta": "x" * 1_000_000})
            for _ in range(6):  # the other side lives, and says so
                self.world.advance(1)
                for end in (link, there):
                    end.bytes_trickled()
        errors = [tone for tone in self.worker.heard[before:] if tone["chi"] == "error"]
        self.assertIn("queue.full", {error["qualifier"] for error in errors})
        self.assertLessEqual(link.queued, 8 * 1024 * 1024)


class ClientTests(SynchronousTestCase):
    """The client for Twisted programs."""

    def setUp(self) -> None:
        self.world = World()
        self.house = House(self.world)

    def test_streams_end_when_the_daemon_goes(self) -> None:
        """Whoever reads when the connection ends gets ThrumLost, and sending raises it."""
        client = self.house.join()
        stream = client.tones()
        reading = Deferred.fromCoroutine(collect(stream))
        next(iter(self.house.thrum.sessions.values())).close()
        self.world.settle()
        self.failureResultOf(reading, ThrumLost)
        self.assertRaises(ThrumLost, client.send, {"chi": "hello"})
        self.assertIsInstance(self.successResultOf(client.gone), ThrumLost)

    def test_the_worker_of_several_prompts_is_lost(self) -> None:
        """Each of the prompts under one sid ends when their worker is gone, here or at a peer."""
        there = House(self.world)
        self.world.link(self.house.ensemble, there.ensemble)
        client = self.house.join("a")
        for serves, to in ((self.house, {}), (there, {"to": there.me.full})):
            worker = serves.join("w", bee=["worker"], models=["m"])
            streams = [client.ask({"chi": "prompt", "sid": "s", "modelId": "m", **to}) for _ in range(2)]
            self.world.settle()
            worker.close()
            self.world.settle()
            told = [self.successResultOf(Deferred.fromCoroutine(collect(stream))) for stream in streams]
            self.assertEqual([[tone["qualifier"] for tone in tones] for tones in told], [["worker.lost"]] * 2)
            self.assertEqual(self.house.node.routes.open_asks, 0)

    def test_a_slow_reader_pauses_the_socket(self) -> None:
        """Tones that nobody takes stop the reading, and taking them starts it again; none is lost."""
        reader = self.house.join("listener", chis=["x-news"])
        stream = reader.tones()
        other = House(self.world)
        self.world.link(self.house.ensemble, other.ensemble)
        for number in range(3000):
            other.ensemble.route({"chi": "x-news", "n": number, "to": self.house.me.full})
            self.world.settle()
        self.assertLess(stream.untaken, 1500)
        seen: list[int] = []

        async def read() -> None:
            async for tone in stream:
                seen.append(tone["n"])

        reading = Deferred.fromCoroutine(read())
        self.world.settle()
        self.assertEqual(seen, list(range(3000)))
        reading.addErrback(lambda failure: failure.trap(ThrumLost))
        reader.close()
        self.world.settle()

    def test_a_tool_call_ends_with_its_result(self) -> None:
        """A tool-call is answered by callId and ends with its result."""
        forager: ThrumClient = self.house.join(
            "f", bee=["forager"], tools=[{"name": "add", "inputSchema": {"type": "object"}}]
        )
        calls = forager.tones()
        asker = self.house.join("a")
        stream = asker.ask({"chi": "tool-call", "callId": "c1", "name": "add", "toolName": "add", "args": {}})
        self.world.settle()

        async def serve() -> None:
            async for tone in calls:
                if tone["chi"] == "tool-call":
                    forager.send({"chi": "tool-result", "callId": tone["callId"], "output": "3"})
                    return

        self.successResultOf(Deferred.fromCoroutine(serve()))
        self.world.settle()
        tones = self.successResultOf(Deferred.fromCoroutine(collect(stream)))
        self.assertEqual([tone["output"] for tone in tones], ["3"])


async def collect(stream: Stream) -> list[dict[str, Any]]:
    """All that a stream says until it ends."""
    return [tone async for tone in stream]
