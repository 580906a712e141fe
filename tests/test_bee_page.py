"""The bee of the documentation, run as it stands."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bee.rst"
SECONDS = 20  # until it has started, on a busy machine


class BeePageTests(SynchronousTestCase):
    def test_answers(self) -> None:
        """The bee of the page answers what a humd passes on, a call without a callId too, and says hello again."""
        (block,) = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text())
        listening = self.enterContext(socket.socket(socket.AF_UNIX))
        where = self.mktemp()
        os.makedirs(os.path.dirname(where), exist_ok=True)
        path = os.path.relpath(where)  # a Unix socket's name is short
        listening.bind(path)
        listening.listen()
        listening.settimeout(SECONDS)
        bee = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(block)], env={**os.environ, "HUM_THRUM_SOCK": path}
        )
        self.addCleanup(bee.wait)
        self.addCleanup(bee.kill)
        wire, _ = listening.accept()
        wire.settimeout(SECONDS)
        lines = wire.makefile("rwb")
        hello = json.loads(lines.readline())
        self.assertEqual((hello["bee"], hello["models"]), (["worker", "forager"], ["shout"]))
        for call in ({"callId": "c"}, {"rid": "r"}, {"callId": "c", "rid": "r"}):
            for args, failed in (
                ({"numbers": [1, 2]}, False),
                ({}, True),
                ("no object", True),
                ({"numbers": "x"}, True),
            ):
                lines.write(json.dumps({"chi": "tool-call", "toolName": "add", "args": args, **call}).encode() + b"\n")
                lines.flush()
                result = json.loads(lines.readline())
                self.assertEqual({key: result.get(key) for key in ("callId", "rid") if key in result}, call)
                self.assertEqual((result["chi"], result["isError"]), ("tool-result", failed))
        lines.write(b'{"chi":"prompt","sid":"s","content":"hm?"}\n')
        lines.flush()
        said = [json.loads(lines.readline()) for _ in range(2)]
        self.assertEqual([(tone["chi"], tone["sid"]) for tone in said], [("chunk", "s"), ("finish", "s")])
        self.assertEqual(said[0]["delta"], "HM?")
        lines.close()
        wire.close()
        again, _ = listening.accept()
        again.settimeout(SECONDS)
        with again, again.makefile("rb") as hellos:
            self.assertEqual(json.loads(hellos.readline()), hello)
