"""
The node: local programs on one side, linked humds on the other, and `Routes` between them.

Nothing is decided here.  Back-pressure (wire-0.8 section 7): where a destination's queue is more than half full, the
local program that writes to it is not read, until there is room and for ``client_pause_seconds`` at most; a peer's link
is never paused for one destination.  What then still finds the queue full is answered with ``queue.full``.  The second
half of a local program's queue is not for what strangers ask of it: a few bytes of theirs become a prompt with all
tools.
"""

from __future__ import annotations

from collections import deque

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from ensemble.conversations.outputs import Asking, Drop, Notice, Output, Side, ToClient, ToPeer, WaitingChanged
from ensemble.conversations.routes import Routes
from ensemble.errors import QueueFull, RouteError, ToneTooLarge, UnknownPeer
from ensemble.identity import HumdId
from ensemble.interfaces import IClient, INode
from ensemble.mesh import PROGRAMS, Ensemble
from ensemble.tone import Envelope, Qualifier


@implementer(INode)
class Node(Service):
    """See the module.  It is the ensemble's listener from the moment it is made."""

    log = Logger()

    def __init__(self, ensemble: Ensemble, routes: Routes, clock: IReactorTime) -> None:
        self.ensemble, self.routes = ensemble, routes
        self.clients: dict[str, IClient] = {}
        self._clock, self._chronicle = clock, ensemble.refusals.chronicle
        self._paused: dict[str, tuple[Side, IDelayedCall]] = {}  # for whom, and until when
        self._given_up: set[Side] = set()
        self._doing = False
        self._later: deque[tuple[list[Output], IClient | None]] = deque()
        ensemble.listener = self

    # INode

    def client_joined(self, client: IClient) -> None:
        self.clients[client.client_id] = client

    def client_said(self, client: IClient, envelope: Envelope, line: bytes) -> None:
        piece = None if self._doing else self.routes.piece(client.client_id, envelope, line)
        if piece is not None:
            self._hand_on(piece, client)
        else:
            self._do(self.routes.from_client(client.client_id, envelope, line, self._clock.seconds()), client)

    def client_garbled(self, client: IClient, envelope: Envelope, cause: str) -> None:
        self._do(self.routes.garbled(client.client_id, envelope, cause), None)

    def client_has_room(self, client: IClient) -> None:
        self._room(client.client_id)

    def client_left(self, client: IClient) -> None:
        self.clients.pop(client.client_id, None)
        self._resume(client.client_id)
        self._do(self.routes.client_left(client.client_id), None)
        self._room(client.client_id)

    # MeshListener

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        piece = None if self._doing else self.routes.piece(peer, envelope, line)
        if piece is not None:
            self._hand_on(piece, None)
        else:
            self._do(self.routes.from_peer(peer, envelope, line, self._clock.seconds()), None)

    def garbled(self, peer: HumdId, envelope: Envelope, cause: str) -> None:
        self._do(self.routes.garbled(peer, envelope, cause), None)

    def peer_up(self, peer: HumdId) -> None:
        self.ensemble.set_waiting(peer, self.routes.waiting_on(peer))

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        self._do(self.routes.peer_lost(peer, reason), None)
        self._room(peer)

    def peer_has_room(self, peer: HumdId) -> None:
        self._do(self.routes.peer_has_room(peer), None)
        self._room(peer)

    def undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier) -> None:
        message = "the link to the other humd did not come up; is it running?"
        self._do(self.routes.undelivered(peer, line, qualifier, message), None)
        if qualifier is Qualifier.ROUTE_SEND_FAILED:
            self._room(peer)  # no link came, and nobody else tells; where one came, what is held is still to go first

    # outputs

    def _do(self, outputs: list[Output], source: IClient | None) -> None:
        """
        Carry out what the core decided, in the order of its decisions.

        What fails may lead to more, which is told to somebody else, who may be lost in turn: that waits its turn here
        and not on the stack, for such a chain may be as long as there are clients.
        """
        if self._doing:
            self._later.append((outputs, source))
            return
        self._doing = True
        try:
            while True:
                for output in outputs:
                    if isinstance(output, ToClient):
                        self._to_client(output, source)
                    elif isinstance(output, ToPeer):
                        self._to_peer(output, source)
                    elif isinstance(output, WaitingChanged):
                        self.ensemble.set_waiting(output.peer, self.routes.waiting_on(output.peer))
                    elif isinstance(output, Notice):
                        form, who, text = "local client {client}: {text}", output.client_id, output.text
                        self._chronicle.tell(self.log, LogLevel.warn, PROGRAMS, form, client=who, text=text)
                    elif isinstance(output, Drop):
                        counter = output.counter
                        self.ensemble.refusals.say(counter, counter, "a tone", "", "dropped", LogLevel.debug)
                if not self._later:
                    return
                outputs, source = self._later.popleft()
        finally:
            self._doing = False

    def _hand_on(self, piece: ToClient | ToPeer, source: IClient | None) -> None:
        """`_do` for one output: what it leads to waits until it is done."""
        self._doing = True
        try:
            if isinstance(piece, ToClient):
                self._to_client(piece, source)
            else:
                self._to_peer(piece, source)
        finally:
            self._doing = False
        if self._later:
            self._do([], None)

    def _to_client(self, output: ToClient, source: IClient | None) -> None:
        client = self.clients.get(output.client_id)
        if client is not None and client.congested and self._asked_by_stranger(output):
            self._failed(output, Qualifier.QUEUE_FULL, _CLIENT_FULL)
        elif client is None or not client.deliver(output.line, output.droppable, output.context is None):
            if output.client_id in self.clients:
                self._failed(output, Qualifier.QUEUE_FULL, _CLIENT_FULL)
            else:
                self._failed(output, Qualifier.BEE_LOST, "the local program is gone")
        elif source is not None and source is not client and client.congested:
            self._pause(source, output.client_id)

    def _asked_by_stranger(self, output: ToClient) -> bool:
        context = output.context
        if not isinstance(context, Asking) or isinstance(context.asker, str):
            return False
        return context.asker not in self.ensemble.policy.known

    def _to_peer(self, output: ToPeer, source: IClient | None) -> None:
        try:
            congested = self.ensemble.send(output.peer, output.line, output.droppable)
        except RouteError as error:
            self._failed(output, qualifier_of(error), str(error))
            return
        if congested and source is not None:
            self._pause(source, output.peer)

    def _failed(self, output: ToClient | ToPeer, qualifier: Qualifier, message: str) -> None:
        self._do(self.routes.delivery_failed(output, qualifier, message), None)

    # pauses

    def _pause(self, source: IClient, destination: Side) -> None:
        if source.client_id in self._paused:
            return
        if destination in self._given_up:
            return  # it made somebody wait for the whole time and took nothing: what is over its bound fails
        source.pause()
        timer = self._clock.callLater(self.ensemble.limits.client_pause_seconds, self._late, source.client_id)
        self._paused[source.client_id] = (destination, timer)

    def _late(self, client_id: str) -> None:
        self._given_up.add(self._paused[client_id][0])
        self._resume(client_id)

    def _room(self, destination: Side) -> None:
        """Read those again who were paused for it; they speak at once, so the core must know of what happened."""
        self._given_up.discard(destination)
        for client_id in [paused for paused, (waits_for, _) in self._paused.items() if waits_for == destination]:
            self._resume(client_id)

    def _resume(self, client_id: str) -> None:
        """Read it again, where it was paused and is not gone."""
        paused = self._paused.pop(client_id, None)
        if paused is None:
            return
        if paused[1].active():
            paused[1].cancel()
        client = self.clients.get(client_id)
        if client is not None:
            client.resume()


_CLIENT_FULL = "the local program reads too slowly and its queue is full; try again later"
_QUALIFIERS: tuple[tuple[type[RouteError], Qualifier], ...] = (
    (QueueFull, Qualifier.QUEUE_FULL),
    (ToneTooLarge, Qualifier.TONE_TOO_LARGE),
    (UnknownPeer, Qualifier.ROUTE_UNKNOWN_PEER),
)


def qualifier_of(error: RouteError) -> Qualifier:
    """The word on the wire for a local error."""
    return next((word for kind, word in _QUALIFIERS if isinstance(error, kind)), Qualifier.ROUTE_SEND_FAILED)
