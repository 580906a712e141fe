"""
What a bee says of itself: the manifest, read from its hello (mesh 9.4), written as mesh 7.4 has it.

A hello is a claim by a local program.  Nothing in it is proved, and what is wrong in it costs only the field that is
wrong: each such field is named in `ReadHello.problems`, for the log.  Lists beyond their ceiling are cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, frozen

from ensemble.identity import BadHumdId, HumdId, quoted
from ensemble.tone import THRUM_VERSION, encode

WORKER: Final = "worker"
FORAGER: Final = "forager"

DEFAULT_VERSION: Final = "0.0.0"
DEFAULT_PROTO_VERSION: Final = "0.7.0"  # a bee that does not say was written before it was asked

MAX_TEXT: Final = 1024  # characters of a name, a version, a model, a tool's name, ...
MAX_ROLES: Final = 16
MAX_MODELS: Final = 256
MAX_CHIS: Final = 256
MAX_PROVIDES: Final = 256
MAX_TOOLS: Final = 1024
MAX_CATALOGUE: Final = 1024 * 1024  # bytes of all tools of one bee as JSON: they travel with every prompt

_ROLES: Final = (WORKER, FORAGER)
_SHOWN: Final = 40  # characters of a role or a version that we do not know
_PROPENSITY: Final = ("statefulness", "richness", "wire")


@frozen
class Tool:
    """
    One tool of a forager.

    :ivar input_schema: a JSON schema, as the bee wrote it; None where it wrote none.
    """

    name: str
    description: str = ""
    input_schema: Any = None

    def to_json(self) -> dict[str, Any]:
        """The object of a manifest."""
        return {"name": self.name, "description": self.description, "inputSchema": self.input_schema}


@frozen
class Bind:
    """Where a bee says that it can be reached otherwise.  Never used by humd itself."""

    host: str
    port: int
    scheme: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The object of a manifest."""
        return {"host": self.host, "port": self.port, **({} if self.scheme is None else {"scheme": self.scheme})}


@frozen
class NestlingManifest:
    """
    One bee as others see it.

    :ivar name: the hive kind.
    :ivar proto_version: the bee's own, not ours.
    :ivar nestler_id: tells two instances of a kind apart.
    :ivar bee: the roles, ``worker`` and ``forager`` being the known ones.
    :ivar hid: who the bee says it is.
    """

    name: str
    version: str = DEFAULT_VERSION
    proto_version: str = DEFAULT_PROTO_VERSION
    propensity: Mapping[str, str] = Factory(dict)
    chis: tuple[str, ...] = ()
    source: str | None = None
    bind: Bind | None = None
    nestler_id: str | None = None
    bee: tuple[str, ...] = ()
    hid: HumdId | None = None
    models: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    provides: tuple[str, ...] = ()

    @property
    def is_worker(self) -> bool:
        """True where it answers prompts."""
        return WORKER in self.bee

    @property
    def is_forager(self) -> bool:
        """True where it answers tool calls by a catalogue."""
        return FORAGER in self.bee

    def to_json(self) -> dict[str, Any]:
        """The object of mesh 7.4: what is always there first, the rest only where there is something."""
        out: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "proto_version": self.proto_version,
            "propensity": dict(self.propensity),
            "chis": list(self.chis),
        }
        optional: dict[str, Any] = {
            "source": self.source,
            "bind": None if self.bind is None else self.bind.to_json(),
            "nestlerId": self.nestler_id,
            "bee": list(self.bee) or None,
            "hid": None if self.hid is None else self.hid.full,
            "models": list(self.models) or None,
            "tools": [tool.to_json() for tool in self.tools] or None,
            "provides": list(self.provides) or None,
        }
        return out | {key: value for key, value in optional.items() if value is not None}


@frozen
class ReadHello:
    """
    What a hello gave.

    :ivar manifest: None where the hello has neither ``hive`` nor ``from``: nothing is registered then.
    :ivar problems: what in it was left out, for people.
    """

    manifest: NestlingManifest | None
    problems: tuple[str, ...] = ()


def read_hello(hello: Mapping[str, Any], client_id: str, now_ms: int) -> ReadHello:
    """
    Read the manifest out of a bee's hello.  Never raises: what is wrong is left out, and named.

    :param hello: a decoded tone.
    :param client_id: of the connection it came over; for a bee that names no ``nestlerId``.
    :param now_ms: milliseconds since the epoch, for the same.
    """
    reader = _Reader(hello)
    name = reader.text("hive") or reader.text("from")
    if name is None:
        reader.problems.append("the hello names no bee: put its kind into `hive`; it is not registered")
        return ReadHello(None, tuple(reader.problems))
    manifest = NestlingManifest(
        name=name,
        version=reader.text("version") or DEFAULT_VERSION,
        proto_version=reader.proto_version(),
        propensity=reader.propensity(),
        chis=reader.texts("chis", MAX_CHIS),
        source=reader.text("source"),
        bind=reader.bind(),
        nestler_id=reader.text("nestlerId") or f"{client_id}-{now_ms}",
        bee=reader.roles(),
        hid=reader.hid(),
        models=reader.texts("models", MAX_MODELS),
        tools=reader.tools(),
        provides=reader.texts("provides", MAX_PROVIDES),
    )
    return ReadHello(manifest, tuple(reader.problems))


class _Reader:
    """Takes fields out of a hello and keeps a list of what it could not use."""

    def __init__(self, hello: Mapping[str, Any]) -> None:
        self._hello = hello
        self.problems: list[str] = []

    def text(self, key: str) -> str | None:
        """A string that is there, not empty and not too long."""
        value = self._hello.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            self.problems.append(f"{key} is not a string")
            return None
        if len(value) > MAX_TEXT:
            self.problems.append(f"{key} has {len(value)} characters, at most {MAX_TEXT} are accepted")
            return None
        return value

    def proto_version(self) -> str:
        """As the bee says it.  We speak two, and one more is told."""
        said = self.text("protoVersion") or DEFAULT_PROTO_VERSION
        if said not in (DEFAULT_PROTO_VERSION, THRUM_VERSION):
            spoken = f"{DEFAULT_PROTO_VERSION} and {THRUM_VERSION}"
            self.problems.append(
                f"its protoVersion is {quoted(said[:_SHOWN])}: this humd speaks {spoken}, so it may miss something"
            )
        return said

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        """The string members of an array, without repeats."""
        return self._some(key, self._array(self._hello.get(key), f"{key} is not an array"), most)

    def roles(self) -> tuple[str, ...]:
        """``bee``: an array, or from older bees one string."""
        value = self._hello.get("bee")
        roles = self._array([value] if isinstance(value, str) else value, "bee is not an array of roles")
        unknown = [role for role in roles if role not in _ROLES]
        if unknown:
            first = unknown[0]
            told = quoted(first[:_SHOWN]) if isinstance(first, str) else type(first).__name__
            self.problems.append(f"bee has {len(unknown)} unknown (first: {told}): the roles are {', '.join(_ROLES)}")
        return self._some("bee", roles, MAX_ROLES)

    def propensity(self) -> dict[str, str]:
        """Three optional strings; any other type in one of them voids all."""
        value = self._hello.get("propensity")
        if not isinstance(value, dict):
            return {}
        known = {key: value[key] for key in _PROPENSITY if value.get(key) is not None}
        if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in known.values()):
            self.problems.append("propensity is not made of short strings")
            return {}
        return known

    def bind(self) -> Bind | None:
        """An address; None where a part of it is wrong."""
        value = self._hello.get("bind")
        if value is None:
            return None
        if isinstance(value, dict):
            host, port, scheme = value.get("host"), value.get("port"), value.get("scheme")
            if (
                isinstance(host, str)
                and len(host) <= MAX_TEXT
                and type(port) is int
                and 0 <= port <= 65535
                and (scheme is None or (isinstance(scheme, str) and len(scheme) <= MAX_TEXT))
            ):
                return Bind(host, port, scheme)
        self.problems.append("bind is not {host, port, scheme?}")
        return None

    def hid(self) -> HumdId | None:
        """The id that the bee claims."""
        text = self.text("hid")
        if text is None:
            return None
        try:
            return HumdId.parse(text)
        except BadHumdId as error:
            self.problems.append(f"hid: {error}")
            return None

    def tools(self) -> tuple[Tool, ...]:
        """The catalogue, up to both of its ceilings, first come first kept; a name counts once."""
        listed = self._array(self._hello.get("tools"), "tools is not an array")
        tools: dict[str, Tool] = {}
        size = unusable = 0
        for entry in listed:
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT:
                unusable += 1
                continue
            if name in tools:
                continue
            description = entry.get("description")
            tool = Tool(name, description if isinstance(description, str) else "", entry.get("inputSchema"))
            size += len(encode(tool.to_json()))
            if len(tools) == MAX_TOOLS or size > MAX_CATALOGUE:
                self.problems.append(
                    f"of {len(listed)} tools only the first {len(tools)} are listed: "
                    f"at most {MAX_TOOLS}, and {MAX_CATALOGUE} bytes of JSON, are accepted"
                )
                break
            tools[name] = tool
        if unusable:
            self.problems.append(
                f"{unusable} of {len(listed)} tools are left out: "
                f"each must be an object with a name of 1 to {MAX_TEXT} characters"
            )
        return tuple(tools.values())

    def _array(self, value: object, problem: str) -> list[Any]:
        """The array, or an empty one where it is none."""
        if isinstance(value, list):
            return value
        if value is not None:
            self.problems.append(problem)
        return []

    def _some(self, key: str, members: list[Any], most: int) -> tuple[str, ...]:
        kept = tuple(dict.fromkeys(m for m in members if isinstance(m, str) and 0 < len(m) <= MAX_TEXT))
        if len(kept) > most:
            self.problems.append(f"{key} lists {len(kept)}, only the first {most} are accepted")
        return kept[:most]
