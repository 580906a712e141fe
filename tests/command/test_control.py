"""The client of the control socket, against whatever may answer there."""

from __future__ import annotations

import os
from functools import partial
from typing import Any
from unittest import mock

from ensemble.command.control import DaemonRefused, NoDaemon, Unanswered, ask_daemon, converse
from ensemble.command.thrum_socket import ThrumSocket
from tests.command.calling import CommandTestCase


class ControlTests(CommandTestCase):
    """Questions, and what comes back."""

    def ask(self, *answer: Any, seconds: float = 5.0) -> dict[str, Any]:
        self.serve(self.control, lambda request: list(answer))
        return ask_daemon(self.control, "status", seconds, more=1)

    def absent(self, *answer: Any, seconds: float = 5.0) -> str:
        return str(self.assertRaises(NoDaemon, self.ask, *answer, seconds=seconds))

    def test_answer(self) -> None:
        """The question carries its fields, and the answer is what came."""
        fake = self.serve(self.control, lambda request: [{"ok": True, "n": 1}])
        self.assertEqual(ask_daemon(self.control, "peers", peer="x"), {"ok": True, "n": 1})
        self.assertEqual(fake.heard, [{"do": "peers", "peer": "x"}])

    def test_answer_in_pieces(self) -> None:
        """An answer that comes in pieces is the same answer."""
        self.assertEqual(self.ask(b'{"ok":', b"true}", b"\n"), {"ok": True})

    def test_further_lines(self) -> None:
        """Behind the first line come those that follow, until the connection ends."""
        self.serve(self.control, lambda request: [{"ok": True}, {"tone": 1}, {"tone": 2}, None])
        self.assertEqual(list(converse(self.control, "tap", None)), [{"ok": True}, {"tone": 1}, {"tone": 2}])

    def test_nobody_reads(self) -> None:
        """Where the other end of the output is gone, what comes behind the first line is not waited for."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        self.serve(self.control, lambda request: [{"ok": True}, {"tone": 1}])
        lines = converse(self.control, "tap", None, writing)
        self.assertEqual([next(lines), next(lines)], [{"ok": True}, {"tone": 1}])
        os.close(reading)
        self.assertRaises(BrokenPipeError, next, lines)

    def test_somebody_else(self) -> None:
        """Who was the first with the name of a socket is not asked, nor told anything."""
        control = self.serve(self.control, lambda request: [{"ok": True}])
        thrum = self.serve(self.thrum, lambda tone: [])
        why = PermissionError("user 4711 serves it, and not we")
        with (
            mock.patch("ensemble.command.control.refuse_strangers", side_effect=why),
            mock.patch("ensemble.command.thrum_socket.refuse_strangers", side_effect=why),
        ):
            for asked in (partial(ask_daemon, self.control, "status"), partial(ThrumSocket, self.thrum, 5.0)):
                self.assertIn("4711 serves it, and not we; ", str(self.assertRaises(Unanswered, asked)))
        self.assertEqual((control.heard, thrum.heard), ([], []))

    def test_refusals(self) -> None:
        """A no is raised with its word and its text, and so is an answer that is neither yes nor no."""
        for answer, word, text in (
            ({"ok": False, "qualifier": "queue.full", "message": "later"}, "queue.full", "later"),
            ({}, "", "it said no"),
            ([], "", "it said no"),
        ):
            fake = self.serve(self.control, partial(lambda answer, request: [answer], answer))
            error = self.assertRaises(DaemonRefused, ask_daemon, self.control, "status")
            self.assertEqual((error.qualifier, str(error)), (word, text))
            fake.stop()

    def test_closed(self) -> None:
        """Who closes the connection before the answer, in whatever way, is there, and not taken for nobody."""
        self.assertIn("without an answer", self.absent(None))
        for call, error in (
            ("sendall", BrokenPipeError(32, "Broken pipe")),
            ("recv", ConnectionResetError(104, "reset")),
        ):
            with mock.patch(f"socket.socket.{call}", side_effect=error):
                told = str(self.assertRaises(Unanswered, ask_daemon, self.control, "status"))
            self.assertIn("without an answer: it ends, or has no descriptor left", told)

    def test_of_another_user(self) -> None:
        """A socket that this user may not use is not taken for one that nobody serves, on either socket."""
        with mock.patch("socket.socket.connect", side_effect=PermissionError(13, "Permission denied")):
            for ask in (partial(ask_daemon, self.control, "status"), partial(ThrumSocket, self.thrum, 1.0)):
                self.assertIn("run this as the user that the humd runs as", str(self.assertRaises(NoDaemon, ask)))

    def test_silent(self) -> None:
        """Who accepts and says nothing is not waited for for ever."""
        self.assertIn("does not answer (timed out); is it stopped", self.absent(seconds=0.1))

    def test_rubbish(self) -> None:
        """Who answers in another language is no humd."""
        self.assertIn("is no humd", self.absent(b"220 mail\n"))

    def test_endless(self) -> None:
        """A line that does not end is given up."""
        with mock.patch("ensemble.command.control.MAX_ANSWER", 1000):
            self.assertIn("its line does not end", self.absent(b"x" * 500_000))
