"""
The local bees, and which of them does what.

A bee is a client that said hello with a name.  Its age is that of its first hello on the connection: a later hello
replaces the manifest and keeps the place.  The indexes are rebuilt when they are next needed after a change, which is
rarer than a question by far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ensemble.hives.manifest import NestlingManifest

NO_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}  # clients break on null


class Roster:
    """
    Who of the local clients is a bee.

    :ivar changed: called behind each change, where somebody wants to know.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], None] | None = None
        self._bees: dict[str, NestlingManifest] = {}  # oldest first
        self._indexed = True
        self._workers: dict[str, tuple[str, ...]] = {}
        self._foragers: dict[str, str] = {}
        self._listeners: dict[str, tuple[str, ...]] = {}
        self._catalogue: tuple[Mapping[str, Any], ...] = ()
        self._provided: tuple[str, ...] = ()

    # who is there

    def register(self, client_id: str, manifest: NestlingManifest) -> tuple[str, ...]:
        """
        Enter a bee, or replace what it said before.

        :returns: the clients whose entries went because they claimed the same ``hid``: the newest wins.
        """
        evicted: tuple[str, ...] = ()
        if manifest.hid is not None:
            evicted = tuple(
                other for other, bee in self._bees.items() if other != client_id and bee.hid == manifest.hid
            )
            for other in evicted:
                del self._bees[other]
        self._bees[client_id] = manifest
        self._tell_change()
        return evicted

    def remove(self, client_id: str) -> None:
        """The client is gone."""
        if self._bees.pop(client_id, None) is not None:
            self._tell_change()

    def get(self, client_id: str) -> NestlingManifest | None:
        """What a client said of itself; None where it is no bee."""
        return self._bees.get(client_id)

    def snapshot(self) -> dict[str, Any]:
        """The content of ``bees.json`` (mesh 9.5): client id to manifest, a fresh object."""
        return {client_id: bee.to_json() for client_id, bee in self._bees.items()}

    # who does what; all answers are oldest first

    def workers(self, model: str) -> tuple[str, ...]:
        """The workers that list ``model``."""
        self._index()
        return self._workers.get(model, ())

    def forager(self, tool: str) -> str | None:
        """The oldest forager that lists ``tool``."""
        self._index()
        return self._foragers.get(tool)

    def listeners(self, chi: str) -> tuple[str, ...]:
        """The bees, of any role, whose hello lists ``chi``."""
        self._index()
        return self._listeners.get(chi, ())

    def without_catalogue(self, chi: str, but: object = None) -> str | None:
        """
        The oldest bee that lists ``chi`` and no tools: a market maker that sells what it is asked for.

        :param but: a client that does not count.
        """
        for client_id in self.listeners(chi):
            if client_id != but and not self._bees[client_id].tools:
                return client_id
        return None

    def catalogue(self) -> tuple[Mapping[str, Any], ...]:
        """
        All tools of all foragers as a prompt shows them (mesh 9.7), each name once: it means the oldest's.

        A tool without a schema gets the empty object schema.
        """
        self._index()
        return self._catalogue

    def provided(self) -> tuple[str, ...]:
        """What the foragers provide, sorted."""
        self._index()
        return self._provided

    def _tell_change(self) -> None:
        self._indexed = False
        if self.changed is not None:
            self.changed()

    def _index(self) -> None:
        if self._indexed:
            return
        workers: dict[str, list[str]] = {}
        listeners: dict[str, list[str]] = {}
        foragers: dict[str, str] = {}
        catalogue: list[Mapping[str, Any]] = []
        provided: set[str] = set()
        for client_id, bee in self._bees.items():
            for chi in bee.chis:
                listeners.setdefault(chi, []).append(client_id)
            if bee.is_worker:
                for model in bee.models:
                    workers.setdefault(model, []).append(client_id)
            if bee.is_forager:
                provided.update(bee.provides)
                for tool in bee.tools:
                    if tool.name not in foragers:
                        foragers[tool.name] = client_id
                        schema = NO_SCHEMA if tool.input_schema is None else tool.input_schema
                        catalogue.append(tool.to_json() | {"inputSchema": schema})
        self._workers = {model: tuple(found) for model, found in workers.items()}
        self._listeners = {chi: tuple(found) for chi, found in listeners.items()}
        self._foragers, self._catalogue, self._provided = foragers, tuple(catalogue), tuple(sorted(provided))
        self._indexed = True
