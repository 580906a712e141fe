"""
The whole mesh: ensembles with keys and proven links, over TCP or, after the word ``tls``, over TLS.

``[tls] recv [N] | send PORT N | later PORT N | echo | rtt PORT N | fan PORT PEERS N PER_TURN NAMED | hold N |
crowd PORT N | welcome N | greet PORT N AT_ONCE``.  A listener prints ``READY PORT``; whoever
measures ends with one line of JSON.
``later`` is ``send`` that prints ``READY`` when its link is up, and waits for a line on stdin.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from bench.measure import percentiles, perform, raise_descriptor_limit, resident, say, tell, tell_rate
from bench.sides.stream import TRANSPORTS
from bench.tones import TONE, TURN, addressed, crowd_id, gossip
from ensemble.daemon.descriptors import Descriptors
from ensemble.daemon.listeners import Listeners
from ensemble.errors import QueueFull
from ensemble.identity import HumdAddr, HumdId, HumdKey
from ensemble.mesh import Ensemble, Limits, Policy
from ensemble.protocols import Level, TcpTransport, TlsTransport, Turn
from ensemble.tone import Envelope, Qualifier, decode_checked

reactor = cast(Any, _reactor)
turn = Turn(reactor)

scheme = "tcp"

LISTENER = HumdKey.from_seed(bytes(32))  # known to both sides, so that nobody has to be told an id
AT_ONCE = 20  # handshakes of the crowd that are under way at a time


def new_ensemble(key: HumdKey, level: Level = Level.PROVEN, **more: Any) -> Ensemble:
    return Ensemble(key.humd_id(), key=key, clock=reactor, policy=Policy(level=level), turn=turn, **more)


@cache
def transport_of(ensemble: Ensemble) -> TcpTransport:
    assert ensemble.key is not None
    return TRANSPORTS[scheme](ensemble.key)


def listen(ensemble: Ensemble) -> None:
    """As the daemon does, gate, porch and all."""
    assert ensemble.key is not None
    listeners = Listeners(reactor, [f"{scheme}:0:interface=127.0.0.1"], Descriptors())
    listeners.serve(ensemble, TlsTransport(reactor, ensemble.key))
    listeners.bind()
    say(f"READY {listeners.hints[0].rpartition(':')[2]}")


def dial(ensemble: Ensemble, peer: HumdId, port: int) -> Deferred[HumdId]:
    address = HumdAddr(peer).with_hint(f"{scheme}:127.0.0.1:{port}")
    return transport_of(ensemble).connect(address).addCallback(ensemble.install)


def or_stop(done: Deferred[Any]) -> None:
    def give_up(failure: Any) -> None:
        sys.stderr.write(failure.getTraceback())
        reactor.stop()

    done.addErrback(give_up)


class Ear:
    """A mesh listener that does nothing; the measured ones say what they hear."""

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        pass

    def garbled(self, peer: HumdId, envelope: Envelope, cause: str) -> None:
        pass

    def peer_up(self, peer: HumdId) -> None:
        pass

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        pass

    def peer_has_room(self, peer: HumdId) -> None:
        pass

    def undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier) -> None:
        pass


class Counter(Ear):
    """Decodes every tone in full; the clock runs from the first tone to the last, or to the loss of the peer."""

    count = 0
    began = 0.0

    def __init__(self, last: int) -> None:
        """:param last: the number of tones after which no more come; 0 to wait for the loss."""
        self.last = last

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        if not self.count:
            self.began = time.perf_counter()
        if "to" in decode_checked(line):
            self.count += 1
        if self.count == self.last:
            self.tell()

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        if not self.last:
            self.tell()

    def tell(self) -> None:
        tell_rate(self.count, self.began)
        reactor.stop()


class Echo(Ear):
    def __init__(self, ensemble: Ensemble) -> None:
        self.route = ensemble.route

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        tone = decode_checked(line)
        tone["to"] = tone["from"]
        self.route(tone)


class Tripper(Ear):
    """One tone at a time, there and back."""

    def __init__(self, ensemble: Ensemble, peer: HumdId, count: int) -> None:
        self.ensemble, self.count = ensemble, count
        self.tone = addressed(ensemble.me.full, peer.full)
        self.trips: list[float] = []

    def go(self) -> None:
        self.began = time.perf_counter()
        self.ensemble.route(self.tone)

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        decode_checked(line)
        self.trips.append(time.perf_counter() - self.began)
        if len(self.trips) < self.count:
            self.go()
            return
        tell(percentiles(self.trips))
        or_stop(self.ensemble.stopService().addCallback(lambda _: reactor.stop()))


class Doorman(Ear):
    """Counts who comes; the clock runs from the first loss to the last, so that every visit is a whole one."""

    def __init__(self, count: int) -> None:
        self.left, self.count = count, count

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        if self.left == self.count:
            self.began = time.perf_counter()
        elif not self.left:
            tell_rate(self.count, self.began)
            reactor.stop()
        self.left -= 1


class Visitor(Ear):
    """Links, says goodbye and links again."""

    def __init__(self, ensemble: Ensemble, port: int, count: int) -> None:
        self.ensemble, self.port, self.left = ensemble, port, count + 1

    def go(self) -> None:
        or_stop(dial(self.ensemble, LISTENER.humd_id(), self.port))

    def peer_up(self, peer: HumdId) -> None:
        reactor.callLater(0, self.ensemble.remove_peer, peer)

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        self.left -= 1
        if self.left:
            self.go()


class Sender(Ear):
    """Offers 64 tones a turn; told that the queue is full, it waits until there is room; then it stops, or stays."""

    def __init__(self, ensemble: Ensemble, peer: HumdId, count: int, stays: bool = False) -> None:
        self.ensemble, self.left, self.stays = ensemble, count, stays
        self.tone = addressed(ensemble.me.full, peer.full)

    def go(self) -> None:
        route, tone = self.ensemble.route, self.tone
        for _ in range(min(TURN, self.left)):
            try:
                route(tone)
            except QueueFull:
                return  # peer_has_room goes on
            self.left -= 1
        if self.left:
            reactor.callLater(0, self.go)
        elif not self.stays:
            or_stop(self.ensemble.stopService().addCallback(lambda _: reactor.stop()))

    def peer_has_room(self, peer: HumdId) -> None:
        reactor.callLater(0, self.go)


def send(port: int, count: int) -> None:
    ensemble = new_ensemble(HumdKey.generate())
    sender = Sender(ensemble, LISTENER.humd_id(), count)
    ensemble.listener = sender
    or_stop(dial(ensemble, LISTENER.humd_id(), port).addCallback(lambda _: sender.go()))


def later(port: int, count: int) -> None:
    """As `send`, once it is told to; and it stays, for a goodbye does not wait until a flooded peer has read all."""
    ensemble = new_ensemble(HumdKey.generate())
    sender = Sender(ensemble, LISTENER.humd_id(), count, stays=True)
    ensemble.listener = sender

    def wait() -> None:
        say("READY")
        sys.stdin.readline()
        reactor.callFromThread(sender.go)

    or_stop(dial(ensemble, LISTENER.humd_id(), port).addCallback(lambda _: reactor.callInThread(wait)))


def greet(port: int, count: int, at_once: int) -> None:
    """Of so many visitors each comes so often, for nobody knows who is the fastest."""
    for _ in range(at_once):
        ensemble = new_ensemble(HumdKey.generate())
        ensemble.listener = visitor = Visitor(ensemble, port, count)
        visitor.go()


def rtt(port: int, count: int) -> None:
    ensemble = new_ensemble(HumdKey.generate())
    tripper = Tripper(ensemble, LISTENER.humd_id(), count)
    ensemble.listener = tripper
    or_stop(dial(ensemble, LISTENER.humd_id(), port).addCallback(lambda _: tripper.go()))


def fan(port: int, peers: int, count: int, per_turn: int, named: int) -> None:
    """
    Dial ``peers`` plain 0.7.0 peers one after the other, then send every tone to all of them.

    :param named: 1: each gets it with its own id in ``to``; 0: it is gossip, the same for all.
    """
    ensemble = new_ensemble(HumdKey.generate(), Level.OPEN)
    tone = TONE if named else gossip(ensemble.me.full)
    receivers = [HumdId.parse(crowd_id(number)) for number in range(peers)]

    async def go() -> None:
        for receiver in receivers:
            await dial(ensemble, receiver, port)
        offer(count)

    def offer(left: int) -> None:
        link = ensemble.link_to(receivers[-1])
        if link is not None and link.queued:
            reactor.callLater(0, offer, left)
            return
        for _ in range(min(per_turn, left)):
            if ensemble.broadcast(tone):
                raise SystemExit("a peer reads too slowly: the figure would not be that of all peers")
        if left > per_turn:
            reactor.callLater(0, offer, left - per_turn)
        else:
            or_stop(ensemble.stopService().addCallback(lambda _: reactor.stop()))

    or_stop(Deferred.fromCoroutine(go()))


def hold(count: int) -> None:
    """Accept ``count`` links, keep them, and say what they cost once asked on stdin."""
    raise_descriptor_limit(count + 256)  # some are kept for local programs
    # All come from one address, and believe that they are up as soon as their proof has left.
    ensemble = new_ensemble(LISTENER, limits=Limits(pending_links=count, address_pending_links=count))
    before = resident()
    listen(ensemble)

    def measure() -> None:
        sys.stdin.readline()
        reactor.callFromThread(answer)

    def answer() -> None:
        if len(ensemble.peers()) < count:
            reactor.callLater(0.01, answer)
            return
        tell({"links": count, "bytes": resident() - before})

    reactor.callInThread(measure)


def crowd(port: int, count: int) -> None:
    """``count`` ensembles, each with a key and one link to the listener."""
    raise_descriptor_limit(count + 64)
    before = resident()
    ensembles: list[Ensemble] = []

    async def some() -> None:
        while len(ensembles) < count:
            ensemble = new_ensemble(HumdKey.generate())
            ensembles.append(ensemble)
            await dial(ensemble, LISTENER.humd_id(), port)

    async def all_of_them() -> None:
        for lane in [Deferred.fromCoroutine(some()) for _ in range(min(AT_ONCE, count))]:
            await lane
        tell({"links": count, "bytes": resident() - before})

    or_stop(Deferred.fromCoroutine(all_of_them()))


def hear(ear_of: Callable[[Ensemble], Ear]) -> None:
    """Listen, and have what comes heard."""
    ensemble = new_ensemble(LISTENER)
    ensemble.listener = ear_of(ensemble)
    listen(ensemble)


def recv(last: int = 0) -> None:
    hear(lambda _: Counter(last))


def echo() -> None:
    hear(Echo)


def welcome(count: int) -> None:
    hear(lambda _: Doorman(count))


def main(command: str, *rest: str) -> None:
    global scheme
    if command in TRANSPORTS:
        scheme, command, rest = command, rest[0], rest[1:]
    perform((recv, echo, send, later, welcome, greet, rtt, fan, hold, crowd), (command, *rest))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
