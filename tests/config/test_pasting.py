"""Commands in texts, with the options that they need."""

from __future__ import annotations

import shlex

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import pasteable

PLACE = {"--state-dir": "/a b/$c"}
WORDS = "--state-dir '/a b/$c'"


class PastingTests(SynchronousTestCase):
    """`pasteable`."""

    def test_commands(self) -> None:
        """Every command in backticks gets what it does not have, behind its verb; others are let alone."""
        for text, wanted in (
            ("run `ensemble trust humd_1 tls:h:1`.", f"run `ensemble trust {WORDS} humd_1 tls:h:1`."),
            ("`ensemble id`", f"`ensemble id {WORDS}`"),
            ("`twistd humd`", f"`twistd humd {WORDS}`"),
            (
                "`ensemble untrust a && ensemble trust b --alias 'x y'`",
                f"`ensemble untrust {WORDS} a && ensemble trust {WORDS} b --alias 'x y'`",
            ),
            ("`ensemble id` and `ensemble peers`", f"`ensemble id {WORDS}` and `ensemble peers {WORDS}`"),
        ):
            self.assertEqual(pasteable(text, PLACE), wanted)
            self.assertEqual(pasteable(wanted, PLACE), wanted, "once is enough")
            self.assertEqual(pasteable(text, {}), text)
        for text in ("over there: ensemble trust a", "`twistd humd --limit help`", "`umount x`", "`ensemble`", "`"):
            self.assertEqual(pasteable(text, PLACE), text)

    def test_several(self) -> None:
        """Of several options those that are there stay as they are."""
        line = pasteable("`ensemble id --peers /p`", {**PLACE, "--peers": "/other"})
        self.assertEqual(shlex.split(line.strip("`")), ["ensemble", "id", *shlex.split(WORDS), "--peers", "/p"])
