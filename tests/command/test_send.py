"""``send`` against a socket that answers as a humd does."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any
from unittest import mock

from hypothesis import given, strategies as st

from ensemble.command.outcome import BadUsage
from ensemble.command.send import MAX_STDIN, dress, from_stdin
from ensemble.command.thrum_socket import MAX_LINE, ThrumClosed, ThrumSocket
from ensemble.tone import RidMinter, write_document
from tests.command.calling import ALPHA, BETA, CommandTestCase, FakeSocket, linked

BREATH = b'{"chi":"breath","protoVersion":"0.8.0","sessions":[]}\n'
PROMPT = '{"chi":"prompt","modelId":"echo","text":"hi"}'


def echo(tone: dict[str, Any]) -> dict[str, Any]:
    return {"chi": "echo", "rid": tone["rid"], "ok": True}


def error(tone: dict[str, Any], *keys: str) -> dict[str, Any]:
    told = {key: tone[key] for key in keys}
    return {"chi": "error", **told, "qualifier": "route.unknown-peer", "message": "no link"}


class SendTestCase(CommandTestCase):
    """A humd whose only peer is beta; to a ping it has nothing to say, but that it read it."""

    def humd(self, answer: Callable[[dict[str, Any]], list[Any]]) -> FakeSocket:
        self.write_peers({"humd_id": BETA.full, "alias": "beta"})
        return self.serve(self.thrum, lambda tone: [echo(tone)] if tone["chi"] == "ping" else answer(tone), BREATH)

    def tones(self, fake: FakeSocket) -> list[dict[str, Any]]:
        """What was meant for a peer."""
        return [tone for tone in fake.heard if tone["chi"] != "ping"]


class SendTests(SendTestCase):
    """Without ``--wait``."""

    def test_sent(self) -> None:
        """The tone reaches the humd with its receiver and what an answer is found by, and that is said."""
        fake = self.humd(lambda tone: [echo(tone)])
        said = self.call("send", "beta", PROMPT)
        self.assertEqual((said.status, said.err), (0, ""))
        (tone,) = self.tones(fake)
        self.assertEqual((tone["to"], tone["chi"], tone["text"]), (BETA.full, "prompt", "hi"))
        self.assertIn(tone["rid"], said.out)
        self.assertIn(tone["sid"], said.out)

    def test_for_programs(self) -> None:
        """A program is told rid and sid, which it needs to know the answer again."""
        fake = self.humd(lambda tone: [echo(tone)])
        said = self.call("send", BETA.full, PROMPT, "--json")
        (tone,) = self.tones(fake)
        keys = {"rid": tone["rid"], "sid": tone["sid"], "to": BETA.full}
        self.assertEqual(said.document, {"ok": True, "sent": True, **keys})

    def test_daemon_names_the_peer(self) -> None:
        """The daemon's list of peers counts, also for a stranger without a row."""
        self.humd(lambda tone: [echo(tone)])
        self.serve_control(peers={"ok": True, "peers": [linked(id=ALPHA.full, alias=None, stranger=True)]})
        said = self.call("send", ALPHA.digest.hex()[:8], PROMPT, "--json")
        self.assertEqual(said.document["to"], ALPHA.full)

    def test_error_that_comes_back(self) -> None:
        """An error behind the echo ends with 1, whichever key it names the tone by."""
        for key in ("rid", "sid", "callId"):
            with self.subTest(key=key):
                tone = '{"chi":"tool-call","sid":"s1","callId":"c1","name":"t","rid":"r1"}'
                fake = self.humd(partial(self.failing, key))
                said = self.call("send", "beta", tone)
                self.assertEqual((said.status, said.err), (1, "ensemble: route.unknown-peer: no link\n"))
                failure = self.call("send", "beta", tone, "--json").failure
                self.assertEqual((failure["qualifier"], failure["message"]), ("route.unknown-peer", "no link"))
                fake.stop()

    def failing(self, key: str, tone: dict[str, Any]) -> list[Any]:
        return [echo(tone), error(tone, key)]

    def test_what_was_refused_was_not_sent(self) -> None:
        """Nobody is told that a tone was sent which the humd then refuses, however late it says so."""
        self.humd(lambda tone: [error(tone, "rid"), echo(tone)])
        for more in ((), ("--json",)):
            said = self.call("send", "beta", PROMPT, *more)
            self.assertEqual((said.status, said.out), (1, ""))

    def test_the_ping_is_for_our_humd(self) -> None:
        """Behind the tone goes a ping that names no receiver, so that no peer is asked anything."""
        fake = self.humd(lambda tone: [echo(tone)])
        self.call("send", "beta", PROMPT)
        tone, ping = fake.heard
        self.assertEqual((tone["chi"], set(ping)), ("prompt", {"chi", "rid"}))
        self.assertNotEqual(tone["rid"], ping["rid"])

    def test_error_of_somebody_else(self) -> None:
        """An error about another tone says nothing of ours."""
        self.humd(lambda tone: [echo(tone), {"chi": "error", "rid": "other"}, {"chi": "pulse", "rid": tone["rid"]}])
        said = self.call("send", "beta", PROMPT)
        self.assertEqual((said.status, said.err), (0, ""))

    def test_no_verdict(self) -> None:
        """A humd that does not say what becomes of the tone is not waited for for ever."""
        self.write_peers({"humd_id": BETA.full, "alias": "beta"})
        self.serve(self.thrum, lambda tone: [echo(tone)] if tone["chi"] != "ping" else [], BREATH)
        said = self.call("send", "beta", PROMPT, "--timeout", "0.1", "--json")
        self.assertEqual((said.status, said.failure["qualifier"], said.out), (1, "send.timeout", ""))

    def test_log_is_not_echoed(self) -> None:
        """A chi that has no echo of its own is sent like any other, and refused like any other."""
        self.humd(lambda tone: [error(tone, "rid")] if tone["message"] == "bad" else [])
        for message, status in (("good", 0), ("bad", 1)):
            self.assertEqual(self.call("send", "beta", f'{{"chi":"log","message":"{message}"}}').status, status)

    def test_closed_with_a_cause(self) -> None:
        """Where the humd closes the connection, the error that it wrote before is the cause."""
        cause = {"chi": "error", "qualifier": "tone.too-large", "message": "a line of 17 MiB"}
        self.humd(lambda tone: [cause, None])
        said = self.call("send", "beta", PROMPT, "--json")
        self.assertEqual((said.status, said.failure["qualifier"]), (1, "tone.too-large"))

    def test_closed_without_a_cause(self) -> None:
        """Where it only closes the connection, that is the cause."""
        self.humd(lambda tone: [None])
        self.assertEqual(self.call("send", "beta", PROMPT, "--json").failure["qualifier"], "daemon.closed")

    def test_no_humd(self) -> None:
        """Where nobody serves the socket the status is 3."""
        said = self.call("send", BETA.full, PROMPT)
        self.assertEqual(said.status, 3)
        self.assertIn(str(self.thrum), said.err)

    def test_what_is_no_tone(self) -> None:
        """What is no tone is refused before anything is sent, with an example."""
        fake = self.humd(lambda tone: [echo(tone)])
        for text, why in (
            ("{", "the tone is not JSON"),
            ("[]", "the tone must be a JSON object"),
            ("{}", "chi"),
            ('{"chi":"prompt","rid":7}', "rid"),
            (f'{{"chi":"prompt","to":"{ALPHA.full}"}}', "you named"),
            ('{"chi":"prompt","to":"beta"}', "you named"),
        ):
            said = self.call("send", "beta", text)
            self.assertEqual(said.status, 2, text)
            self.assertIn(why, said.err)
        self.assertEqual(fake.heard, [])

    def test_lines(self) -> None:
        """Each line of standard input is a tone of its own, and one that fails makes the call fail."""
        fake = self.humd(lambda tone: [echo(tone), *([error(tone, "rid")] if tone["sid"] == "b" else [])])
        lines = b'\n{"chi":"pulse","sid":"a"}\n\n{"chi":"pulse","sid":"b"}\n{"chi":"pulse","sid":"c"}\n'
        said = self.call("send", "beta", "-", "--json", stdin=lines)
        tones = self.tones(fake)
        self.assertEqual([tone["sid"] for tone in tones], ["a", "b", "c"])
        self.assertEqual([line["sid"] for line in said.lines], ["a", "c"])
        self.assertEqual((said.status, said.failure["rid"]), (1, tones[1]["rid"]))

    def test_nothing_on_standard_input(self) -> None:
        """Empty standard input is bad usage."""
        self.humd(lambda tone: [])
        self.assertEqual(self.call("send", "beta", "-", stdin=b" \n\n").status, 2)


class WaitTests(SendTestCase):
    """With ``--wait``."""

    def answer(self, tone: dict[str, Any]) -> list[Any]:
        sid = {"sid": tone["sid"]}
        return [
            echo(tone),
            {"chi": "chunk", "sid": "another", "chunkType": "text_delta", "delta": "not ours"},
            {"chi": "chunk", **sid, "chunkType": "text_start"},
            {"chi": "chunk", **sid, "chunkType": "text_delta", "delta": "hi "},
            {"chi": "chunk", **sid, "chunkType": "text_delta", "delta": ""},
            {"chi": "session-ready", **sid},
            {"chi": "chunk", **sid, "chunkType": "text_delta", "delta": "there"},
            {"chi": "finish", **sid, "finishReason": "end_turn"},
        ]

    def test_text(self) -> None:
        """A person sees the text of the answer, as it comes, and nothing else."""
        self.humd(self.answer)
        said = self.call("send", "beta", PROMPT, "--wait")
        self.assertEqual((said.status, said.out, said.err), (0, "hi there\n", ""))

    def test_tones(self) -> None:
        """A program gets every tone of the answer, up to the last."""
        fake = self.humd(self.answer)
        said = self.call("send", "beta", PROMPT, "--wait", "--json")
        self.assertEqual(said.lines, [each for each in self.answer(fake.heard[0])[2:] if each.get("sid") != "another"])

    def test_error(self) -> None:
        """An answer that breaks off with an error ends with 1, and the error has a line of its own."""
        self.humd(lambda tone: [*self.answer(tone)[:4], error(tone, "sid")])
        said = self.call("send", "beta", PROMPT, "--wait")
        self.assertEqual((said.status, said.out), (1, "hi \n"))
        self.assertEqual(said.err, "ensemble: route.unknown-peer: no link\n")
        said = self.call("send", "beta", PROMPT, "--wait", "--json")
        self.assertEqual(said.lines[-1]["chi"], "error")
        self.assertEqual(said.failure["qualifier"], "route.unknown-peer")

    def test_refused_over_there(self) -> None:
        """What another humd says of itself is not mistaken for this one's word."""
        self.humd(lambda tone: [{**error(tone, "sid"), "from": BETA.full, "message": "no worker here"}])
        said = self.call("send", "beta", PROMPT, "--wait")
        self.assertEqual(said.err, f"ensemble: {BETA.short} says route.unknown-peer: no worker here\n")

    def test_error_of_a_bee(self) -> None:
        """A bee's error has a code instead of a qualifier, and perhaps no words."""
        self.humd(lambda tone: [{"chi": "error", "sid": tone["sid"], "code": "E7"}])
        self.assertEqual(self.call("send", "beta", PROMPT, "--wait").err, "ensemble: E7: no message came with it\n")

    def test_ended_early(self) -> None:
        """A finish that is not the ordinary end is remarked on."""
        self.humd(lambda tone: [{"chi": "finish", "sid": tone["sid"], "finishReason": "max_tokens"}])
        said = self.call("send", "beta", PROMPT, "--wait")
        self.assertEqual((said.status, said.err), (0, "ensemble: the answer ended early: max_tokens\n"))

    def test_question(self) -> None:
        """What the worker asks of a person in between is shown whole."""
        question = {"chi": "permission-ask", "question": "may I?"}
        self.humd(lambda tone: [{**question, "sid": tone["sid"]}, *self.answer(tone)])
        self.assertIn("may I?", self.call("send", "beta", PROMPT, "--wait").out.splitlines()[0])

    def test_tool_result(self) -> None:
        """A tool's output is shown: text as it is, anything else as JSON, a failure as such."""
        call = '{"chi":"tool-call","name":"t","args":{}}'
        results: tuple[tuple[dict[str, Any], str, int], ...] = (
            ({"output": "done"}, "done\n", 0),
            ({"output": "done\n"}, "done\n", 0),
            ({"output": None, "result": {"a": 1}}, '{\n  "a": 1\n}\n', 0),
            ({"content": "no", "isError": True}, "no\n", 1),
            ({}, "", 0),
        )
        for result, shown, status in results:
            with self.subTest(result=result):
                fake = self.humd(partial(self.result, result))
                said = self.call("send", "beta", call, "--wait")
                self.assertEqual((said.status, said.out), (status, shown))
                fake.stop()

    def result(self, body: dict[str, Any], tone: dict[str, Any]) -> list[Any]:
        return [{"chi": "tool-result", "callId": tone["callId"], **body}]

    def test_other_tone(self) -> None:
        """Of a tone that is neither prompt nor tool-call, the first answer is the last."""
        self.humd(lambda tone: [echo(tone), {"chi": "detach", "sid": "s"}, {"chi": "detach", "sid": "s"}])
        said = self.call("send", "beta", '{"chi":"attach","sid":"s"}', "--wait")
        self.assertEqual((said.status, said.out), (0, '{"chi":"detach","sid":"s"}\n'))

    def test_silence(self) -> None:
        """When nothing comes for too long it gives up, behind what had come."""
        self.humd(lambda tone: self.answer(tone)[:4])
        receive, coming = ThrumSocket.receive, iter(range(5))  # with the breath before them

        def in_time(wire: ThrumSocket, until: float) -> dict[str, Any] | None:
            return receive(wire, until if next(coming, None) is None else until + 30)

        with mock.patch.object(ThrumSocket, "receive", in_time):
            said = self.call("send", "beta", PROMPT, "--wait", "--timeout", "0.2")
        self.assertEqual((said.status, said.out), (1, "hi \n"))
        self.assertIn("no answer for 0.2 s", said.err)

    def test_given_up(self) -> None:
        """Whoever waits no longer for the answer to a prompt has it cancelled; a tool-call has nothing to cancel."""
        call = '{"chi":"tool-call","toolName":"add","args":{}}'
        receive = ThrumSocket.receive

        def ctrl_c(wire: ThrumSocket, until: float) -> None:
            receive(wire, until)  # the breath: then the other side reads
            raise KeyboardInterrupt

        for tone, interrupted, heard in ((PROMPT, False, 2), (PROMPT, True, 2), (call, True, 1)):
            fake = self.humd(lambda tone: [])
            if interrupted:
                with mock.patch.object(ThrumSocket, "receive", ctrl_c), self.assertRaises(KeyboardInterrupt):
                    self.call("send", "beta", tone, "--wait")
            else:
                self.assertEqual(self.call("send", "beta", tone, "--wait", "--timeout", "0.1").status, 1)
            fake.stop()
            self.assertEqual(len(fake.heard), heard, fake.heard)
            for cancel in fake.heard[1:]:
                self.assertEqual(
                    (cancel["chi"], cancel["sid"], cancel["to"]), ("cancel", fake.heard[0]["sid"], BETA.full)
                )

    def test_one_after_the_other(self) -> None:
        """Of several tones each is sent when the one before is answered."""
        self.humd(self.answer)
        said = self.call("send", "beta", "-", "--wait", stdin=f"{PROMPT}\n{PROMPT}\n".encode())
        self.assertEqual((said.status, said.out), (0, "hi there\nhi there\n"))

    def test_never_answered(self) -> None:
        """Nobody is made to wait for what never comes."""
        fake = self.humd(lambda tone: [])
        self.assertEqual(self.call("send", "beta", '{"chi":"pulse"}', "--wait").status, 2)
        self.assertEqual(fake.heard, [])


class InputTests(SendTestCase):
    """Standard input."""

    @given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(-9, 9)), max_size=4))
    def test_ndjson(self, objects: list[dict[str, int]]) -> None:
        """One object on each line comes out as it went in."""
        stream = io.BytesIO("".join(write_document(each) + "\n" for each in objects).encode())
        self.assertEqual(list(from_stdin(stream)), objects)

    @given(st.dictionaries(st.text(max_size=5), st.integers(-9, 9), min_size=1))
    def test_pretty(self, value: dict[str, int]) -> None:
        """One object may take as many lines as it likes."""
        stream = io.BytesIO(write_document(value, pretty=True).encode())
        self.assertEqual(list(from_stdin(stream)), [value])

    def test_bad_line(self) -> None:
        """A line that is no object is named by its number, behind those that were good."""
        tones = from_stdin(io.BytesIO(b"{}\n\n[]\n"))
        self.assertEqual(next(tones), {})
        self.assertIn("line 3 must be", str(self.assertRaises(BadUsage, next, tones)))

    def test_too_much(self) -> None:
        """What does not end is not read to its end."""
        tones = from_stdin(io.BytesIO(b"{" + b" " * MAX_STDIN + b"}"))
        self.assertIn("larger than", str(self.assertRaises(BadUsage, next, tones)))

    def test_own_keys_are_kept(self) -> None:
        """Keys that a tone has already stay; the receiver may be spelt in any form."""
        tone = {"chi": "prompt", "rid": "r", "sid": "s", "to": BETA.digest.hex()}
        self.assertEqual(dress(tone, BETA, RidMinter(lambda: 0)), {**tone, "to": BETA.full})


class SocketTests(CommandTestCase):
    """The socket itself."""

    def test_any_cut(self) -> None:
        """However the bytes come, whole tones come out, and lines that are none are passed over."""
        self.serve(self.thrum, lambda tone: [b'{"chi":"a"}\nrubbish\n{"chi"', b':"b"}\n', b"\n"])
        with closing(ThrumSocket(self.thrum, 5.0)) as wire:
            wire.send({"chi": "x"})
            until = time.monotonic() + 5
            self.assertEqual([wire.receive(until), wire.receive(until)], [{"chi": "a"}, {"chi": "b"}])
            self.assertIsNone(wire.receive(time.monotonic() + 0.05))

    def test_endless_line(self) -> None:
        """A line that does not end is given up."""
        self.serve(self.thrum, lambda tone: [b"x" * (MAX_LINE // 4)] * 5)
        with closing(ThrumSocket(self.thrum, 5.0)) as wire:
            wire.send({"chi": "x"})
            self.assertRaises(ThrumClosed, wire.receive, time.monotonic() + 30)

    def test_unread(self) -> None:
        """A humd that does not read is given up, too."""
        self.serve(self.thrum, lambda tone: [None])
        with closing(ThrumSocket(self.thrum, 0.1)) as wire:
            wire.send({"chi": "x"})
            self.assertRaises(ThrumClosed, wire.receive, time.monotonic() + 5)
            error = self.assertRaises(ThrumClosed, wire.send, {"chi": "x" * 10_000_000})
            self.assertIn("did not take the tone", str(error))
