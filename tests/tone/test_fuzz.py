"""The fuzz target runs, and would notice."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import Envelope
from fuzz import fuzz_codec

SCRIPT = Path(fuzz_codec.__file__)


class FuzzTests(SynchronousTestCase):
    """``fuzz/fuzz_codec.py`` without atheris."""

    def test_promises_hold(self) -> None:
        """A few thousand broken lines break no promise, and some of them are tones."""
        self.assertGreater(fuzz_codec.run(3000, 7), 300)

    def test_seeds_are_tones(self) -> None:
        """Every seed is a tone: mutation starts from what is accepted."""
        self.assertTrue(all(fuzz_codec.outcome(seed) is not None for seed in fuzz_codec.SEEDS))

    def test_same_seed_same_lines(self) -> None:
        """A failure can be repeated from its seed."""
        lines = [[fuzz_codec.mutated(chance) for _ in range(50)] for chance in (random.Random(3), random.Random(3))]
        self.assertEqual(lines[0], lines[1])

    def test_it_would_notice(self) -> None:
        """A reader that takes what the others refuse breaks the run."""
        with mock.patch.object(fuzz_codec, "peek", lambda line: Envelope(chi="x")):
            self.assertRaises(AssertionError, fuzz_codec.run, 2000, 7)

    def test_runs_from_the_command_line(self) -> None:
        """It runs as a script, from any folder, and says what it did."""
        command = [sys.executable, str(SCRIPT), "--runs", "200", "--seed", "1"]
        said = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=True).stdout
        self.assertIn("200 lines", said)
        self.assertIn("no promise broken (--seed 1)", said)
