"""
Names of other humds, looked up for their dials.

The system looks a name up in a thread, and gives it up only when it is done, half a minute later where no name server
answers; the reactor has ten threads for that.  So each name is looked up once at a time, whoever asks for it, and one
peer may occupy two threads, however many names it has; who cannot be served waits, and the oldest is next.  A name that
had an answer when it was last looked up is before those that had none, and two threads are for such names alone.

Of the addresses of a name the first that takes a connection is the one (RFC 8305), whatever comes of it: on the way to
it small packets may pass and large ones not.  So where a dial fails that had connected, the same dial begins with the
next address the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from attrs import evolve
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

LOOK_UPS: Final = 8  # at once; the reactor has ten threads
PEER_LOOK_UPS: Final = 2  # of them of one peer
KEPT_LOOK_UPS: Final = 2  # of them for names that had an answer
ANSWERED: Final = 4096  # names that had one, remembered at once
MAX_ADDRESSES: Final = 8  # of one name that are dialled, the next 0.3 s after the last
LOOK_UP_SECONDS: Final = 60.0  # then it counts as over: of an error of the system Twisted's resolver tells nobody


class Names:
    """All look-ups of some transports; the resolver is that of the reactor."""

    def __init__(self, reactor: Any, spare: Callable[[], bool] = lambda: True) -> None:
        """
        :param reactor: ``IReactorPluggableNameResolver`` and ``IReactorTime``.
        :param spare: asked before each address of a name but the first: are there descriptors for one more?
        """
        self._reactor, self.spare = reactor, spare
        self._running: dict[str, _LookUp] = {}
        self._answered: set[str] = set()
        self._failed: dict[Hashable, int] = {}  # dials that had connected, by what was dialled
        self._open: list[Question] = []  # asked and not answered, whether looked up by now or not

    def ask(self, question: Question) -> None:
        """Have its receiver told the addresses, later or at once."""
        self._open.append(question)
        self._go_on()

    def forget(self, question: Question) -> None:
        """Nobody wants to know any more; a look-up that has begun goes on, for it cannot be stopped."""
        if question in self._open:
            self._open.remove(question)

    def done(self, look_up: _LookUp) -> None:
        """Tell who asked, and go on; nothing where it was given up."""
        if self._running.get(look_up.name) is not look_up:
            return
        del self._running[look_up.name]
        self._answered.discard(look_up.name)
        if look_up.addresses:
            if len(self._answered) >= ANSWERED:
                self._answered.clear()
            self._answered.add(look_up.name)
        answered = [question for question in self._open if question.name == look_up.name]
        self._open = [question for question in self._open if question.name != look_up.name]
        for question in answered:
            first = self._failed.get(question.dialled, 0) % (len(look_up.addresses) or 1)
            question.answer(look_up.addresses[first:] + look_up.addresses[:first])
        self._go_on()

    def failed(self, question: Question) -> None:
        """The dial that asked had connected to an address, and led nowhere all the same."""
        if len(self._failed) >= ANSWERED:
            self._failed.clear()
        self._failed[question.dialled] = self._failed.get(question.dialled, 0) + 1

    def _go_on(self) -> None:
        now = self._reactor.seconds()
        self._running = {name: each for name, each in self._running.items() if now - each.began < LOOK_UP_SECONDS}
        for question in sorted(self._open, key=lambda each: each.name not in self._answered):
            name, peer = question.name, question.peer
            if not question.open or name in self._running:
                continue
            most = LOOK_UPS if name in self._answered else LOOK_UPS - KEPT_LOOK_UPS
            if len(self._running) < most and self._busy_for(peer) < PEER_LOOK_UPS:
                self._running[name] = begun = _LookUp(self, name, peer, now)
                self._reactor.nameResolver.resolveHostName(begun, name)

    def _busy_for(self, peer: Hashable) -> int:
        return sum(look_up.peer == peer for look_up in self._running.values())


@implementer(IHostResolution)
class Question:
    """Somebody wants the addresses of a name, with one port."""

    def __init__(self, names: Names, peer: Hashable, name: str, port: int, receiver: Any) -> None:
        """:param receiver: ``IResolutionReceiver``."""
        self.peer, self.name, self.dialled = peer, name, (peer, name, port)
        self._names, self._port, self._receiver = names, port, receiver
        self.open = True
        receiver.resolutionBegan(self)

    def answer(self, addresses: Sequence[Any]) -> None:
        """These are all that there are."""
        if not self.open:
            return  # given up meanwhile, by one that was answered before it
        self.open = False
        for address in addresses:
            self._receiver.addressResolved(evolve(address, port=self._port))
        self._receiver.resolutionComplete()

    def cancel(self) -> None:
        """The receiver is told nothing."""
        if self.open:
            self.open = False
            self._names.forget(self)


@implementer(IResolutionReceiver)
class _LookUp:
    """One name that occupies a thread, on behalf of the peer that asked first."""

    def __init__(self, names: Names, name: str, peer: Hashable, began: float) -> None:
        self.name, self.peer, self.began = name, peer, began
        self.addresses: list[Any] = []  # of Twisted's, which are attrs classes
        self._names = names

    def resolutionBegan(self, _: IHostResolution) -> None:
        """Nobody stops it."""

    def addressResolved(self, address: IAddress) -> None:
        if len(self.addresses) < MAX_ADDRESSES:
            self.addresses.append(address)

    def resolutionComplete(self) -> None:
        self._names.done(self)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class Naming:
    """
    The reactor as one dial sees it: who looks a name up with it does so on behalf of one peer.

    It looks up its own name, whichever it is asked for: Twisted's endpoint refuses names that the system may well know,
    those with an underscore for instance.
    """

    def __init__(self, reactor: Any, names: Names, peer: Hashable, name: str) -> None:
        self.nameResolver = self  # Twisted's name for it
        self._reactor, self._names, self._peer, self._name = reactor, names, peer, name
        self._question: Question | None = None
        self._addresses = 0  # that were tried

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, *where: Any, **more: Any) -> Any:
        """:raises ConnectError: no descriptor is free for one address more."""
        self._addresses += 1
        if self._addresses > 1 and not self._names.spare():
            raise ConnectError(string="no descriptor is free for a further address of the name")
        return self._reactor.connectTCP(*where, **more)

    @property
    def unanswered(self) -> bool:
        """A name was asked for, and its addresses have not come."""
        return self._question is not None and self._question.open

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: str = "TCP",
    ) -> Question:
        self._question = Question(self._names, self._peer, self._name, portNumber, resolutionReceiver)
        try:
            self._name.encode("idna")
        except UnicodeError:
            self._question.answer(())  # the thread would die of it, and never tell
        else:
            self._names.ask(self._question)
        return self._question

    def over(self, failed: bool) -> None:
        """
        The dial is over.

        :param failed: it had connected, and led nowhere.
        """
        if self._question is not None:
            self._question.cancel()
            if failed:
                self._names.failed(self._question)
