"""What the manual page and the documentation promise is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ensemble.command import outcome
from ensemble.command.completion import Command, commands_of, options_of
from ensemble.command.parser import build
from ensemble.daemon.tap import Options

ROOT = Path(__file__).resolve().parent.parent.parent
MANUAL = (ROOT / "docs/man/ensemble.1").read_text().replace("\\-", "-")
DAEMON = (ROOT / "docs/man/humd.1").read_text().replace("\\-", "-")
GUIDE = (ROOT / "docs/command.rst").read_text()
COMMANDS = MANUAL[MANUAL.index("\n.SH COMMANDS\n") :]
SOURCES = "".join(path.read_text() for path in sorted((ROOT / "ensemble/command").glob("*.py")))
SHARED = {"--key", "--state-dir", "--thrum", "--peers", "--json", "--help"}


def entry(command: Command) -> str:
    """What the manual says of a command."""
    found = re.search(rf"^\.TP\n\\fB{command.name}\\fR(.*?)^\.", COMMANDS, re.DOTALL | re.MULTILINE)
    return found[1] if found is not None else ""


class ManualTests(SynchronousTestCase):
    """Neither more nor less than there is."""

    def test_every_option(self) -> None:
        """The manual has, of each command, exactly the options that it has."""
        for command in commands_of(build()):
            names = {name for option in command.options for name in option.names if name.startswith("--")}
            self.assertEqual(set(re.findall(r"\\fB(--[a-z-]+)\\fR", entry(command).split("\n")[0])), names - SHARED)
            self.assertLessEqual(SHARED, names)
        self.assertEqual(SHARED, set(re.findall(r"^\.TP\n(?:\\fB-h\\fR, )?\\fB(--[a-z-]+)\\fR", MANUAL, re.MULTILINE)))
        for option in options_of(build()):
            self.assertIn(rf"\fB{option.names[-1]}\fR", MANUAL)

    def test_every_option_of_the_daemon(self) -> None:
        """Its own manual has exactly the options that ``twistd humd`` takes."""
        self.assertEqual(
            sorted(re.findall(r"\\fB--([a-z-]+)\\fR", "\n".join(re.findall(r"^\.TP\n(.*)$", DAEMON, re.MULTILINE)))),
            sorted(name.rstrip("=") for name in Options().longOpt),
        )

    def test_every_status(self) -> None:
        """Manual and guide have exactly the statuses that there are."""
        there = {str(value) for name, value in vars(outcome).items() if name.isupper()}
        self.assertEqual(set(re.findall(r"^(\d+)$", MANUAL, re.MULTILINE)), there)
        self.assertEqual(set(re.findall(r"^(\d+) {4,}", GUIDE, re.MULTILINE)), there)

    def test_every_command_has_an_example(self) -> None:
        """The guide shows each command at work."""
        for command in commands_of(build()):
            self.assertRegex(GUIDE, rf"(?m)^   \$ .*ensemble {command.name}\b")

    def test_every_qualifier(self) -> None:
        """The guide has exactly the qualifiers that the command itself gives."""
        given = set(re.findall(r'"((?:command|config|daemon|peer|send|trust|init|rotate)\.[a-z-]+)"', SOURCES))
        self.assertEqual(set(re.findall(r"^``([a-z]+\.[a-z-]+)``", GUIDE, re.MULTILINE)), given)
