"""Where other humds find us: the listening ports, their hints, and how many connections we can afford."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from ensemble.config import outward_addresses, wire_of
from ensemble.daemon.descriptors import KEPT, Descriptors
from ensemble.daemon.paced_port import PacedPort
from ensemble.errors import ConfigurationError
from ensemble.identity import Hint
from ensemble.mesh import Ensemble
from ensemble.protocols import Porch, TlsTransport, host_of

BACKLOG: Final = 1024  # connections that the system holds for us; Twisted's 50 are gone in the first storm

T = TypeVar("T")


class Listeners(Service):
    """The ports that are open to other humds."""

    def __init__(
        self,
        reactor: Any,
        descriptions: Sequence[str],
        descriptors: Descriptors,
        outward: Callable[[str], list[str]] = outward_addresses,
    ) -> None:
        """
        :param descriptions: Twisted endpoint strings, checked already.
        :param outward: what others dial for a port on an address of ours, or on all; the default asks the system.
        """
        self._reactor, self._descriptions = reactor, descriptions
        self._descriptors = descriptors
        self._ensemble: Ensemble | None = None
        self._factories: dict[str, IProtocolFactory] = {}
        self._outward = outward
        self._porch = Porch(reactor)  # of nobody, until there is a mesh
        self._ports: list[IListeningPort] = []
        self._paced: list[PacedPort] = []

    def bind(self) -> None:
        """
        Open the ports, unless they are open.

        :raises ConfigurationError: one of them cannot be; the text says which and why.
        """
        if self._ports:
            return
        for description in self._descriptions:
            port = self._bind(description)
            self._ports.append(port)
            if IReadDescriptor.providedBy(port):
                self._paced.append(PacedPort(self._reactor, port, lambda: self._porch.accepting))

    @property
    def hints(self) -> list[str]:
        """Of the ports that are open, with the addresses that this machine has by now."""
        found: list[str] = []
        for port, description in zip(self._ports, self._descriptions, strict=False):
            where: Any = port.getHost()
            places = self._outward(str(where.host))
            found += (str(Hint.at(wire_of(description), place, int(where.port))) for place in places)
        return found

    def serve(self, ensemble: Ensemble, tls: TlsTransport) -> None:
        """From now on who connects is linked; until then it is dropped, for the ports may be open before."""
        self._ensemble, self._porch = ensemble, ensemble.porch
        self._factories = {"tcp": ensemble.factory(), "tls": ensemble.factory(tls)}

    def startService(self) -> None:
        """As `bind`."""
        self.bind()
        super().startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        ports, self._ports = self._ports, []
        paced, self._paced = self._paced, []
        for each in paced:
            each.stop()
        done = DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
        return done.addCallback(lambda _: None)

    def _bind(self, description: str) -> IListeningPort:
        try:
            return _at_once(endpoint_of(self._reactor, description).listen(_Door(self._build, wire_of(description))))
        except CannotListenError as error:
            raise ConfigurationError(f"cannot listen on {description}: {self._why(description, error)}") from None
        except (OSError, OverflowError) as error:
            raise ConfigurationError(f"cannot listen on {description}: {error}") from None

    def _why(self, description: str, error: CannotListenError) -> str:
        cause = error.socketError
        number = cause.errno if isinstance(cause, OSError) else None
        if number == errno.EADDRNOTAVAIL:
            return "no interface of this machine has that address (yet); choose another place with --listen"
        wire, ours = wire_of(description), zip(self._ports, self._descriptions, strict=False)
        same: list[Any] = [port.getHost() for port, each in ours if wire_of(each) == wire]
        if number == errno.EADDRINUSE and error.port in (each.port for each in same):
            return f"another --listen of ours has that port; {wire}6:{error.port} alone is for IPv4, too"
        text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
        return f"{text}; choose another place with --listen"

    def _build(self, wire: str, address: IAddress) -> IProtocol | None:
        """
        What speaks on a connection from ``address``; None where that may not come.

        Not before there is a mesh, nor where its address is full of newcomers; and the last descriptors are for local
        programs and our dials.
        """
        ensemble, who = self._ensemble, host_of(address)
        if ensemble is None:
            return None
        if not self._descriptors.spare():
            ensemble.refusals.refused("descriptors.refused", f"only {KEPT} descriptors are left, which are kept", who)
            return None
        return self._factories[wire].buildProtocol(address) if self._porch.has_room(who) else None


class _Door(ServerFactory):
    """
    Of one port; it asks before it makes anything of a connection.

    What may not come is closed at once: a wire that is aborted has its descriptor for one more turn of the reactor,
    and a crowd of them has all.
    """

    noisy = False

    def __init__(self, build: Callable[[str, IAddress], IProtocol | None], wire: str) -> None:
        self._build, self._wire = build, wire

    def buildProtocol(self, addr: IAddress | None) -> Any:
        assert addr is not None, "a port knows who comes"
        return self._build(self._wire, addr)

    def logPrefix(self) -> str:
        """Twisted's own lines about the port begin with it."""
        return "humd"


def endpoint_of(reactor: Any, description: str) -> IStreamServerEndpoint:
    """
    Read an endpoint string; where it leaves the backlog open it is ours.  Of ``tls`` it is the TCP below.

    :raises ConfigurationError: it cannot be read.
    """
    try:
        below = f"tcp{description[3:]}" if wire_of(description) == "tls" else description
        endpoint: IStreamServerEndpoint = serverFromString(reactor, below)
        if ":backlog=" not in description:
            try:
                endpoint = serverFromString(reactor, f"{below}:backlog={BACKLOG}")
            except TypeError:
                pass  # it names its own, by place
        return endpoint
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError):  # the last is of a \ with nothing behind it
        raise ConfigurationError(
            f"--listen {description}: no endpoint of Twisted's is written so; for instance "
            "tcp:14730:interface=127.0.0.1, or tcp6:14730:interface=\\:\\:1 (each colon of an address behind a \\)"
        ) from None


def _at_once(deferred: Deferred[T]) -> T:
    """The result of what does not wait: ports open or fail in the call that opens them."""
    results: list[T | Failure] = []
    deferred.addBoth(results.append)
    if not results:
        raise ConfigurationError("this endpoint does not listen at once, and the start does not wait")
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result
