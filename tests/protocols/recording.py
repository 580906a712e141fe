"""A sink that writes down what it is told: the one fake of `IWireSink` that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ensemble.errors import RemoteWireError
from ensemble.interfaces import IWireSink


@implementer(IWireSink)
class RecordingSink:
    """
    What happened on a wire, in order.

    :ivar events: the names of what was told, as in `IWireSink`, without their arguments.
    :ivar batches: the argument of each ``lines_received``.
    :ivar clean: what ``wire_lost`` said of the end.
    :ivar on_lines: called with each batch, after it was written down.
    """

    def __init__(self, on_lines: Callable[[list[bytes]], None] | None = None) -> None:
        self.events: list[str] = []
        self.batches: list[list[bytes]] = []
        self.errors: list[RemoteWireError] = []
        self.reasons: list[str] = []
        self.clean: bool | None = None
        self.on_lines = on_lines
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @property
    def lines(self) -> list[bytes]:
        return [line for batch in self.batches for line in batch]

    def until(self, holds: Callable[[], bool]) -> Deferred[None]:
        """Fires once ``holds()`` is true after something was told, or now where it is."""
        reached: Deferred[None] = Deferred()
        self._waiting.append((holds, reached))
        self._look()
        return reached

    def count(self, lines: int) -> Deferred[None]:
        """Fires once so many lines have come."""
        return self.until(lambda: len(self.lines) >= lines)

    def told(self, event: str) -> Deferred[None]:
        """Fires once ``event`` was told."""
        return self.until(lambda: event in self.events)

    def lines_received(self, lines: list[bytes]) -> None:
        self.batches.append(lines)
        self.events.append("lines_received")
        if self.on_lines is not None:
            self.on_lines(lines)
        self._look()

    def bytes_trickled(self) -> None:
        self.events.append("bytes_trickled")
        self._look()

    def line_refused(self, error: RemoteWireError) -> None:
        self.errors.append(error)
        self.events.append("line_refused")
        self._look()

    def wire_full(self) -> None:
        self.events.append("wire_full")
        self._look()

    def wire_drained(self) -> None:
        self.events.append("wire_drained")
        self._look()

    def wire_lost(self, reason: str, clean: bool) -> None:
        self.reasons.append(reason)
        self.clean = clean
        self.events.append("wire_lost")
        self._look()

    def _look(self) -> None:
        reached = [entry for entry in self._waiting if entry[0]()]
        self._waiting = [entry for entry in self._waiting if entry not in reached]
        for _, deferred in reached:
            deferred.callback(None)
