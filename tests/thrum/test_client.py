"""The client for Twisted programs, with a test at the daemon's end of its wire."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from ensemble.errors import LocalWireError
from ensemble.thrum.client import UNTAKEN, ThrumLost
from ensemble.tone import Envelope, decode
from tests.thrum.daemon_end import DaemonTestCase

NEWS = {"chi": "x-news"}
HALF_A_QUEUE = "x" * (4 * 1024 * 1024)


class StreamTests(DaemonTestCase):
    """What a reader sees."""

    def test_tones_before_the_loss_come_first(self) -> None:
        """What came before the connection ended can still be read; then the loss is raised, each time anew."""
        stream = self.client.tones()
        self.say(NEWS)
        self.far.close()
        self.world.settle()
        self.assertEqual(self.successResultOf(self.next_of(stream)), NEWS)
        for _ in range(2):
            self.failureResultOf(self.next_of(stream), ThrumLost)

    def test_closing_in_the_middle(self) -> None:
        """Who closes when it is told of a tone is told nothing more, though more came with it."""
        told: list[str] = []

        def tell(envelope: Envelope, line: bytes) -> None:
            told.append(envelope.chi)
            self.client.close()

        self.client.on_tone = tell
        self.say(NEWS, {"chi": "x-more"})
        self.assertEqual(told, ["x-news"])

    def test_reading_after_the_loss(self) -> None:
        """Who asks for tones when the connection is gone is told so, and does not wait for ever."""
        self.far.close()
        self.world.settle()
        self.failureResultOf(self.read(self.client.tones()), ThrumLost)

    def test_closing_ends_who_waits(self) -> None:
        """A reader that waits when its stream is closed comes to the end; closing twice is closing once."""
        stream = self.client.tones()
        reading = self.read(stream)
        stream.close()
        stream.close()
        self.assertEqual(self.successResultOf(reading), [])

    def test_closed_takes_nothing_in(self) -> None:
        """A closed stream still gives what it had, and no tone of later."""
        stream = self.client.tones()
        self.say(NEWS)
        stream.close()
        self.say(NEWS)
        self.assertEqual(self.successResultOf(self.read(stream)), [NEWS])

    def test_a_cancelled_read(self) -> None:
        """After a read was given up the next one waits for its tone, and none is lost."""
        stream = self.client.tones()
        for before in (False, True):
            given_up = self.next_of(stream)
            given_up.cancel()
            self.failureResultOf(given_up, CancelledError)
            if before:
                self.say(NEWS)
            again = self.next_of(stream)
            if not before:
                self.assertNoResult(again)
                self.say(NEWS)
            self.assertEqual(self.successResultOf(again), NEWS)

    def test_two_reads_at_once(self) -> None:
        """Two reads that wait on one stream get one tone each."""
        stream = self.client.tones()
        first, second = self.next_of(stream), self.next_of(stream)
        self.say({**NEWS, "n": 1})
        self.assertEqual(self.successResultOf(first)["n"], 1)
        self.assertNoResult(second)
        self.say({**NEWS, "n": 2})
        self.assertEqual(self.successResultOf(second)["n"], 2)

    def test_closing_while_a_tone_is_shared_out(self) -> None:
        """A reader that closes streams when woken, its own or another's, takes no tone from those that stay."""
        first, second, third = self.client.tones(), self.client.tones(), self.client.tones()

        def close(tone: dict[str, Any]) -> None:
            first.close()
            second.close()

        self.next_of(first).addCallback(close)
        self.say(NEWS)
        self.assertEqual((first.untaken, second.untaken, third.untaken), (0, 0, 1))

    def test_closing_unread_tones_goes_on_reading(self) -> None:
        """Whoever closes a stream that had stopped the socket sets it going again for all others."""
        slow, ask = self.client.tones(), self.client.ask({"chi": "ping", "rid": "r1"})
        for _ in range(UNTAKEN // 200 + 1):
            self.say(*[NEWS] * 200)
        self.say({"chi": "pong", "rid": "r1"})
        answer = self.next_of(ask)
        self.assertNoResult(answer)
        slow.close()
        self.world.settle()
        self.assertEqual(self.successResultOf(answer)["chi"], "pong")

    def test_falling_behind_again(self) -> None:
        """A reader that has caught up stops the socket again when it falls behind again."""
        slow = self.client.tones()
        for _ in range(2):
            for _ in range(UNTAKEN // 200 + 5):
                self.say(*[NEWS] * 200)
            self.assertLess(slow.untaken, UNTAKEN + 400)
            while slow.untaken:
                self.successResultOf(self.next_of(slow))


class AskTests(DaemonTestCase):
    """Questions and who gets the answers."""

    def test_each_answer_to_its_asker(self) -> None:
        """An answer goes to who asked, by rid alone, too; everybody else sees what nobody asked for, and no echo."""
        heard: list[str] = []

        def on_tone(envelope: Envelope, line: bytes) -> None:
            heard.append(decode(line)["chi"])

        self.client.on_tone = on_tone
        stream = self.client.ask({"chi": "ping", "rid": "r1"})
        self.say(
            {"chi": "echo", "rid": "r1", "ok": True}, NEWS, {"chi": "pong", "rid": "r1"}, {"chi": "x", "rid": "r1"}
        )
        self.assertEqual([tone["chi"] for tone in self.successResultOf(self.read(stream))], ["pong"])
        self.assertEqual(heard, ["x-news", "x"])

    def test_what_is_missing_is_minted(self) -> None:
        """A prompt without rid and sid leaves with both, each time others."""
        self.client.ask({"chi": "prompt"})
        self.client.ask({"chi": "prompt"})
        self.world.settle()
        first, second = self.daemon.heard
        for name in ("rid", "sid"):
            self.assertNotEqual(first[name], second[name])

    def test_the_newer_question_keeps_its_answers(self) -> None:
        """When an older question with the same sid is closed the newer one's answer still reaches it."""
        older = self.client.ask({"chi": "prompt", "sid": "s1"})
        newer = self.client.ask({"chi": "prompt", "sid": "s1"})
        older.close()
        self.say({"chi": "finish", "sid": "s1"})
        self.assertEqual([tone["chi"] for tone in self.successResultOf(self.read(newer))], ["finish"])

    def test_a_call_within_a_conversation(self) -> None:
        """A tool-call that names the sid of a running prompt takes nothing of its answer, nor does its error."""
        prompt = self.client.ask({"chi": "prompt", "sid": "s1"})
        first, second = (
            self.client.ask({"chi": "tool-call", "sid": "s1", "callId": call, "rid": f"r-{call}"}) for call in "ab"
        )
        self.say(
            {"chi": "chunk", "sid": "s1"},
            {"chi": "tool-result", "sid": "s1", "callId": "a"},
            {"chi": "error", "sid": "s1", "rid": "r-b"},
            {"chi": "finish", "sid": "s1"},
        )
        heard = [[tone["chi"] for tone in self.successResultOf(self.read(each))] for each in (prompt, first, second)]
        self.assertEqual(heard, [["chunk", "finish"], ["tool-result"], ["error"]])

    def test_a_prompt_takes_the_sid(self) -> None:
        """What only names a sid waits under it until a prompt begins it, as in the daemon."""
        call = self.client.ask({"chi": "tool-call", "sid": "s1", "callId": "a"})
        prompt = self.client.ask({"chi": "prompt", "sid": "s1"})
        self.say({"chi": "finish", "sid": "s1"})
        self.assertEqual((prompt.untaken, call.untaken), (1, 0))
        self.say({"chi": "tool-result", "sid": "s1"})
        self.assertEqual(call.untaken, 1)

    def test_prompts_that_join(self) -> None:
        """Of prompts under one sid each hears the answer, and one finish ends them; an error of one ends that one."""
        one, two, three = (self.client.ask({"chi": "prompt", "sid": "s1", "rid": f"r{n}"}) for n in range(3))
        self.say(
            {"chi": "error", "sid": "s1", "rid": "r1"}, {"chi": "chunk", "sid": "s1"}, {"chi": "finish", "sid": "s1"}
        )
        heard = [[tone["chi"] for tone in self.successResultOf(self.read(each))] for each in (one, two, three)]
        self.assertEqual(heard, [["chunk", "finish"], ["error"], ["chunk", "finish"]])
        again = self.client.ask({"chi": "prompt", "sid": "s1", "rid": "r0"})
        self.say({"chi": "finish", "sid": "s1"})
        self.assertEqual(again.untaken, 1)

    def test_rids_of_others(self) -> None:
        """What has the rid of a question, and the sid or callId of something else, is not its answer."""
        prompt = self.read(self.client.ask({"chi": "prompt", "rid": "1", "sid": "s"}))
        call = self.read(self.client.ask({"chi": "tool-call", "rid": "2", "callId": "c"}))
        others: list[str] = []
        self.client.on_tone = lambda envelope, line: others.append(envelope.chi)
        for rid, keys in itertools.product("12", ({"sid": "t"}, {"callId": "d"})):
            self.say({"chi": "error", "rid": rid, **keys}, {"chi": "prompt", "rid": rid, **keys})
        self.say({"chi": "error", "rid": "1", "callId": "c"})
        self.assertEqual(others, ["error", "prompt"] * 4)
        self.assertNoResult(prompt)
        self.assertEqual(len(self.successResultOf(call)), 1)
        self.say({"chi": "error", "rid": "1"})
        self.assertEqual(len(self.successResultOf(prompt)), 1)

    def test_no_key_is_left(self) -> None:
        """A question whose answer would be taken for that of another is refused, and not sent."""
        first = self.client.ask({"chi": "x-ask", "rid": "r1"})
        self.assertRaisesRegex(LocalWireError, "choose a fresh one", self.client.ask, {"chi": "x-ask", "rid": "r1"})
        call = {"chi": "tool-call", "callId": "c1"}
        self.client.ask(call)
        self.assertRaisesRegex(LocalWireError, "choose a fresh one", self.client.ask, call)
        self.say({"chi": "x-answer", "rid": "r1"})
        self.assertEqual((first.untaken, len(self.daemon.heard)), (1, 2))

    def test_a_refused_question_leaves_nothing(self) -> None:
        """A question that could not be sent takes no answers from an earlier one that was."""
        asked = self.client.ask({"chi": "prompt", "sid": "s1"})
        self.assertRaises(LocalWireError, self.client.ask, {"chi": "prompt", "sid": "s1", "text": object()})
        self.client.wire_full()
        for _ in range(2):
            self.client.send_line(HALF_A_QUEUE.encode()[:-100])
        self.assertRaises(ThrumLost, self.client.ask, {"chi": "prompt", "sid": "s1", "text": "x" * 1000})
        self.say({"chi": "finish", "sid": "s1"})
        self.assertEqual(asked.untaken, 1)

    def test_what_is_no_tone_is_passed_over(self) -> None:
        """A line that is no tone costs nothing but itself."""
        stream = self.client.tones()
        self.say(b"{", NEWS, b'{"chi":7}', NEWS)
        self.assertEqual(stream.untaken, 2)


class RoomTests(DaemonTestCase):
    """A daemon that does not read."""

    def fill(self) -> None:
        """The wire is full, and more than half of what may wait does."""
        self.client.wire_full()
        self.client.send({**NEWS, "text": HALF_A_QUEUE})

    def drain(self) -> None:
        """The wire has room again."""
        self.client.wire_drained()

    def test_no_wait_without_need(self) -> None:
        """Where little waits there is room at once."""
        self.client.send(NEWS)
        self.successResultOf(self.drained())

    def test_wait_for_room(self) -> None:
        """Who waits for room goes on when the daemon reads again, and all that was sent arrives."""
        self.fill()
        waiting = [self.drained(), self.drained()]
        self.world.settle()
        for each in waiting:
            self.assertNoResult(each)
        self.drain()
        self.world.settle()
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(len(self.daemon.heard), 1)

    def test_too_much(self) -> None:
        """Beyond the bound a tone is refused with what to do, and the connection stays."""
        self.fill()
        error = self.assertRaises(ThrumLost, self.client.send, {**NEWS, "text": HALF_A_QUEUE})
        self.assertIn("await drained()", str(error))
        self.drain()
        self.client.send(NEWS)
        self.world.settle()
        self.assertEqual(len(self.daemon.heard), 2)

    def test_lost_while_waiting(self) -> None:
        """Who waits for room when the connection ends is told so, and so is who waits later."""
        self.fill()
        waiting = self.drained()
        self.far.abort()
        self.world.settle()
        for each in (waiting, self.drained()):
            self.failureResultOf(each, ThrumLost)

    def test_close_sends_what_waits(self) -> None:
        """What was sent before the close leaves though the wire was full; what comes after is refused, not lost."""
        self.fill()
        self.near.partition(True)  # keeps what is written
        self.client.close()
        self.client.close()
        error = self.assertRaises(ThrumLost, self.client.send, NEWS)
        self.assertIn("closed here", str(error))
        self.near.partition(False)
        self.assertEqual(len(self.far._inbox), 1)
        self.world.settle()
        self.successResultOf(self.client.gone)
        self.assertEqual([len(tone["text"]) for tone in self.daemon.heard], [len(HALF_A_QUEUE)])

    def test_close_ends_who_sends_for_ever(self) -> None:
        """A program that fills whatever room there is does not keep a close from ending."""

        async def flood() -> None:
            while True:
                self.client.send({**NEWS, "text": HALF_A_QUEUE})
                await self.client.drained()

        self.client.wire_full()
        flooding = Deferred.fromCoroutine(flood())
        self.client.close()
        self.failureResultOf(flooding, ThrumLost)
