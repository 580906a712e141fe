"""
The TCP tier (mesh 5.5): plain lines, ``TCP_NODELAY``, no greeting.

Who is at the other end is for the handshake to say, and it cannot say that later bytes are still theirs: a tier for
one machine, or for a network that is trusted.  Departs from 0.7.0 in that a dial has a deadline, that names are
resolved to all their addresses (RFC 8305), and that a close is a close in both directions.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.python.failure import Failure

from ensemble.errors import LinkRefused
from ensemble.identity import NO_ZONE, Hint
from ensemble.interfaces import IWire
from ensemble.protocols.budget import LineBudget
from ensemble.protocols.deadlines import DEADLINES, Deadlines
from ensemble.protocols.names import Names, Naming
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE
from ensemble.protocols.sockets import in_short
from ensemble.protocols.stream import StreamWire
from ensemble.protocols.stream_factory import StreamWireFactory, WireFactory

if TYPE_CHECKING:
    from ensemble.identity import HumdAddr


class TcpTransport:
    """
    Dials and listens over TCP.

    All wires of one transport share its budget.

    :ivar scheme: of the hints that it dials.
    """

    scheme: ClassVar[str] = "tcp"

    def __init__(
        self,
        reactor: Any,
        *,
        budget: LineBudget | None = None,
        max_line: int = DEFAULT_MAX_LINE,
        names: Names | None = None,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """
        :param reactor: ``IReactorTCP``, ``IReactorTime`` and ``IReactorPluggableNameResolver``.
        :param budget: the `Ensemble<ensemble.mesh.Ensemble>`'s own, so that all its wires share one; the default is
            one of this transport's.
        :param max_line: bytes per line that the wires accept at first.
        :param names: shared by all transports of a reactor, whose threads look them up; the default is one of this
            transport's.
        :param deadlines: of its dials and its wires.
        """
        self._deadlines = deadlines
        self._reactor, self._names = reactor, names if names is not None else Names(reactor)
        self._budget, self._max_line = budget if budget is not None else LineBudget(), max_line

    def connect(self, addr: HumdAddr, timeout: float | None = None) -> Deferred[IWire]:
        """
        Dial the first hint of our scheme in an address.

        :param timeout: seconds; None for ``dial_seconds`` of the deadlines.
        :returns: fires with a wire that is connected and not started, and the caller's to start, close or abort; fails
            with `LinkRefused`.  Cancelling stops the attempt.
        """
        hint = addr.first(self.scheme)
        if hint is None:
            mend = f"add one as {self.scheme}:host:port"
            return fail(LinkRefused(f"{addr.id.full} has no {self.scheme}: hint that can be read; {mend}"))
        return self.dial(hint, addr, timeout)

    def dial(self, hint: Hint, addr: HumdAddr, timeout: float | None = None) -> Deferred[IWire]:
        """
        Dial one hint; otherwise as `connect`.

        :param addr: who should be there: what the wire says as its ``peer``.
        """
        host, port = hint.host_port()
        if mend := hint.zone_mend:
            return fail(LinkRefused(f"cannot reach {hint}: {NO_ZONE}", mend))
        seconds = self._deadlines.dial_seconds if timeout is None else timeout
        naming = Naming(self._reactor, self._names, addr.id, host)
        wires: list[Any] = []
        endpoint = _endpoint(naming, host, port, seconds + 1)  # ours ends first: it says more

        def cancel(wanted: Deferred[IWire]) -> None:
            # First, or the endpoint's own error would say what nobody asked: that the name was not found.
            wanted.errback(CancelledError())
            connecting.cancel()
            for wire in wires:
                wire.abort()

        wanted: Deferred[IWire] = Deferred(cancel)

        def failed(failure: Failure) -> None:
            if not wanted.called:
                wanted.errback(_explained(failure, hint))

        def too_late(_: object, seconds: float) -> IWire:
            if naming.unanswered:
                cause = f"no address for {hint} within {seconds:g} s"
                why = "no name server answers, or it waits for names that none answers for"
                raise LinkRefused(f"{cause}: {why}; a hint with an IP address needs none")
            if wires:
                why = "is it no humd, is it too busy, or are large packets lost on the way?"
                raise LinkRefused(f"{hint} accepts connections, and no TLS within {seconds:g} s: {why}")
            raise LinkRefused(f"no answer from {hint} within {seconds:g} s")

        def ended(result: IWire | Failure) -> IWire | Failure:
            failed = isinstance(result, Failure) and not result.check(CancelledError)
            naming.over(failed and bool(wires))
            return result

        connecting = self._connect(endpoint, hint, addr, wanted, wires)
        connecting.addErrback(failed)
        return wanted.addTimeout(seconds, self._reactor, too_late).addBoth(ended)

    def listen(self, endpoint: IStreamServerEndpoint, built: Callable[[StreamWire], None]) -> Deferred[IListeningPort]:
        """
        Accept connections.

        :param endpoint: where; for instance ``serverFromString(reactor, "tcp:14730")``.
        :param built: called with each accepted wire.
        :returns: as ``endpoint.listen``: fails where the port is taken.
        """
        return endpoint.listen(
            StreamWireFactory(
                self._reactor,
                built,
                kind=self.scheme,
                budget=self._budget,
                max_line=self._max_line,
                deadlines=self._deadlines,
            )
        )

    def _connect(
        self, endpoint: IStreamClientEndpoint, hint: Hint, addr: HumdAddr, wanted: Deferred[IWire], wires: list[Any]
    ) -> Deferred[Any]:
        """
        :param wanted: gets the wire, once it can be written to.
        :param wires: gets those that are connected and may fail all the same.
        :returns: fails where none is connected.
        """
        connecting: Deferred[Any] = endpoint.connect(WireFactory(partial(self._wire, addr)))
        return connecting.addCallback(wanted.callback)

    def _wire(self, addr: HumdAddr) -> StreamWire:
        return StreamWire(
            self._reactor,
            kind=self.scheme,
            peer=addr,
            dialled=True,
            budget=self._budget,
            max_line=self._max_line,
            deadlines=self._deadlines,
        )


def _endpoint(reactor: Naming, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, timeout)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port, timeout)
    return HostnameEndpoint(reactor, "name", port, timeout)  # which one, `Naming` knows


def _explained(failure: Failure, hint: Hint) -> Failure:
    """What a person needs to read; a bug stays what it is."""
    if failure.check(DNSLookupError):
        return Failure(LinkRefused(f"cannot reach {hint}: no address is known for its name"))
    if failure.check(ConnectError, OSError, ValueError):
        _, zoned, zone = hint.host_port()[0].partition("%")
        is_lost = zoned and failure.check(socket.gaierror)
        return Failure(
            LinkRefused(f"cannot reach {hint}: {f'no interface {zone} here' if is_lost else in_short(failure)}")
        )
    return failure
