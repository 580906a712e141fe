"""Every wire keeps the same promises: memory, TCP between memory reactors, TCP and Unix sockets for real."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
)
from twisted.internet.interfaces import IListeningPort, IReactorUNIX, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.test.iosim import ConnectionCompleter
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from ensemble.errors import LinkRefused
from ensemble.identity import HumdAddr
from ensemble.interfaces import IWire
from ensemble.protocols import InMemoryEndpoint, StreamWire, StreamWireFactory, TcpTransport
from tests.protocols.promises import ALICE, BOB, Promises, PushingBack


class InSteps(SynchronousTestCase):
    """Time that passes by hand."""

    clock: Clock

    def turn(self) -> None:
        self.clock.advance(0)

    def run_to_end(self, body: Coroutine[Deferred[Any], Any, None]) -> None:
        done = Deferred.fromCoroutine(body)
        for _ in range(100):
            if not done.called:
                self.turn()
        self.successResultOf(done)
        for _ in range(10):
            self.turn()
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()], [])


class MemoryWireTests(InSteps, PushingBack):
    """Memory keeps every promise of a wire."""

    def setUp(self) -> None:
        self.clock = Clock()

    async def pair(self) -> tuple[IWire, IWire]:
        return InMemoryEndpoint.pair(ALICE, None, BOB, None, self.clock)


class SimulatedTcpTests(InSteps, Promises):
    """TCP between memory reactors keeps every promise that a simulation without buffers can show."""

    def setUp(self) -> None:
        self.reactor = self.clock = MemoryReactorClock()
        self.completer = ConnectionCompleter(self.reactor)
        self.pump: Any = None

    def turn(self) -> None:
        if self.pump is not None:
            self.pump.flush()
        self.clock.advance(0)

    async def pair(self) -> tuple[IWire, IWire]:
        built: list[StreamWire] = []
        transport = TcpTransport(self.reactor)
        await transport.listen(TCP4ServerEndpoint(self.reactor, 14730), built.append)
        dialling = transport.connect(HumdAddr(BOB).with_hint("tcp:127.0.0.1:14730"))
        self.pump = self.completer.succeedOnce()
        return await dialling, built[0]


class RealTcpTests(PushingBack, TestCase):
    """TCP over loopback keeps every promise of a wire."""

    timeout = 20
    place = "127.0.0.1"

    async def pair(self) -> tuple[IWire, IWire]:
        accepted: Deferred[StreamWire] = Deferred()
        transport = TcpTransport(reactor)
        port: Any = await transport.listen(self.endpoint(), accepted.callback)
        self.addCleanup(port.stopListening)
        mine = await transport.connect(HumdAddr(BOB).with_hint(f"tcp:{self.place}:{port.getHost().port}"))
        theirs = await accepted
        self.assertEqual((mine.kind, mine.secure, theirs.address), ("tcp", False, self.place.strip("[]")))
        self.leave_clean(mine)
        self.leave_clean(theirs)
        return mine, theirs

    def endpoint(self) -> IStreamServerEndpoint:
        return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")

    def leave_clean(self, wire: Any) -> None:
        """Trial wants a clean reactor: at the end abort, and wait until the socket is closed."""
        lost: Deferred[None] = Deferred()
        connection_lost = wire.connectionLost

        def tell(reason: Failure) -> None:
            connection_lost(reason)
            lost.callback(None)

        def leave() -> Deferred[None]:
            wire.abort()
            return lost

        wire.connectionLost = tell
        self.addCleanup(leave)

    def run_to_end(self, body: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        return Deferred.fromCoroutine(body)


class RealTcp6Tests(RealTcpTests):
    """TCP over IPv6 loopback, too."""

    place = "[::1]"

    def endpoint(self) -> IStreamServerEndpoint:
        return TCP6ServerEndpoint(reactor, 0, interface="::1")

    async def pair(self) -> tuple[IWire, IWire]:
        try:
            return await super().pair()
        except (LinkRefused, OSError) as error:
            raise SkipTest(f"no IPv6 here: {error}") from None


class RealUnixTests(RealTcpTests):
    """A Unix socket carries the same wire; it has no TCP options, no remote address and no resets."""

    hides_aborts = True

    if not IReactorUNIX.providedBy(reactor):
        skip = "no Unix sockets here"

    async def pair(self) -> tuple[IWire, IWire]:
        accepted: Deferred[StreamWire] = Deferred()
        path = self.mktemp()[-90:]
        factory = StreamWireFactory(reactor, accepted.callback, kind="unix")
        port: IListeningPort = await UNIXServerEndpoint(reactor, path).listen(factory)
        self.addCleanup(port.stopListening)
        mine = StreamWire(reactor, kind="unix", peer=HumdAddr(BOB), dialled=True)
        await connectProtocol(UNIXClientEndpoint(reactor, path), mine)
        theirs = await accepted
        self.assertEqual((mine.address, theirs.address), ("", ""))
        self.leave_clean(mine)
        self.leave_clean(theirs)
        return mine, theirs
