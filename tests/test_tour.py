"""The tour of the documentation, run as it stands."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path
from types import CodeType
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ensemble.identity import HumdAddr, HumdKey
from ensemble.mesh import Ensemble

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tour.rst"


def snippets() -> list[str]:
    """The Python blocks of the page, in order."""
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text())
    return [textwrap.dedent(block) for block in blocks]


def compiled(source: str) -> CodeType:
    """Code that may await at its top level."""
    code: CodeType = compile(source, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


class TourTests(TestCase):
    """Every snippet of ``docs/tour.rst``."""

    async def test_snippets_run(self) -> None:
        """All the snippets run in one namespace, and their assertions hold."""
        space: dict[str, Any] = {}
        found = snippets()
        self.assertGreaterEqual(len(found), 8)
        for snippet in found:
            outcome = eval(compiled(snippet), space)
            if inspect.iscoroutine(outcome):
                await outcome
        space["application"].stopService()

    async def test_tcp_snippet(self) -> None:
        """The snippet for real TCP links two ensembles over loopback."""
        space: dict[str, Any] = {}
        for snippet in snippets():
            if "async def over_tcp" in snippet:
                exec(compiled(snippet), space)
        space["HumdAddr"] = HumdAddr
        for name in ("listening", "dialling"):
            key = HumdKey.generate()
            space[name] = Ensemble(key.humd_id(), clock=reactor, key=key)
        port = await Deferred.fromCoroutine(space["over_tcp"](reactor))
        self.assertEqual(space["dialling"].peers(), [space["listening"].me])
        await space["dialling"].stopService()
        await space["listening"].stopService()
        await port.stopListening()
