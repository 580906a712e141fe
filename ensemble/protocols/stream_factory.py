"""What makes wires of connections: `StreamWireFactory`, for whatever accepts them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory

from ensemble.protocols.budget import LineBudget, Standing
from ensemble.protocols.deadlines import DEADLINES, Deadlines
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE
from ensemble.protocols.porch import Porch
from ensemble.protocols.stream import StreamWire


class WireFactory(ServerFactory):
    """Makes a wire of every connection, ours and those of others."""

    noisy = False

    def __init__(self, wire: Callable[[], StreamWire], porch: Porch | None = None) -> None:
        """
        :param wire: makes the next one.
        :param porch: where accepted ones wait.
        """
        self._wire, self._porch = wire, porch

    def buildProtocol(self, addr: IAddress | None) -> StreamWire | None:
        """:returns: None, which closes the connection, where the porch is not open any more."""
        return self._wire() if self._porch is None or self._porch.open else None


class StreamWireFactory(WireFactory):
    """
    Makes a wire of every connection that an endpoint accepts.

    The wires of one factory share a budget; give several factories the same one.
    """

    def __init__(
        self,
        clock: IReactorTime,
        built: Callable[[StreamWire], None],
        *,
        kind: str = "tcp",
        budget: LineBudget | None = None,
        max_line: int = DEFAULT_MAX_LINE,
        porch: Porch | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """
        :param built: called with each wire once it is connected; it is to call ``start``, now or later.
        :param kind: what the wires say they are.  Those of ``unix`` are local programs' where memory is short.
        :param porch: where they wait for their turn; None: they need not.
        """
        shared = budget if budget is not None else LineBudget()

        def wire() -> StreamWire:
            new = StreamWire(
                clock, built, kind=kind, budget=shared, max_line=max_line, porch=porch, deadlines=deadlines
            )
            if kind == "unix":
                new.standing = Standing.LOCAL
            return new

        super().__init__(wire, porch)
