"""The tour of the documentation, run as it stands."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path
from types import CodeType
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from ensemble.identity import HumdAddr, HumdKey, save
from ensemble.mesh import Dialler, Ensemble, KnownPeer, Policy
from ensemble.protocols import Level
from ensemble.testing import House, World

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

    async def test_application_snippet(self) -> None:
        """Two humds as the page makes them are linked over TLS by their diallers, and part when they stop."""
        space: dict[str, Any] = {"Ensemble": Ensemble, "reactor": reactor}
        for snippet in snippets():
            if "def humd(" in snippet:
                exec(compiled(snippet), space)
        keys = HumdKey.generate(), HumdKey.generate()
        humds: list[tuple[MultiService, Any]] = []
        hints: tuple[str, ...] = ()
        for mine, theirs in zip(keys, reversed(keys), strict=True):
            file = self.mktemp()
            save(file, mine)
            known = [KnownPeer(peer=theirs.humd_id(), hints=hints)]
            application = MultiService()
            services = space["humd"](reactor, file, "tcp:0:interface=127.0.0.1", known)
            for service in services:
                service.setServiceParent(application)
            application.privilegedStartService()
            application.startService()
            hints = (f"tls:127.0.0.1:{services[0]._waitingForPort.result.getHost().port}",)
            humds.append((application, services[1]))
        (_, first), (_, second) = humds
        up: Deferred[object] = Deferred()
        first.watch(lambda peer, linked: None if up.called else up.callback(peer))
        self.assertEqual(await up, second.me)
        link = first.link_to(second.me)
        self.assertEqual((link.wire.kind, link.shaken.level), ("tls", Level.PROVEN))
        for application, _ in humds:
            await application.stopService()
        self.assertEqual(first.peers(), [])

    def test_reload_snippet(self) -> None:
        """Rows that are gone from the file are told goodbye; one that cannot be read changes nothing."""
        space: dict[str, Any] = {"KnownPeer": KnownPeer, "Policy": Policy, "Level": Level}
        for snippet in snippets():
            if "def reload(" in snippet:
                exec(compiled(snippet), space)
        world = World()
        one, other = world.humd(), world.humd()
        dialler = Dialler(one, {}, world.clock, world.random.random)
        file = Path(self.mktemp())
        for text, linked in (
            (f'{{"peers": [{{"humd_id": "{other.me.full}"}}]}}', [other.me]),
            ("{", [other.me]),
            ('{"peers": []}', []),
        ):
            file.write_text(text)
            space["reload"](file, one, dialler)
            if text != "{" and linked:
                world.link(one, other)
            world.settle()
            self.assertEqual(one.peers(), linked)

    def test_timeout_snippet(self) -> None:
        """An answer that does not come in time is given up, and its worker told."""
        space: dict[str, Any] = {}
        for snippet in snippets():
            if "async def ask_in_time" in snippet:
                exec(compiled(snippet), space)
        world = World()
        house = House(world)
        worker = house.join("worker", bee=["worker"], models=["echo"])
        heard: list[str] = []
        worker.on_tone = lambda envelope, line: heard.append(f"{envelope.chi} {envelope.sid}")
        asked = Deferred.fromCoroutine(space["ask_in_time"](world.clock, house.join("asker"), "hello", 3.0))
        world.advance(2.9)
        self.assertFalse(asked.called)
        world.advance(0.2)
        self.assertIsNone(asked.result)
        prompt, cancel = heard[-2:]
        self.assertEqual(cancel, prompt.replace("prompt", "cancel"))
        self.assertTrue(prompt.startswith("prompt hum-"))

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
