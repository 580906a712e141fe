"""``completion``: the shells themselves are asked, where they are there."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from ensemble.command.completion import commands_of, options_of
from ensemble.command.parser import build
from tests.command.calling import CommandTestCase


class ScriptTests(CommandTestCase):
    """The scripts as text."""

    def test_everything_is_completed(self) -> None:
        """Each command and each of its long options is in each script."""
        for shell in ("bash", "zsh", "fish"):
            script = self.call("completion", shell).out
            for command in commands_of(build()):
                self.assertIn(command.name, script)
                for option in command.options:
                    for name in option.names:
                        if name.startswith("--"):
                            self.assertIn(name.removeprefix("--"), script, f"{shell}: {command.name} {name}")

    def test_for_programs(self) -> None:
        """A program gets the script as a string."""
        document = self.call("completion", "fish", "--json").document
        self.assertEqual(document, {"ok": True, "shell": "fish", "script": self.call("completion", "fish").out})

    def test_parser_is_read_whole(self) -> None:
        """What is read from the parser is what is in it."""
        self.assertEqual(
            [name for option in options_of(build()) for name in option.names], ["-h", "--help", "--version"]
        )
        commands = {command.name: command for command in commands_of(build())}
        listen = {option.names[-1]: option for option in commands["listen"].options}
        self.assertTrue(listen["--chi"].repeats)
        assert listen["--chi"].value is not None
        self.assertIn("prompt", listen["--chi"].value.choices)
        self.assertIsNone(listen["--json"].value)
        self.assertEqual([place.kind for place in commands["send"].places], ["PEER", "JSON"])
        self.assertEqual(commands["completion"].places[0].choices, ("bash", "zsh", "fish"))

    def test_option_is_alike_everywhere(self) -> None:
        """An option that takes a value takes one in each command that has it, so scripts tell it from a place."""
        takes: dict[str, set[bool]] = {}
        for command in commands_of(build()):
            for option in command.options:
                for name in option.names:
                    takes.setdefault(name, set()).add(option.value is not None)
        self.assertEqual([name for name, found in takes.items() if len(found) > 1], [])


class ShellTests(CommandTestCase):
    """The scripts at work, with an ``ensemble`` that knows two peers, one with an alias that a shell would run."""

    def setUp(self) -> None:
        super().setUp()
        program = self.home / "bin/ensemble"
        program.parent.mkdir()
        program.write_text(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" > asked\nprintf '%s\\n' beta '$(touch evil)' 'two words'\n"
        )
        program.chmod(0o755)
        self.environ["PATH"] = f"{program.parent}:{self.environ['PATH']}"
        (self.home / "file one.json").touch()
        (self.home / "folder").mkdir()

    def shell(self, name: str, script: str) -> str:
        program = shutil.which(name)
        if program is None:
            self.fail(f"there is no {name} here: `sh .ci/setup test` says how to install it")
        path = self.home / f"completion.{name}"
        path.write_text(self.call("completion", name).out)
        done = subprocess.run(
            [program, *(["-f"] if name == "zsh" else []), "-c", script],
            env=self.environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((done.stderr, done.returncode), ("", 0))
        self.assertFalse((self.home / "evil").exists(), "an alias was run")
        return done.stdout

    def bash(self, *words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in ("ensemble", *words))
        return self.shell(
            "bash",
            f"source completion.bash; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _ensemble; "
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ).split("\n")[:-1]

    def test_bash(self) -> None:
        """bash completes commands, options, values and peers."""
        self.assertEqual(self.bash("st"), ["status"])
        self.assertEqual(self.bash("--v"), ["--version"])
        self.assertEqual(self.bash("listen", "--ch"), ["--chi"])
        self.assertEqual(self.bash("listen", "--chi", "hello"), ["hello", "hello-proof"])
        self.assertEqual(self.bash("completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(self.bash("status", "--peers", "fi"), ["file one.json"])
        self.assertEqual(self.bash("status", "--state-dir", "fo"), ["folder"])
        self.assertEqual(self.bash("listen", "--count", ""), [""])
        self.assertEqual(self.bash("status", "x"), [""])
        self.assertEqual(self.bash("trust", "beta", "--auth", "p"), ["proven"])

    def test_bash_places(self) -> None:
        """bash offers peers where one belongs, whatever options stand before it, and none behind it."""
        for words in ((), ("--wait",), ("--timeout", "5"), ("--timeout", "=", "5", "--wait")):
            self.assertEqual(self.bash("send", *words, "be"), ["beta"], words)
            self.assertEqual(self.bash("send", *words, "beta", ""), [""], words)
        self.assertEqual(self.bash("send", "beta", "--wait", ""), [""])
        self.assertEqual(self.bash("completion", "bash", ""), [""])

    def test_bash_peers(self) -> None:
        """Whatever an alias says, bash only writes it, and quoted."""
        self.assertEqual(self.bash("send", "be"), ["beta"])
        self.assertEqual(self.bash("send", "t"), [r"two\ words"])
        self.assertEqual(self.bash("peers", "--forget", "$"), [r"\$\(touch\ evil\)"])

    def test_where(self) -> None:
        """The names are those of the humd that the options on the line lead to; nothing on the line is run."""
        self.environ["XDG_DATA_HOME"] = str(Path(self.home) / "fish")
        given = ["--state-dir", "'two words/$(touch evil)'", "--thrum=~/t", "--key", '"k"', "--peers", "x", "--wait"]
        cut = [part for word in given for part in (word.replace("=", "\n=\n").split("\n"))]
        line = " ".join(given)
        quoted = " ".join(map(shlex.quote, ("ensemble", "trust", *cut, "")))
        self.shell("bash", f"source completion.bash; COMP_WORDS=({quoted}); COMP_CWORD={len(cut) + 2}; _ensemble")
        told = ["--state-dir=two words/$(touch evil)", f"--thrum={self.home}/t", "--key=k", "--peers=x"]
        self.assertEqual(self.asked(), told)
        quoted = " ".join(map(shlex.quote, ("trust", *given, "")))
        self.shell(
            "zsh",
            f"compdef() {{ }}; compadd() {{ }}; source completion.zsh; words=({quoted}); CURRENT={len(given) + 2}; "
            "_ensemble_peers",
        )
        self.assertEqual(self.asked(), told)
        self.shell("fish", f"source completion.fish; complete -C {shlex.quote(f'ensemble trust {line} b')}")
        self.assertEqual(self.asked(), told)

    def asked(self) -> list[str]:
        """With which options the names were asked for."""
        first, second, *options = (self.home / "asked").read_text().splitlines()
        self.assertEqual((first, second), ("peers", "--words"))
        (self.home / "asked").unlink()
        return options

    def test_zsh(self) -> None:
        """zsh reads its script, and asks for peers without running what they are called."""
        out = self.shell(
            "zsh",
            "compdef() { print -r -- $* }; compadd() { print -rl -- $2 ${(P)2} }; "
            "source completion.zsh; _ensemble_peers",
        )
        self.assertEqual(out.splitlines(), ["_ensemble ensemble", "peers", "beta", "$(touch evil)", "two words"])

    def fish(self, line: str) -> list[str]:
        out = self.shell("fish", f"source completion.fish; complete -C '{line}'")
        return [each.partition("\t")[0] for each in out.splitlines()]

    def test_fish(self) -> None:
        """fish completes commands, options, values and peers."""
        self.environ["XDG_DATA_HOME"] = str(Path(self.home) / "fish")
        self.assertEqual(self.fish("ensemble st"), ["status"])
        self.assertEqual(self.fish("ensemble listen --chi hello-"), ["hello-proof"])
        self.assertEqual(self.fish("ensemble completion z"), ["zsh"])
        self.assertIn("--limits", self.fish("ensemble status --"))
        self.assertEqual(self.fish("ensemble send b"), ["beta"])
        self.assertEqual(self.fish("ensemble send --timeout 5 --wait b"), ["beta"])
        self.assertEqual(self.fish("ensemble send beta --timeout=5 "), [])
        self.assertEqual(self.fish("ensemble send --timeout 5 beta b"), [])
