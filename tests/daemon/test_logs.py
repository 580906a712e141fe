"""The log: text for people, JSON for programs, and neither obeys what a peer wrote."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import stat
from collections.abc import Callable
from contextlib import nullcontext
from glob import glob
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ensemble.daemon.descriptors import Descriptors
from ensemble.daemon.logs import LogPlan, is_journal, json_line, level_of, make_observer, text_line, unknown_level
from ensemble.errors import ConfigurationError


class LineTestCase(SynchronousTestCase):
    """Logs events, and reads what they look like."""

    def lines(self, log_format: str, say: Any, least: Any = LogLevel.debug) -> list[str]:
        file = io.StringIO()
        publisher = LogPublisher(make_observer(file, log_format, least))
        say(Logger(namespace="here", observer=publisher))
        return file.getvalue().splitlines()

    def event(self, say: Any) -> dict[str, Any]:
        (line,) = self.lines("json", say)
        event: dict[str, Any] = json.loads(line)
        return event


class JournalTests(LineTestCase):
    """What systemd keeps."""

    def test_lines(self) -> None:
        """Each line has its level, for the journal, and no time; what peers wrote makes no line."""
        self.assertEqual(self.lines("journal", lambda log: log.info("hello")), ["<6>[here#info] hello"])
        told = self.lines("journal", lambda log: log.warn("lost {peer}", peer="a\n<0>b"))
        self.assertEqual(told, ["<4>[here#warn] lost a\N{REPLACEMENT CHARACTER}<0>b"])

        def die(log: Logger) -> None:
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                log.failure("died")

        told = self.lines("journal", die)
        self.assertGreater(len(told), 2)
        self.assertEqual({each[:3] for each in told}, {"<2>"})
        self.assertEqual(self.lines("journal", lambda log: log.info("")), [])

    def test_which_file(self) -> None:
        """Only the file that systemd has connected to the journal is that."""
        with open(self.mktemp(), "w", encoding="utf-8") as file, open(self.mktemp(), "w", encoding="utf-8") as other:
            status = os.fstat(file.fileno())
            environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            files = (file, other, io.StringIO())
            self.assertEqual([is_journal(environ, each) for each in files], [True, False, False])
            self.assertFalse(is_journal({}, file))
            with patch.dict(os.environ, environ), patch("sys.stdout", file):
                for log_format in ("text", "json"):
                    observer = LogPlan.of({}, log_format, LogLevel.info).observer()
                    Logger(namespace="here", observer=observer).info("hello")
        self.assertIn("<6>[here#info] hello\n{", Path(file.name).read_text())


class JsonTests(LineTestCase):
    """One object per line."""

    def test_fields(self) -> None:
        """Time, level, event, message, and the fields as the values that they are."""
        event = self.event(lambda log: log.warn("lost {peer} after {took}", peer="p", took=1.5, known=True, more=None))
        self.assertRegex(event.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertEqual(
            event,
            {
                "level": "warn",
                "event": "lost",
                "message": "lost p after 1.5",
                "source": "here",
                "peer": "p",
                "took": 1.5,
                "known": True,
                "more": None,
            },
        )

    def test_time_is_utc(self) -> None:
        """The time is that of the event, in UTC."""
        line = json_line({"log_format": "x", "log_time": 1_700_000_000.25, "log_level": LogLevel.info})
        assert line is not None
        self.assertEqual(json.loads(line)["time"], "2023-11-14T22:13:20.250000Z")

    def test_names(self) -> None:
        """An event is named by itself, or by the first words of its format."""
        for form, name in (
            ("linked {peer} over {wire} ({proof})", "linked"),
            ("cannot link {peer}", "cannot-link"),
            ("{peer} says goodbye: {reason}", "says-goodbye"),
            ("one two three four five six", "one-two-three-four-five"),
            ("{}", "log"),
        ):
            self.assertEqual(self.event(lambda log, form=form: log.emit(LogLevel.info, form))["event"], name)
        self.assertEqual(self.event(lambda log: log.info("so {it} is", it=1, event="mine"))["event"], "mine")

    def test_live_objects(self) -> None:
        """What JSON has no form for becomes its text, lone surrogates and endless numbers included."""
        event = self.event(lambda log: log.info("x", thing=ValueError("v"), half="\ud800", endless=float("inf")))
        self.assertEqual((event["thing"], event["half"], event["endless"]), ("v", "?", "inf"))

    def test_taken_names(self) -> None:
        """A field that is called like a part of the envelope does not replace it."""
        event = self.event(lambda log: log.info("x", source="there", traceback="none"))
        self.assertEqual((event["source"], event["field_source"], event["field_traceback"]), ("here", "there", "none"))

    def test_failures(self) -> None:
        """A traceback is a field, so that the event stays one line."""
        event = self.event(lambda log: log.failure("it died", failure=Failure(KeyError("gone"))))
        self.assertIn("KeyError", event["traceback"])
        self.assertEqual(event["level"], "critical")

    def test_old_style(self) -> None:
        """What Twisted logs in its old way is an event without fields."""
        file = io.StringIO()
        observer = make_observer(file, "json", LogLevel.info)
        legacy.addObserver(observer)
        self.addCleanup(legacy.removeObserver, observer)
        legacy.msg("Port closed", eventSource=self)
        (line,) = file.getvalue().splitlines()
        event = json.loads(line)
        self.assertEqual((event["message"], event["level"]), ("Port closed", "info"))
        self.assertNotIn("eventSource", event)


class TextTests(LineTestCase):
    """For people."""

    def test_looks_like_twistd(self) -> None:
        """The line is the one that every twistd writes."""
        (line,) = self.lines("text", lambda log: log.info("linked {peer}", peer="p"))
        self.assertTrue(line.endswith("[here#info] linked p"), line)

    def test_nobody_moves_the_cursor(self) -> None:
        """Control characters that a peer wrote are shown as what they are not, and begin no line."""
        wrote = "a\x1b[2J\rb\x9b\n\tfake"
        (line,) = self.lines("text", lambda log: log.info("{text}", text=wrote))
        shown = wrote.translate(dict.fromkeys(map(ord, "\x1b\r\x9b\n\t"), "\N{REPLACEMENT CHARACTER}"))
        self.assertTrue(line.endswith(f"[here#info] {shown}"), line)

    def test_our_own_lines(self) -> None:
        """What we say may have more than one line, each indented; a bug is told with its traceback."""
        _, second = self.lines("text", lambda log: log.info("one\ntwo"))
        self.assertEqual(second, "\ttwo")
        self.assertGreater(len(self.lines("text", lambda log: log.failure("died", Failure(ZeroDivisionError())))), 2)

    def test_nobody_turns_the_text(self) -> None:
        """Nor do characters reach the log that begin a line, or change the order of what is read, in either format."""
        turns = "".join(map(chr, (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))))
        (text,) = self.lines("text", lambda log: log.info("{text}", text=f"a{turns}b"))
        self.assertTrue(text.endswith("a" + "\N{REPLACEMENT CHARACTER}" * len(turns) + "b"))
        for also in ("", "\ud800"):  # which no JSON has
            (line,) = self.lines("json", lambda log, more=also: log.info("{text}", text=turns + "\x9b" + more))
            self.assertFalse({*turns, "\x9b"} & {*line})
            self.assertTrue(json.loads(line)["text"].startswith(turns + "\x9b"))

    def test_nothing_to_say(self) -> None:
        """An event without a format is no line."""
        self.assertIsNone(text_line({}))

    def test_level(self) -> None:
        """Below the least level nothing is written; ``HUM_LOG_LEVEL`` names it, and info is what else holds."""

        def say(log: Logger) -> None:
            log.debug("d")
            log.info("i")
            log.warn("w")

        for word, count in (("trace", 3), ("DEBUG", 3), ("info", 2), ("warn", 1), ("error", 0), ("loud", 2), ("", 2)):
            self.assertEqual(len(self.lines("text", say, level_of({"HUM_LOG_LEVEL": word}))), count, word)

    def test_unknown_level(self) -> None:
        """A level that there is not is found out; an empty one counts as not given."""
        found = [unknown_level({"HUM_LOG_LEVEL": word}) for word in ("loud", "INFO", "")]
        self.assertEqual((found, unknown_level({})), (["loud", None, None], None))


class PlanTests(SynchronousTestCase):
    """Where the log goes."""

    def plan(self, **twistd: Any) -> LogPlan:
        return LogPlan.of(twistd, "text", LogLevel.info)

    def log(self, path: str) -> Callable[[str], None]:
        """What writes texts to the log that a daemon has there; until the test is over SIGUSR1 is nobody else's."""
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, signal.SIG_DFL))
        observer = self.plan(nodaemon=0, logfile=path).observer()
        assert observer is not None
        return lambda text: observer(
            {"log_format": "{text}", "text": text, "log_level": LogLevel.info, "log_namespace": "here"}
        )

    def test_as_twistd_does(self) -> None:
        """To stdout in the foreground, to twistd.log in the background, and to the file that was named in both."""
        self.assertEqual(self.plan().file, "-")
        self.assertEqual(self.plan(nodaemon=1, logfile=None).file, "-")
        self.assertEqual(self.plan(nodaemon=0, logfile=None).file, "twistd.log")
        self.assertEqual(self.plan(nodaemon=0, logfile="x").file, "x")
        self.assertEqual(self.plan(nodaemon=1, logfile="x").file, "x")
        self.assertEqual(self.plan(nodaemon=0, debug=True).file, "-")

    def test_daemon_has_no_stdout(self) -> None:
        """A daemon that is to log to stdout is refused."""
        self.assertRaises(ConfigurationError, self.plan, nodaemon=0, logfile="-")

    def test_file(self) -> None:
        """The file is written; SIGUSR1, unless somebody else's, turns it as ``twistd`` does, or begins another."""
        path = self.mktemp()
        say = self.log(path)
        say("hello")
        with open(path) as file:
            self.assertIn("hello", file.read())
        ours = signal.getsignal(signal.SIGUSR1)
        self.assertTrue(callable(ours))
        self.plan(nodaemon=0, logfile=path).observer()
        self.assertIs(signal.getsignal(signal.SIGUSR1), ours)
        called: list[Any] = []
        self.patch(reactor, "callFromThread", called.append)
        assert callable(ours)
        ours(signal.SIGUSR1, None)
        spare = Descriptors().used()
        called[0]()
        self.assertEqual(Descriptors().used(), spare)
        self.assertTrue(os.path.exists(f"{path}.1"))
        os.rename(path, f"{path}-moved")
        ours(signal.SIGUSR1, None)
        called[1]()
        say("hello again")
        with open(path) as file:
            self.assertIn("hello again", file.read())

    def test_none_can_be_begun(self) -> None:
        """Where the disk refuses another file, or the folder is gone, the log goes on where it was, and then anew."""
        folder, moved = self.mktemp(), self.mktemp()
        os.mkdir(folder)
        path = os.path.join(folder, "log")
        say = self.log(path)
        ours = signal.getsignal(signal.SIGUSR1)
        assert callable(ours)
        self.patch(reactor, "callFromThread", lambda turn: turn())

        def refuse(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full = patch("os.rename", refuse)
        full.start()
        self.addCleanup(full.stop)
        say("x" * 1_000_000)
        say("full")
        self.assertIn("full", Path(path).read_text())
        full.stop()
        say("room")
        self.assertNotIn("full", Path(path).read_text())
        os.rename(folder, moved)
        for text in ("gone", "still gone"):
            ours(signal.SIGUSR1, None)
            say(text)
        for text in ("room", "gone", "still gone"):
            self.assertIn(text, Path(moved, "log").read_text())
        os.mkdir(folder)
        ours(signal.SIGUSR1, None)
        say("back")
        self.assertIn("back", Path(path).read_text())

    def test_no_descriptor_is_left(self) -> None:
        """A log that is too long stays as it is while no file can be opened."""
        path = self.mktemp()
        say = self.log(path)
        for text in ("x" * 1_000_000, "none left", "some left"):
            with patch("os.dup", side_effect=OSError) if text == "none left" else nullcontext():
                say(text)
        self.assertIn("none left", Path(f"{path}.1").read_text())
        self.assertIn("some left", Path(path).read_text())

    def test_mode(self) -> None:
        """A log that we begin is ours alone, whatever the umask; one that is there keeps its mode, as do the next."""
        self.addCleanup(os.umask, os.umask(0))
        for mode in (0o600, 0o640):
            path = self.mktemp()
            if mode != 0o600:
                os.close(os.open(path, os.O_CREAT, mode))
            say = self.log(path)
            for _ in range(2):
                say("x" * 1_000_000)
            self.assertEqual([stat.S_IMODE(os.stat(each).st_mode) for each in (path, f"{path}.1")], [mode] * 2)

    def test_old_files(self) -> None:
        """However much is logged, nine old files are kept."""
        path = self.mktemp()
        say = self.log(path)
        for number in range(13):
            say(f"{number} " + "x" * 1_000_000)
        self.assertEqual(sorted(glob(f"{path}.*")), [f"{path}.{number}" for number in range(1, 10)])

    def test_file_that_cannot_be(self) -> None:
        """A log that cannot be written is said before anything starts."""
        error = self.assertRaises(ConfigurationError, self.plan(nodaemon=0, logfile="/nowhere/at/all").observer)
        self.assertIn("/nowhere/at/all", str(error))
