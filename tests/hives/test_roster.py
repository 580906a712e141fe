"""Who of the local bees does what."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.hives import NestlingManifest, Roster, Tool
from ensemble.identity import HumdId, Role

HID = HumdId(b"\x11" * 32, Role.WORKER)


def worker(*models: str, **more: Any) -> NestlingManifest:
    return NestlingManifest("w", bee=("worker",), models=models, **more)


def forager(*tools: str, **more: Any) -> NestlingManifest:
    return NestlingManifest("f", bee=("forager",), tools=tuple(Tool(tool) for tool in tools), **more)


class RosterTests(SynchronousTestCase):
    """A fresh roster each time."""

    def setUp(self) -> None:
        self.roster = Roster()

    def test_workers_are_found_by_model(self) -> None:
        """A model leads to the workers that list it, the oldest first, and to nobody else."""
        self.roster.register("a", worker("m", "n"))
        self.roster.register("b", worker("m"))
        self.roster.register("c", NestlingManifest("no worker", models=("m",)))
        self.assertEqual(self.roster.workers("m"), ("a", "b"))
        self.assertEqual(self.roster.workers("n"), ("a",))
        self.assertEqual(self.roster.workers("o"), ())

    def test_a_second_hello_replaces_and_keeps_the_place(self) -> None:
        """What a bee said before is forgotten; it does not become the youngest by speaking again."""
        self.roster.register("a", worker("m"))
        self.roster.register("b", worker("m"))
        self.roster.register("a", worker("m", "n"))
        self.assertEqual(self.roster.workers("m"), ("a", "b"))
        self.roster.register("a", worker("n"))
        self.assertEqual(self.roster.workers("m"), ("b",))
        self.assertEqual(len(self.roster.snapshot()), 2)

    def test_the_same_hid_evicts(self) -> None:
        """Of two clients that claim one hid the newer counts."""
        self.roster.register("a", worker("m", hid=HID))
        self.roster.register("b", worker("m"))
        self.assertEqual(self.roster.register("c", worker("m", hid=HID)), ("a",))
        self.assertEqual(self.roster.workers("m"), ("b", "c"))
        self.assertIsNone(self.roster.get("a"))

    def test_a_bee_does_not_evict_itself(self) -> None:
        """A second hello with the same hid is no conflict."""
        self.roster.register("a", worker("m", hid=HID))
        self.assertEqual(self.roster.register("a", worker("m", hid=HID)), ())
        self.assertIsNotNone(self.roster.get("a"))

    def test_removal(self) -> None:
        """A client that left is found by nothing any more."""
        self.roster.register("a", forager("t", chis=("quote",), provides=("fs",)))
        self.assertEqual(self.roster.forager("t"), "a")
        self.roster.remove("a")
        self.assertIsNone(self.roster.get("a"))
        self.assertIsNone(self.roster.forager("t"))
        self.assertEqual(self.roster.listeners("quote"), ())
        self.assertEqual(self.roster.catalogue(), ())
        self.assertEqual(self.roster.provided(), ())

    def test_every_change_is_told_and_nothing_else(self) -> None:
        """Whoever writes the snapshot is called behind each change, and finds it there."""
        told: list[list[str]] = []
        self.roster.changed = lambda: told.append(list(self.roster.snapshot()))
        self.roster.register("a", worker("m"))
        self.roster.workers("m")
        self.roster.remove("nobody")
        self.assertEqual(told, [["a"]])
        self.roster.remove("a")
        self.assertEqual(told, [["a"], []])

    def test_foragers_are_found_by_tool(self) -> None:
        """A tool leads to the oldest forager that lists it; a worker's list of tools is not an offer."""
        self.roster.register("w", NestlingManifest("w", bee=("worker",), tools=(Tool("t"),)))
        self.roster.register("a", forager("t"))
        self.roster.register("b", forager("t", "u"))
        self.assertEqual(self.roster.forager("t"), "a")
        self.assertEqual(self.roster.forager("u"), "b")
        self.assertIsNone(self.roster.forager("v"))

    def test_the_catalogue(self) -> None:
        """Prompts show all tools of all foragers, each name once, with a schema that clients can read."""
        schema = {"type": "object", "properties": {"path": {"type": "string"}}}
        self.roster.register("a", NestlingManifest("a", bee=("forager",), tools=(Tool("t", "of a", schema),)))
        self.roster.register("b", NestlingManifest("b", bee=("forager",), tools=(Tool("t", "of b"), Tool("u"))))
        self.assertEqual(
            self.roster.catalogue(),
            (
                {"name": "t", "description": "of a", "inputSchema": schema},
                {"name": "u", "description": "", "inputSchema": {"type": "object", "properties": {}}},
            ),
        )

    def test_what_foragers_provide(self) -> None:
        """The union, sorted, of what foragers provide; workers do not count."""
        self.roster.register("a", forager(provides=("net", "fs")))
        self.roster.register("b", forager(provides=("fs", "clock")))
        self.roster.register("c", worker("m", provides=("soul",)))
        self.assertEqual(self.roster.provided(), ("clock", "fs", "net"))

    def test_listeners(self) -> None:
        """A chi leads to every bee that lists it, whatever its role."""
        self.roster.register("a", NestlingManifest("a", chis=("quote",)))
        self.roster.register("b", worker("m", chis=("quote", "drone")))
        self.assertEqual(self.roster.listeners("quote"), ("a", "b"))
        self.assertEqual(self.roster.listeners("drone"), ("b",))
        self.assertEqual(self.roster.listeners("prompt"), ())

    def test_a_bee_without_a_catalogue(self) -> None:
        """The oldest bee that lists the chi and no tools is found, except the one that asks."""
        self.roster.register("a", forager("t", chis=("tool-call",)))
        self.roster.register("b", NestlingManifest("b", chis=("tool-call",)))
        self.roster.register("c", NestlingManifest("c", chis=("tool-call",)))
        self.assertEqual(self.roster.without_catalogue("tool-call"), "b")
        self.assertEqual(self.roster.without_catalogue("tool-call", but="b"), "c")
        self.assertIsNone(self.roster.without_catalogue("quote"))

    def test_snapshot(self) -> None:
        """The content of bees.json: client id to manifest, and no part of the roster itself."""
        self.roster.register("a", worker("m"))
        snapshot = self.roster.snapshot()
        self.assertEqual(
            snapshot,
            {
                "a": {
                    "name": "w",
                    "version": "0.0.0",
                    "proto_version": "0.7.0",
                    "propensity": {},
                    "chis": [],
                    "bee": ["worker"],
                    "models": ["m"],
                }
            },
        )
        snapshot["a"]["models"].append("n")
        self.assertEqual(self.roster.workers("n"), ())
        self.assertEqual(self.roster.snapshot()["a"]["models"], ["m"])
