"""`TlsTransport`: dials and listens; what happens on one connection is `ensemble.protocols.tls`'s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamClientEndpoint, IStreamServerEndpoint

from ensemble.errors import LinkRefused
from ensemble.identity import HumdAddr, HumdKey, Succession, certificate_of, fingerprint
from ensemble.interfaces import IWire
from ensemble.protocols.budget import LineBudget
from ensemble.protocols.deadlines import DEADLINES, Deadlines
from ensemble.protocols.names import Names
from ensemble.protocols.porch import Porch
from ensemble.protocols.stream import StreamWire
from ensemble.protocols.stream_factory import WireFactory
from ensemble.protocols.tcp import TcpTransport
from ensemble.protocols.tls import Admits, TlsWire, Told
from ensemble.protocols.tls_sessions import TlsSessions

if TYPE_CHECKING:
    from ensemble.identity import Hint


class TlsTransport(TcpTransport):
    """
    Dials and listens over TLS.

    A dial fires when the other side's certificate is accepted; where it does not accept ours, which TLS 1.3 tells only
    then, the wire is lost at once.

    :ivar scheme: of the hints that it dials.
    :ivar fingerprint: of our certificate, 64 hex digits: what others write behind ``tls-fp:``.
    """

    scheme: ClassVar[str] = "tls"

    def __init__(
        self,
        reactor: Any,
        key: HumdKey,
        *,
        budget: LineBudget | None = None,
        names: Names | None = None,
        succeeds: Sequence[Succession] = (),
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """
        As `TcpTransport`.

        :param key: the humd's own.
        :param succeeds: as of the `Ensemble<ensemble.mesh.Ensemble>`: whoever does not know us yet learns from them.
        """
        super().__init__(reactor, budget=budget, names=names, deadlines=deadlines)
        self.fingerprint = fingerprint(certificate_of(key))
        self._sessions = TlsSessions(key, succeeds)

    def listen(
        self,
        endpoint: IStreamServerEndpoint,
        built: Callable[[StreamWire], None],
        *,
        admits: Admits | None = None,
        failed: Told | None = None,
        porch: Porch | None = None,
    ) -> Deferred[IListeningPort]:
        """
        Accept connections.

        :param endpoint: any stream endpoint, for instance ``serverFromString(reactor, "tcp:14731")``.
        :param built: called with each `TlsWire` whose handshake is complete.
        :param admits: `Admits<ensemble.protocols.tls.Admits>`, asked before that; None lets everybody in.
        :param failed: `Told<ensemble.protocols.tls.Told>` of the others.
        :param porch: the `Ensemble<ensemble.mesh.Ensemble>`'s own, where they wait for their turn and are counted; the
            default is one that counts nobody.
        """
        return endpoint.listen(self.factory(built, admits=admits, failed=failed, porch=porch))

    def factory(
        self,
        built: Callable[[StreamWire], None],
        *,
        admits: Admits | None = None,
        failed: Told | None = None,
        porch: Porch | None = None,
    ) -> IProtocolFactory:
        """As `listen`: for whatever accepts connections."""
        told = failed if failed is not None else _untold
        waiting = porch if porch is not None else Porch(self._reactor)

        def wire() -> TlsWire:
            return TlsWire(
                self._reactor,
                built,
                told,
                self._sessions,
                admits=admits,
                porch=waiting,
                budget=self._budget,
                deadlines=self._deadlines,
            )

        return WireFactory(wire, waiting)

    def _connect(
        self, endpoint: IStreamClientEndpoint, hint: Hint, addr: HumdAddr, wanted: Deferred[IWire], wires: list[Any]
    ) -> Deferred[Any]:
        def built(wire: StreamWire) -> None:
            if wanted.called:
                wire.abort()  # of two connections to one name the other was faster
            else:
                wanted.callback(wire)

        def failed(_counter: str, cause: str, _address: str) -> None:
            if not wanted.called:
                refused = next((each.refused for each in wires if each.refused is not None), LinkRefused)
                wanted.errback(refused(f"{hint}: {cause}"))

        def wire() -> TlsWire:
            new = TlsWire(
                self._reactor,
                built,
                failed,
                self._sessions,
                peer=addr,
                budget=self._budget,
                deadlines=self._deadlines,
            )
            wires.append(new)
            return new

        return endpoint.connect(WireFactory(wire))


def _untold(_counter: str, _cause: str, _address: str) -> None:
    """Nobody wants to know."""
