"""How a call begins and ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest, mock

import ensemble
from ensemble import __version__
from ensemble.command.completion import commands_of
from ensemble.command.main import main
from ensemble.command.outcome import BadUsage
from ensemble.command.parser import VERSION, build
from ensemble.config import MAX_THRUM
from ensemble.tone import read_document
from tests.command.calling import RUN, CommandTestCase, linked, status

ROOT = Path(ensemble.__file__).resolve().parent.parent
# Ctrl-C comes while the module named first is read; what is run then is the program named second.
INTERRUPTED = """
import os, runpy, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
runpy.run_path(sys.argv[2], run_name="__main__")
"""
# Of the platform (spec: services): no command of ours may be called so.
OTHERS = {"send", "listen", "doctor", "init", "completion"}
FREE = {"keygen", "attach", "debug", "add-node", "service", "registry"}


class MainTests(CommandTestCase):
    """Inside this process."""

    def test_version(self) -> None:
        """--version names the package's version and that of the wire."""
        with mock.patch("sys.stdout") as stdout:
            self.assertEqual(self.call("--version").status, 0)
        said = "".join(call.args[0] for call in stdout.write.mock_calls)
        self.assertEqual(said, f"ensemble {__version__} (thrum 0.8.0)\n")
        self.assertEqual(VERSION + "\n", said)

    def test_nobody_reads_the_version(self) -> None:
        """That it cannot be written is not passed over, unbuffered neither, when it shows at once."""
        with mock.patch("sys.stdout") as stdout:
            stdout.write.side_effect = BrokenPipeError
            self.assertRaises(BrokenPipeError, self.call, "--version")

    def test_no_colour(self) -> None:
        """Help and usage have none, on no Python: a usage goes to another stream than what may be a terminal."""
        with mock.patch.dict(os.environ, {"FORCE_COLOR": "1"}):
            said = build().format_help() + self.call().err + self.call("id", "--dance").err
        self.assertNotIn("\x1b", said)

    def test_bad_usage(self) -> None:
        """Every call that makes no sense ends with 2, and its last line says why; nothing goes to standard output."""
        for words, why in (
            ((), "name a command"),
            (("dance",), "invalid choice: 'dance'"),
            (("id", "--dance"), "unrecognized arguments: --dance"),
            (("id", "--state-dir", ""), "argument --state-dir: it is empty: leave it out, or name the place"),
            (("id", "--thr", "x"), "unrecognized arguments: --thr"),
            (("listen", "--count", "0"), "argument --count: invalid value '0': a whole number from 1 up"),
            (("listen", "--count", "many"), "argument --count: invalid value 'many': a whole number from 1 up"),
            (("send", "x", "{}", "--timeout", "inf"), "argument --timeout: invalid value 'inf': a number of"),
            (
                ("send", "x", "{}", "--timeout", "-1"),
                "argument --timeout: invalid value '-1': a number of seconds above 0",
            ),
            (("send", "x", "{}", "--timeout", "1e10"), "argument --timeout: invalid value '1e10': a number of"),
            (("trust", "x", "--timeout", "x"), "argument --timeout: invalid value 'x': a number of seconds above 0"),
            (("peers", "--words", "--forget", "x"), "not allowed with argument"),
        ):
            said = self.call(*words)
            self.assertEqual((said.status, said.out), (2, ""), words)
            self.assertIn("usage: ensemble", said.err)
            self.assertIn(why, said.err.splitlines()[-1])

    def test_value_of_two_hyphens(self) -> None:
        """Behind an option's `=`, `--` is a value like others."""
        for command in commands_of(build()):
            places = ["x"] * len(command.places)
            for option in command.options:
                name = option.names[-1]
                if option.value is None or command.name == "completion":
                    continue
                try:
                    found = vars(build().parse_args([command.name, *places, f"{name}=--"]))
                except BadUsage as error:
                    self.assertIn(f"argument {name}: invalid ", str(error))
                    self.assertIn("'--'", str(error))
                else:
                    value = found[name[2:].replace("-", "_")]
                    self.assertEqual(value, ["--"] if option.repeats else "--", name)

    def test_usage_shows_where(self) -> None:
        """The usage above a mistake is that of the command, and where there is none yet says where options stand."""
        for words, usage in (
            (("status", "extra"), "usage: ensemble status [-h]"),
            (("send", "x", "{}", "extra", "--json-lines"), "usage: ensemble send [-h]"),
            (("--thrum", "/x", "status"), "usage: ensemble COMMAND [OPTION]..."),
            (("--limits", "status"), "usage: ensemble COMMAND [OPTION]..."),
            (("--json", "status"), ""),
        ):
            said = self.call(*words).err
            self.assertTrue(said.startswith(usage), words)
            self.assertIs("options stand behind the command" in said, words[0].startswith("--"), words)

    def test_bad_usage_for_programs(self) -> None:
        """With --json an error of the call itself is JSON, too."""
        said = self.call("listen", "--json", "--count", "x")
        self.assertEqual((said.status, said.out), (2, ""))
        self.assertEqual(said.failure["qualifier"], "command.usage")
        self.assertIs(said.failure["ok"], False)

    def test_no_daemon(self) -> None:
        """Where a daemon is needed and none answers the status is 3, and the message says how to start one."""
        for words in (("status",), ("listen",), ("peers", "--forget", "a" * 64)):
            said = self.call(*words)
            self.assertEqual((said.status, said.out), (3, ""))
            self.assertIn("start one with `twistd humd`", said.err)
            self.assertEqual(self.call(*words, "--json").failure["qualifier"], "daemon.absent")

    def test_no_daemon_with_a_unit(self) -> None:
        """Where a unit runs the humd that is meant, that is how to start it; where it runs another one it is not."""
        self.assertEqual(self.call("init").status, 0)
        for words in (("status",), ("listen",), ("send", "a" * 64, '{"chi":"pulse"}')):
            self.assertIn("; start it with `systemctl --user start humd`\n", self.call(*words).err)
        said = self.call("trust", "a" * 64, "--json")
        self.assertIn('; start it with `systemctl --user start humd`"', said.err)
        other = f"{self.home}/other"
        self.assertIn(
            f"start one with `twistd humd --state-dir {other}`", self.call("status", "--state-dir", other).err
        )
        self.environ["XDG_STATE_HOME"] = other
        self.assertIn("start one with `twistd humd`", self.call("status").err)

    def test_refusal(self) -> None:
        """What the daemon refuses ends with 1, in its own words."""
        self.serve_control(status={"ok": False, "qualifier": "queue.full", "message": "too many connections"})
        said = self.call("status")
        self.assertEqual((said.status, said.err), (1, "ensemble: too many connections\n"))
        self.assertEqual(self.call("status", "--json").failure["qualifier"], "queue.full")

    def test_path_too_long(self) -> None:
        """A socket that no system can make is told, with its length, and ends with 1."""
        said = self.call("status", "--thrum", "/" + "x" * MAX_THRUM, "--json")
        self.assertEqual((said.status, said.failure["qualifier"]), (1, "config.unusable"))
        self.assertIn(f"{MAX_THRUM + 1} bytes", said.failure["message"])

    def test_names_of_the_platform_are_free(self) -> None:
        """No command takes a name that the services platform needs."""
        names = {command.name for command in commands_of(build())}
        self.assertEqual(names & FREE, set())
        self.assertEqual(names, {"id", "status", "peers", "trust", "untrust", "rotate", "revoke", *OTHERS})

    def test_interrupt_in_process(self) -> None:
        """Ctrl-C is an ordinary end, with the status that shells expect."""
        with mock.patch("ensemble.command.main.run", side_effect=KeyboardInterrupt):
            self.assertEqual(main(["listen"]), 130)

    def test_broken_pipe_in_process(self) -> None:
        """Where nobody reads the output the status says so, and what was left to write is no second error."""
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w", encoding="utf-8") as out, mock.patch("sys.stdout", out):
            self.assertEqual(main(["--version"]), 141)

    def test_any_stream(self) -> None:
        """A program that calls the command may have put streams of its own in the place of the process's."""
        with mock.patch("sys.stdout", io.StringIO()) as out:
            self.assertEqual(main(["--version"]), 0)
        self.assertEqual(out.getvalue(), VERSION + "\n")

    def test_closed_streams_in_process(self) -> None:
        """Without standard input nothing is read; without standard output what should be written cannot be."""
        err = io.StringIO()
        with mock.patch("sys.stdin", None), mock.patch("sys.stdout", None), mock.patch("sys.stderr", err):
            self.assertEqual(main(["--version"]), 1)
            with sys.stdin as stdin, sys.stdout:
                self.assertEqual(stdin.read(), "")
        self.assertEqual(err.getvalue(), "ensemble: cannot write standard output: Bad file descriptor\n")


class ProcessTests(CommandTestCase):
    """The ends that only a process has."""

    def start(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, *words],
            env={**os.environ, **self.environ, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        return process

    def test_interrupt(self) -> None:
        """Ctrl-C while it waits: status 130, and not a word about it."""
        tap = self.serve(self.control, lambda request: [{"ok": True}, {"tone": {"chi": "pulse"}}])
        process = self.start("listen")
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b'{"chi":"pulse"}\n')
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out, err), (130, b"", b"ensemble: listening\n"))
        self.assertEqual(tap.heard, [{"do": "tap"}])

    def test_interrupt_at_the_start(self) -> None:
        """
        Ctrl-C while the modules are still being read ends the command, and the demo, in the same way.

        Also where a module in C reads another, as msgspec does with dataclasses.
        """
        command = self.home / "ensemble"
        command.write_text(RUN)
        for program in (command, ROOT / "examples" / "demo.py"):
            for module in ("ensemble.config", "dataclasses"):
                words = (sys.executable, "-c", INTERRUPTED, module, str(program))
                done = subprocess.run(
                    words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False
                )
                self.assertEqual((done.returncode, done.stdout, done.stderr), (130, b"", b""), (program, module))

    def test_words_for_the_demo(self) -> None:
        """The demo takes none, and begins nothing before it says so."""
        words = (sys.executable, str(ROOT / "examples" / "demo.py"), "fast")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, env=environment, capture_output=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn(b"unrecognized arguments: fast", done.stderr)

    def test_broken_pipe(self) -> None:
        """A reader that has seen enough ends it without a word."""
        self.serve(self.control, lambda request: [{"ok": True}] + [{"tone": {"chi": "x" * 4000}}] * 100)
        process = self.start("listen")
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        self.assertEqual(process.stderr.read(), b"ensemble: listening\n")
        self.assertEqual(process.wait(20), 141)

    def test_full_disk(self) -> None:
        """Output that cannot be written is a failure like others, whenever it shows: one line, and status 1."""
        if not os.path.exists("/dev/full"):
            raise SkipTest("there is no /dev/full")
        self.serve_control(status=status())
        for words, unbuffered in (
            (("--help",), ""),
            (("--help",), "1"),
            (("status",), ""),
            (("status", "--json"), ""),
            (("completion", "bash"), ""),
        ):
            with open("/dev/full", "wb") as full:
                done = subprocess.run(
                    [sys.executable, "-c", RUN, *words],
                    env={**os.environ, **self.environ, "PYTHONUNBUFFERED": unbuffered},
                    stdout=full,
                    stderr=subprocess.PIPE,
                    timeout=60,
                    check=False,
                )
            said = done.stderr.decode()
            self.assertEqual((done.returncode, said.count("\n")), (1, 1), said)
            self.assertIn("cannot write standard output: No space left on device", said)

    def test_full_disk_and_a_failure(self) -> None:
        """What went wrong first is told where standard output cannot be written, and is the status in any case."""
        if not os.path.exists("/dev/full"):
            raise SkipTest("there is no /dev/full")
        for streams in ({"stdout"}, {"stderr"}, {"stdout", "stderr"}):
            with open("/dev/full", "wb") as full:
                done = subprocess.run(
                    [sys.executable, "-c", RUN, "dance"],
                    env={**os.environ, **self.environ},
                    stdout=full if "stdout" in streams else subprocess.PIPE,
                    stderr=full if "stderr" in streams else subprocess.PIPE,
                    timeout=60,
                    check=False,
                )
            said = (done.stderr or b"").decode()
            self.assertEqual((done.returncode, "invalid choice: 'dance'" in said), (2, "stderr" not in streams), said)

    def test_letters_that_the_terminal_has_not(self) -> None:
        """An alias beyond the terminal's letters is spelt out, and no reason to fail."""
        self.serve_control(peers={"ok": True, "peers": [linked(alias="Bücher")]})
        out, err = self.start("peers", PYTHONUTF8="0", PYTHONIOENCODING="ascii").communicate(timeout=20)
        self.assertIn(b"B\\xfccher", out)
        self.assertEqual(err, b"")

    def test_json_is_utf_8(self) -> None:
        """JSON has the letters themselves, on both streams, whatever the terminal has."""
        self.serve_control(peers={"ok": True, "peers": [linked(alias="Bücher")]})
        few = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
        out, err = self.start("peers", "--json", **few).communicate(timeout=20)
        self.assertEqual((read_document(out)["peers"][0]["alias"], err), ("Bücher", b""))
        out, err = self.start("send", "--json", "nobody", "{}", **few).communicate(timeout=20)
        self.assertEqual(out, b"")
        self.assertIn("there are Bücher ", read_document(err)["message"])

    def test_status_is_that_of_the_process(self) -> None:
        """What a shell sees is the status of the command."""
        self.serve_control(status=status())
        for words, expected in ((("status",), 0), (("status", "--thrum", "/nowhere"), 3), (("dance",), 2)):
            process = self.start(*words)
            process.communicate(timeout=20)
            self.assertEqual(process.returncode, expected)

    def test_started_without_streams(self) -> None:
        """
        Where a shell closed standard input or error, or an output that nothing is written to, all is as ever; what
        cannot be written is a failure with one line.
        """
        for words, closed, expected, lines in (
            ("--version", "<&-", 0, 0),
            ("--version", "2>&-", 0, 0),
            ("--version", ">&-", 1, 1),
            ("--version", "<&- >&-", 1, 1),
            ("--version", "<&- >&- 2>&-", 1, 0),
            ("status --thrum /nowhere", "<&-", 3, 1),
            ("status --thrum /nowhere", ">&-", 3, 1),
            ("status --thrum /nowhere", "<&- >&- 2>&-", 3, 0),
        ):
            done = subprocess.run(
                ["sh", "-c", f'exec "$0" -c "$1" {words} {closed}', sys.executable, RUN],
                env={**os.environ, **self.environ},
                capture_output=True,
                timeout=20,
            )
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (expected, lines), (words, closed))
