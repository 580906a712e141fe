"""Every counter has a name that is explained, and every name that is explained is counted somewhere."""

from __future__ import annotations

import ast
import re

from twisted.trial.unittest import SynchronousTestCase

from ensemble.daemon.counters import COUNTERS, PREFIX
from ensemble.protocols.admission import REFUSALS
from ensemble.tone import Qualifier
from tests.daemon.memory import HumdTestCase
from tests.test_architecture import relative, sources

ROOMS = ("conversations", "daemon", "mesh", "protocols", "thrum")
DOTTED = re.compile(r"[a-z_-]+(?:\.[a-z_-]+)+\.?")
FILES = re.compile(r".*\.(?:json|lock|log|sqlite)")
NO_COUNTERS = {
    "config.bad": "a qualifier of the control socket",
    "state.unwritten": "a qualifier of the control socket",
    "dial.superseded": "a dial that was not needed is no refusal",
    "twisted.internet": "a package",
}


class CounterTests(SynchronousTestCase):
    """The table of the documentation, against the source."""

    def written(self) -> set[str]:
        """Every name in the source that looks like that of a counter, and is nothing else."""
        found = set()
        for path in sources(*(f"ensemble/{room}" for room in ROOMS)):
            if relative(path) in ("ensemble/daemon/counters.py", "ensemble/conversations/outputs.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
                    found.add(node.value)
        return {name for name in found if not FILES.fullmatch(name)}

    def test_all_are_explained(self) -> None:
        """A name that is counted is in the table, and a name in the table is counted."""
        kinds = {f"handshake.{kind}" for kind in REFUSALS}
        counted = (self.written() - set(NO_COUNTERS) - {PREFIX}) | kinds
        self.assertEqual(counted, set(COUNTERS) - {f"{PREFIX}*"})
        self.assertLessEqual(set(NO_COUNTERS) | {PREFIX}, self.written())

    def test_each_says_something(self) -> None:
        """An explanation is one line without a full stop."""
        for name, meaning in COUNTERS.items():
            self.assertTrue(meaning and "\n" not in meaning and not meaning.endswith("."), name)


class StatusTests(HumdTestCase):
    """The counters of a whole humd."""

    def test_nothing_else(self) -> None:
        """What the status shows has a name of the table."""
        humd = self.humd(self.settings(admit_any=True))
        humd.ensemble.counters[f"{PREFIX}{Qualifier.FROM_FORGED.value}"] += 1
        unknown = {name for name in humd.counters() if name not in COUNTERS and not name.startswith(PREFIX)}
        self.assertEqual(unknown, set())
