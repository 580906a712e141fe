"""L{StreamWireFactory}: for whatever accepts connections."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory

from ensemble.protocols.budget import LineBudget
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE
from ensemble.protocols.stream import StreamWire


class StreamWireFactory(ServerFactory):
    """
    Makes a wire of every connection that an endpoint accepts.

    The wires of one factory share a budget; give several factories the same one.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        built: Callable[[StreamWire], None],
        *,
        kind: str = "tcp",
        budget: LineBudget | None = None,
        max_line: int = DEFAULT_MAX_LINE,
    ) -> None:
        """:param built: called with each wire once it is connected; it is to call C{start}, now or later."""
        self._clock, self._built, self._kind = clock, built, kind
        self._budget, self._max_line = budget if budget is not None else LineBudget(), max_line

    def buildProtocol(self, addr: IAddress | None) -> StreamWire:
        return StreamWire(self._clock, self._built, kind=self._kind, budget=self._budget, max_line=self._max_line)
