"""The systemd unit: its words arrive as they were meant."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from unittest import SkipTest, mock

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.command.unit import (
    RUNTIME_THRUM,
    exec_line,
    given_words,
    humd_words,
    quote,
    twistd,
    unit_path,
    unit_text,
)
from ensemble.config import Paths
from ensemble.errors import ConfigurationError

ODD = "/a b/%h/$HOME/${X}/\"q\"/'s'/back\\slash/ü/;/#"
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).map(
    lambda text: f"/{text}"
)


def read_exec(line: str) -> list[str]:
    """
    An ``ExecStart=`` as systemd.service(5) and systemd.syntax(7) describe it: words apart by blanks, quotes around
    them, C escapes in them, specifiers, then (but not in the program) variables.
    """
    words: list[str] = []
    at = 0
    while at < len(line):
        word, quoted = "", ""
        while at < len(line) and (quoted or not line[at].isspace()):
            character = line[at]
            if character == "\\":
                code = line[at + 1]
                if code == "x":
                    word += chr(int(line[at + 2 : at + 4], 16))
                    at += 4
                else:
                    word += {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)
                    at += 2
                continue
            at += 1
            if character == quoted:
                quoted = ""
            elif not quoted and character in "\"'":
                quoted = character
            else:
                word += character
        assert not quoted, line
        at += 1
        assert "%" not in word.replace("%%", ""), line
        word = word.replace("%%", "%")
        if words:
            assert "$" not in word.replace("$$", ""), line
            word = word.replace("$$", "$")
        words.append(word)
    return words


def run_by_shell(words: list[str]) -> list[str]:
    """What ``/bin/sh -c 'exec "$0" "$@"'`` would run."""
    return words[3:] if words[:3] == ["/bin/sh", "-c", 'exec "$0" "$@"'] else words


class QuotingTests(SynchronousTestCase):
    """Words in ``ExecStart=``."""

    @given(PATHS, st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
    def test_words_survive(self, program: str, arguments: list[str]) -> None:
        """Whatever is in a path or an option, systemd runs exactly those words, on one line."""
        line = exec_line([program, *arguments])
        self.assertNotIn("\n", line)
        self.assertEqual(run_by_shell(read_exec(line)), [program, *arguments])

    @given(
        PATHS,
        st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)),
        st.booleans(),
    )
    def test_words_can_be_read_again(self, program: str, values: list[str], joined: bool) -> None:
        """What a unit gives for an option is read back as it was meant, however it is quoted."""
        values = [value for value in values if not value.startswith("--")]
        words = (
            [f"--listen={value}" for value in values]
            if joined
            else [x for value in values for x in ("--listen", value)]
        )
        text = unit_text([program, "humd", *words, "--advertise", "tcp:a:1"])
        self.assertEqual(given_words(text, "--listen"), values)
        self.assertEqual(given_words(text, "--advertise"), ["tcp:a:1"])

    def test_specifiers(self) -> None:
        """What a person wrote as systemd has it is read as systemd reads it."""
        for written, meant in (("%h/s", "/me/s"), ('"%h/a b"', "/me/a b"), ("/%%h", "/%h"), ('"/%%%h"', "/%/me")):
            self.assertEqual(given_words(f"ExecStart=x --state-dir {written}\n", "--state-dir", "/me"), [meant])
        self.assertEqual(given_words("ExecStart=x --state-dir=%h/s", "--state-dir"), ["%h/s"])

    def test_unit_without_words(self) -> None:
        """A unit that is none gives nothing."""
        for text in ("", "ExecStart=", "mine", 'ExecStart="'):
            self.assertEqual(given_words(text, "--listen"), [])

    def test_readable(self) -> None:
        """What needs no quotes has none, and a path with a blank has only quotes."""
        self.assertEqual(exec_line(["/a/twistd", "-n", "tcp:1"]), "/a/twistd -n tcp:1")
        self.assertEqual(exec_line(["/a b/twistd", "50%"]), '"/a b/twistd" "50%%"')

    def test_program_that_systemd_refuses(self) -> None:
        """A program whose path systemd would not take is run by a shell, which puts itself in its place."""
        self.assertTrue(exec_line(["/it's/twistd", "-n"]).startswith("/bin/sh -c "))

    def test_not_utf8(self) -> None:
        """A path that is no text cannot be written, and that is said."""
        self.assertRaises(ConfigurationError, quote, "/\udcff")


class UnitTests(SynchronousTestCase):
    """The whole file."""

    def test_all_is_absolute(self) -> None:
        """The unit names every place, so that it does not matter what environment the user manager has."""
        paths = Paths.resolve({"HOME": "/home/x y"}, 1, thrum="/run/t", run_user="/nowhere")
        words = humd_words(Path("/venv/bin/twistd"), paths, ["--listen", "tcp:1", "--advertise", "tcp:a:1"])
        self.assertEqual(
            words,
            [
                *("/venv/bin/twistd", "-n", "--pidfile=", "humd", "--state-dir", "/home/x y/.local/state/hum"),
                *("--key", "/home/x y/.local/state/hum/humd.key", "--peers", "/home/x y/.config/hum/peers.json"),
                *("--thrum", "/run/t", "--listen", "tcp:1", "--advertise", "tcp:a:1"),
            ],
        )
        text = unit_text(words)
        settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        self.assertEqual(read_exec(settings["ExecStart"]), words)
        self.assertEqual(
            [settings[key] for key in ("Type", "Restart", "ExecReload", "WantedBy", "SyslogIdentifier")],
            ["notify", "on-failure", "/bin/kill -HUP $MAINPID", "default.target", "humd"],
        )

    def test_default_socket(self) -> None:
        """The socket that systemd is to name stands as a specifier, whatever stands beside it."""
        paths = Paths.resolve({"HOME": "/home/x%t y"}, 1, run_user="/nowhere")
        text = unit_text(humd_words(Path("/venv/bin/twistd"), paths, ["--advertise", "50%t"], RUNTIME_THRUM))
        self.assertIn(' --thrum %t/hum/thrum.sock --advertise "50%%t"\n', text)
        self.assertIn('"/home/x%%t y/.local/state/hum"', text)

    def test_systemd_reads_it(self) -> None:
        """systemd itself has nothing to say against it, with the oddest of paths."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("there is no systemd here")
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        for number, program in enumerate((shutil.which("true") or "/bin/true", f"{folder}/it's 100% $X/run")):
            Path(program).parent.mkdir(exist_ok=True)
            if not Path(program).exists():
                Path(program).symlink_to("/bin/true")
            unit = Path(folder) / f"humd{number}.service"
            unit.write_text(
                unit_text([program, "--state-dir", ODD, "--key", "/new\nline\x01", "--thrum", RUNTIME_THRUM])
            )
            done = subprocess.run(
                ["systemd-analyze", "--user", "verify", str(unit)],
                env={"HOME": folder, "XDG_RUNTIME_DIR": folder, "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual([line for line in done.stderr.splitlines() if unit.name in line], [])
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_where(self) -> None:
        """It goes where the user manager looks."""
        below = "systemd/user/humd.service"
        self.assertEqual(unit_path({"HOME": "/h"}), Path("/h/.config") / below)
        self.assertEqual(unit_path({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}), Path("/c") / below)
        self.assertEqual(unit_path({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}), Path("/h/.config") / below)
        self.assertIsNone(unit_path({"HOME": "", "XDG_CONFIG_HOME": "relative"}))

    def test_twistd(self) -> None:
        """It is the one beside this python; where there is none the error names the folder, and what puts one there."""
        self.assertTrue(twistd().is_absolute())
        self.assertTrue(twistd().exists())
        with (
            mock.patch("sys.executable", "/no/bin/python"),
            mock.patch("sysconfig.get_path", return_value="/no/scripts"),
        ):
            told = str(self.assertRaises(ConfigurationError, twistd))
        self.assertIn("/no/bin", told)
        self.assertIn("`pip install --ignore-installed", told)

    def test_twistd_of_one_user(self) -> None:
        """After `pip install --user` it is not beside python."""
        base = Path(self.mktemp()).absolute()
        (base / "bin").mkdir(parents=True)
        (base / "bin" / "twistd").touch()
        variables = dict.fromkeys(("base", "installed_base", "platbase", "installed_platbase"), "/no") | {
            "userbase": str(base)
        }
        get_path = sysconfig.get_path

        # Given with the question: Python 3.13 makes its own variables anew where `base` is not `sys.prefix`.
        def elsewhere(name: str, scheme: str) -> str:
            return get_path(name, scheme, vars=dict(variables))

        with mock.patch("sys.executable", "/no/bin/python"), mock.patch("sysconfig.get_path", elsewhere):
            self.assertEqual(twistd(), base / "bin" / "twistd")
