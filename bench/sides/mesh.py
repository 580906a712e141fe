"""
The whole mesh: C{Ensemble}s with keys and proven links, over TCP.

C{recv | send PORT N | echo | rtt PORT N | fan PORT PEERS N PER_TURN NAMED | hold N | crowd PORT N}.  A listener
prints C{READY PORT}; whoever measures ends with one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from bench.measure import percentiles, raise_descriptor_limit, resident, say
from bench.tones import TONE, TURN, addressed, crowd_id, gossip
from ensemble.errors import QueueFull
from ensemble.identity import HumdAddr, HumdId, HumdKey
from ensemble.mesh import Ensemble, Policy
from ensemble.protocols import Level, TcpTransport, Turn
from ensemble.tone import Envelope, Qualifier, decode_checked

reactor = cast(Any, _reactor)
turn = Turn(reactor)

LISTENER = HumdKey.from_seed(bytes(32))  # known to both sides, so that nobody has to be told an id
AT_ONCE = 100  # handshakes of the crowd that are under way at a time


def new_ensemble(key: HumdKey, level: Level = Level.PROVEN) -> Ensemble:
    return Ensemble(key.humd_id(), key=key, clock=reactor, policy=Policy(level=level), turn=turn)


def listen(ensemble: Ensemble) -> None:
    port = reactor.listenTCP(0, cast(Factory, ensemble.factory()), backlog=1024, interface="127.0.0.1")
    say(f"READY {port.getHost().port}")


def dial(ensemble: Ensemble, peer: HumdId, port: int) -> Deferred[HumdId]:
    address = HumdAddr(peer).with_hint(f"tcp:127.0.0.1:{port}")
    return TcpTransport(reactor).connect(address).addCallback(ensemble.install)


def or_stop(done: Deferred[Any]) -> None:
    def give_up(failure: Any) -> None:
        sys.stderr.write(failure.getTraceback())
        reactor.stop()

    done.addErrback(give_up)


class Ear:
    """A mesh listener that does nothing; the measured ones say what they hear."""

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
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
    """Decodes every tone in full; the clock runs from the first tone to the loss of the peer."""

    count = 0
    began = 0.0

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        if not self.count:
            self.began = time.perf_counter()
        if "to" in decode_checked(line):
            self.count += 1

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        say(json.dumps({"n": self.count, "rate": self.count / (time.perf_counter() - self.began)}))
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
        say(json.dumps(percentiles(self.trips)))
        or_stop(self.ensemble.stopService().addCallback(lambda _: reactor.stop()))


class Sender(Ear):
    """Offers 64 tones a turn; told that the queue is full, it waits until there is room."""

    def __init__(self, ensemble: Ensemble, peer: HumdId, count: int) -> None:
        self.ensemble, self.left = ensemble, count
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
        else:
            or_stop(self.ensemble.stopService().addCallback(lambda _: reactor.stop()))

    def peer_has_room(self, peer: HumdId) -> None:
        reactor.callLater(0, self.go)


def send(port: int, count: int) -> None:
    ensemble = new_ensemble(HumdKey.generate())
    sender = Sender(ensemble, LISTENER.humd_id(), count)
    ensemble.listener = sender
    or_stop(dial(ensemble, LISTENER.humd_id(), port).addCallback(lambda _: sender.go()))


def rtt(port: int, count: int) -> None:
    ensemble = new_ensemble(HumdKey.generate())
    tripper = Tripper(ensemble, LISTENER.humd_id(), count)
    ensemble.listener = tripper
    or_stop(dial(ensemble, LISTENER.humd_id(), port).addCallback(lambda _: tripper.go()))


def fan(port: int, peers: int, count: int, per_turn: int, named: int) -> None:
    """
    Dial C{peers} plain 0.7.0 peers one after the other, then send every tone to all of them.

    :param named: 1: each gets it with its own id in C{to}; 0: it is gossip, the same for all.
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
    """Accept C{count} links, keep them, and say what they cost once asked on stdin."""
    raise_descriptor_limit(count + 64)
    ensemble = new_ensemble(LISTENER)
    before = resident()
    listen(ensemble)

    def measure() -> None:
        sys.stdin.readline()
        reactor.callFromThread(answer)

    def answer() -> None:
        if len(ensemble.peers()) < count:
            reactor.callLater(0.01, answer)
            return
        say(json.dumps({"links": count, "bytes": resident() - before}))

    reactor.callInThread(measure)


def crowd(port: int, count: int) -> None:
    """C{count} ensembles, each with a key and one link to the listener."""
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
        say(json.dumps({"links": count, "bytes": resident() - before}))

    or_stop(Deferred.fromCoroutine(all_of_them()))


def main(command: str, *rest: str) -> None:
    numbers = [int(text) for text in rest]
    match command:
        case "recv":
            ensemble = new_ensemble(LISTENER)
            ensemble.listener = Counter()
            listen(ensemble)
        case "echo":
            ensemble = new_ensemble(LISTENER)
            ensemble.listener = Echo(ensemble)
            listen(ensemble)
        case "send":
            send(*numbers)
        case "rtt":
            rtt(*numbers)
        case "fan":
            fan(*numbers)
        case "hold":
            hold(*numbers)
        case "crowd":
            crowd(*numbers)
        case _:
            raise SystemExit(__doc__)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
