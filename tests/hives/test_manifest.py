"""What a bee's hello gives, and what it costs to get a field wrong."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.hives import (
    MAX_CATALOGUE,
    MAX_CHIS,
    MAX_MODELS,
    MAX_ROLES,
    MAX_TEXT,
    MAX_TOOLS,
    Bind,
    NestlingManifest,
    ReadHello,
    Tool,
    read_hello,
)
from ensemble.identity import HumdId, Role

HID = HumdId(b"\x11" * 32, Role.FORAGER)


def read(**hello: Any) -> ReadHello:
    return read_hello({"chi": "hello", **hello}, "client", 1700000000000)


def manifest(**hello: Any) -> NestlingManifest:
    found = read(**({"hive": "demo"} | hello)).manifest
    assert found is not None
    return found


class HelloTests(SynchronousTestCase):
    """Mesh 9.4."""

    def test_everything(self) -> None:
        """Every field of a full hello is in the manifest, under the name that mesh 7.4 gives it."""
        hello = {
            "hive": "humfs",
            "from": "somebody",
            "bee": ["forager"],
            "version": "0.1.0",
            "protoVersion": "0.6.0",
            "propensity": {"statefulness": "stateless", "richness": "lean", "wire": "ndjson", "mood": "good"},
            "chis": ["hello", "tool-call"],
            "source": "https://example.org/humfs",
            "bind": {"host": "127.0.0.1", "port": 8080, "scheme": "http"},
            "nestlerId": "n-1",
            "hid": HID.full,
            "models": ["m"],
            "tools": [{"name": "humfs_read", "description": "reads", "inputSchema": {"type": "object"}}],
            "provides": ["fs"],
        }
        self.assertEqual(
            manifest(**hello).to_json(),
            {
                "name": "humfs",
                "version": "0.1.0",
                "proto_version": "0.6.0",
                "propensity": {"statefulness": "stateless", "richness": "lean", "wire": "ndjson"},
                "chis": ["hello", "tool-call"],
                "source": "https://example.org/humfs",
                "bind": {"host": "127.0.0.1", "port": 8080, "scheme": "http"},
                "nestlerId": "n-1",
                "bee": ["forager"],
                "hid": HID.full,
                "models": ["m"],
                "tools": [{"name": "humfs_read", "description": "reads", "inputSchema": {"type": "object"}}],
                "provides": ["fs"],
            },
        )

    def test_almost_nothing(self) -> None:
        """A hello with no more than a name gets the defaults, and leaves out what is empty."""
        self.assertEqual(
            manifest().to_json(),
            {
                "name": "demo",
                "version": "0.0.0",
                "proto_version": "0.7.0",
                "propensity": {},
                "chis": [],
                "nestlerId": "client-1700000000000",
            },
        )

    def test_name(self) -> None:
        """The hive names the bee, else ``from`` does; with neither there is no manifest."""
        self.assertEqual(manifest(**{"hive": "h", "from": "f"}).name, "h")
        self.assertEqual(manifest(**{"hive": None, "from": "f"}).name, "f")
        self.assertEqual(manifest(**{"hive": "", "from": "f"}).name, "f")
        nameless = "the hello names no bee: put its kind into `hive`; it is not registered"
        self.assertEqual(read(), ReadHello(None, (nameless,)))
        self.assertEqual(read(hive=7), ReadHello(None, ("hive is not a string", nameless)))

    def test_proto_version_is_the_bees_own(self) -> None:
        """A manifest says what the bee speaks, not what we speak."""
        self.assertEqual(manifest(protoVersion="0.8.0").proto_version, "0.8.0")
        self.assertEqual(manifest(protoVersion="0.3.0").proto_version, "0.3.0")

    def test_another_proto_version_is_told(self) -> None:
        """The log learns of one that we do not speak; such a bee is registered like any other."""
        told = "its protoVersion is '0.3.0': this humd speaks 0.7.0 and 0.8.0, so it may miss something"
        self.assertEqual(read(hive="h", protoVersion="0.3.0").problems, (told,))
        for spoken in (None, "0.7.0", "0.8.0"):
            self.assertEqual(read(hive="h", protoVersion=spoken).problems, (), spoken)
        self.assertLess(len(read(hive="h", protoVersion="9" * 1000).problems[0]), 200)

    def test_roles(self) -> None:
        """The role may be a list, or from old bees one string; what is no string is no role."""
        self.assertEqual(manifest(bee=["worker", 5, "forager"]).bee, ("worker", "forager"))
        self.assertEqual(manifest(bee="worker").bee, ("worker",))
        self.assertEqual(manifest(bee={"worker": True}).bee, ())
        self.assertTrue(manifest(bee="worker").is_worker)
        self.assertFalse(manifest(bee="worker").is_forager)
        self.assertTrue(manifest(bee=["forager"]).is_forager)
        self.assertFalse(manifest(bee=["forager"]).is_worker)

    def test_unknown_roles_are_told(self) -> None:
        """A role that we do not know is kept, and the log learns of it and of the roles that there are."""
        told = "bee has 2 unknown (first: 'wroker'): the roles are worker, forager"
        self.assertEqual(read(hive="h", bee=["wroker", "worker", 5]).problems, (told,))
        self.assertLess(len(read(hive="h", bee="x" * 5000).problems[0]), 200)
        self.assertEqual(read(hive="h", bee={}).problems, ("bee is not an array of roles",))
        self.assertEqual(read(hive="h", bee=["worker", "forager"]).problems, ())
        self.assertEqual(read(hive="h", bee=[["worker"]]).problems[0][:17], "bee has 1 unknown")

    def test_lists(self) -> None:
        """In lists of strings other members are passed over, and repeats count once."""
        self.assertEqual(manifest(models=["a", 1, None, "b", "a", ""]).models, ("a", "b"))
        self.assertEqual(manifest(provides="fs").provides, ())
        self.assertEqual(read(hive="h", provides="fs").problems, ("provides is not an array",))

    def test_propensity(self) -> None:
        """A propensity with a wrong type in it is none at all."""
        self.assertEqual(manifest(propensity={"wire": "x", "richness": 3}).propensity, {})
        self.assertEqual(manifest(propensity=["wire"]).propensity, {})
        self.assertEqual(manifest(propensity={"wire": None, "richness": "rich"}).propensity, {"richness": "rich"})

    def test_bind(self) -> None:
        """An address is whole or not there."""
        self.assertEqual(manifest(bind={"host": "h", "port": 0}).bind, Bind("h", 0))
        self.assertEqual(manifest(bind={"host": "h", "port": 1}).to_json()["bind"], {"host": "h", "port": 1})
        bad: list[Any] = [
            "h:1",
            {"host": "h"},
            {"host": 1, "port": 1},
            {"host": "h", "port": 65536},
            {"host": "h", "port": -1},
            {"host": "h", "port": True},
            {"host": "h", "port": 1.0},
            {"host": "h", "port": 1, "scheme": 1},
        ]
        for value in bad:
            result = read(hive="h", bind=value)
            assert result.manifest is not None
            self.assertIsNone(result.manifest.bind, value)
            self.assertEqual(result.problems, ("bind is not {host, port, scheme?}",))

    def test_hid(self) -> None:
        """A hid that cannot be read is left out and named; the bee is registered without."""
        result = read(hive="h", hid="fbee_12")
        assert result.manifest is not None
        self.assertIsNone(result.manifest.hid)
        self.assertEqual(len(result.problems), 1)
        self.assertTrue(result.problems[0].startswith("hid: "), result.problems)
        self.assertEqual(manifest(hid=HID.full.upper().replace("FBEE", "fbee")).hid, HID)

    def test_tools(self) -> None:
        """A tool needs a name; the rest has defaults, and of two with one name the first counts."""
        tools: list[Any] = [
            {"name": "a"},
            {"name": "b", "description": 5, "inputSchema": {"x": 1}},
            {"name": "a", "description": "again"},
            {"description": "nameless"},
            {"name": ""},
            "c",
        ]
        self.assertEqual(manifest(tools=tools).tools, (Tool("a"), Tool("b", "", {"x": 1})))
        self.assertEqual(manifest(tools={"name": "a"}).tools, ())

    def test_unusable_tools_are_told(self) -> None:
        """Tools that are no objects with a name are counted for the log, in one line."""
        for tools in (["c", {}, {"name": "a"}], [{"name": 1}, {"name": ""}, {"name": "a"}]):
            result = read(hive="h", tools=tools)
            told = "2 of 3 tools are left out: each must be an object with a name of 1 to 1024 characters"
            self.assertEqual(result.problems, (told,))
        self.assertEqual(read(hive="h", tools={"name": "a"}).problems, ("tools is not an array",))
        self.assertEqual(read(hive="h", tools=[{"name": "a"}, {"name": "a"}]).problems, ())


class CeilingTests(SynchronousTestCase):
    """A bee cannot make us keep more than so much."""

    def test_lists_are_cut(self) -> None:
        """Models, chis and roles beyond their ceiling are left out, and the log learns of it."""
        many = [str(n) for n in range(5000)]
        result = read(hive="h", models=many, chis=many, bee=many)
        assert result.manifest is not None
        self.assertEqual(result.manifest.models, tuple(many[:MAX_MODELS]))
        self.assertEqual(result.manifest.chis, tuple(many[:MAX_CHIS]))
        self.assertEqual(result.manifest.bee, tuple(many[:MAX_ROLES]))
        self.assertEqual(len(result.problems), 4)  # and that they are no roles

    def test_tools_are_cut_by_number(self) -> None:
        """The first 1,024 tools count."""
        result = read(hive="h", tools=[{"name": str(n)} for n in range(MAX_TOOLS + 1)])
        assert result.manifest is not None
        self.assertEqual(len(result.manifest.tools), MAX_TOOLS)
        self.assertIn(f"only the first {MAX_TOOLS} are listed", result.problems[0])

    def test_tools_are_cut_by_size(self) -> None:
        """Tools that together are larger than a mebibyte are cut where they pass it."""
        tools = [{"name": str(n), "description": "x" * (MAX_CATALOGUE // 4)} for n in range(5)]
        result = read(hive="h", tools=tools)
        assert result.manifest is not None
        self.assertEqual([tool.name for tool in result.manifest.tools], ["0", "1", "2"])
        self.assertIn("only the first 3 are listed", result.problems[0])

    def test_long_texts_are_left_out(self) -> None:
        """A text that is too long counts as absent."""
        long = "x" * (MAX_TEXT + 1)
        result = read(hive="h", version=long, models=[long], tools=[{"name": long}], propensity={"wire": long})
        assert result.manifest is not None
        self.assertEqual(result.manifest.version, "0.0.0")
        self.assertEqual(result.manifest.models, ())
        self.assertEqual(result.manifest.tools, ())
        self.assertEqual(result.manifest.propensity, {})
        self.assertIn("version has 1025 characters, at most 1024 are accepted", result.problems)
