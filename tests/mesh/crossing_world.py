"""
A world of two humds, random delays and numbered tones, for ``crossing.py``: time, connections, and the owners of links.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from attrs import define, field, frozen

from ensemble.identity import HumdId
from ensemble.mesh.link_actions import (
    Action,
    CloseDrained,
    CloseNow,
    PauseReading,
    PeerLost,
    PeerUp,
    Refuse,
    ResumeReading,
    SayGoodbye,
    WriteOn,
)
from ensemble.mesh.link_order import LinkOrder
from ensemble.mesh.peer_links import PeerLinks
from ensemble.protocols import PENDING_SECONDS

SMALLER, LARGER = HumdId(b"\x01" * 32), HumdId(b"\x02" * 32)
QUIET = 200.0  # seconds: long after the last ask, and after every deadline


@frozen
class Line:
    """
    What travels: a handshake line, a goodbye, an ask or an answer.

    :ivar era: counts the restarts of its writer, and the losses that it was told of.
    :ivar number: counts the tones of its writer since it started.
    """

    kind: str
    ask: int = 0
    era: tuple[int, int] = (0, 0)
    number: int = 0


FIN = Line("fin")
CUT = Line("cut")


class World:
    """
    Time, and what is to happen.

    :ivar slow: seconds: the longest delay of one line.
    :ivar proofs: the dialler is up first, else the listener.
    :ivar close_seconds: an orderly close that takes longer is cut.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.slow = self.random.choice([0.001, 0.05, 0.4, 1.6])
        self.proofs = self.random.random() < 0.7
        self.close_seconds = self.random.choice([1, 30, 600])
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._events, (max(when, self.now), self._count, what))

    def delay(self, part: float = 1.0) -> float:
        return self.random.uniform(0, part * self.slow)

    def run(self) -> None:
        while self._events and self._events[0][0] <= QUIET:
            self.now, _, what = heappop(self._events)
            what()


@define(eq=False)
class End:
    """One side of a connection.  A closed end delivers nothing more."""

    world: World
    node: Node
    dialled: bool
    other: End = field(init=False)
    incarnation: int = 0  # of the node
    lag: float = 1.0  # how slow what it sends is, in parts of the slowest
    began: float = 0.0
    state: str = "pending"  # up, closed
    paused: bool = False
    heard: bool = False  # a tone was read
    inbox: deque[Line] = field(factory=deque)
    arrives: float = 0.0  # when the last line that we sent does

    def send(self, line: Line) -> None:
        if self.state != "closed":
            self.arrives = max(self.arrives, self.world.now + self.world.delay(self.lag))
            self.world.at(self.arrives, lambda: self.other.take(line))

    def take(self, line: Line) -> None:
        if self.state == "closed":
            if line not in (FIN, CUT):  # a kernel answers so to data for a closed socket
                self.world.at(self.world.now + self.world.delay(), self.other.broken)
            return
        if not self.began:
            self.began = self.world.now
            self.world.at(self.began + PENDING_SECONDS, self.late)
        self.inbox.append(line)
        self.drain()

    def drain(self) -> None:
        while self.inbox and not self.paused and self.state != "closed":
            line = self.inbox.popleft()
            if line is CUT:
                self.over()
            elif line is FIN:
                self.state = "closed"
                self.other.state = "closed"
                self.node.gone(self, clean=True)
            elif line.kind.startswith("hello"):
                self.node.shake(self, line)
            else:
                self.node.read(self, line)

    def late(self) -> None:
        if self.state == "pending":
            self.abort()

    def close(self) -> None:
        if self.inbox:
            self.abort()  # a kernel resets where something is unread
        elif self.state != "closed":
            self.send(FIN)
            self.state = "closed"
            self.world.at(self.world.now, lambda: self.node.gone(self, clean=True))

    def abort(self) -> None:
        if self.state != "closed":
            self.over()
            self.world.at(self.world.now + self.world.delay(), self.other.broken)

    def broken(self) -> None:
        """The other side, or the network, reset it: a side that does not read may notice no sooner than it reads."""
        if self.paused and self.world.random.random() < 0.5:
            self.inbox.append(CUT)
            return
        self.inbox.clear()
        self.over()

    def cut(self) -> None:
        """The network ends it behind all that is on its way to us, and the other side knows nothing of it."""
        self.world.at(self.other.arrives, lambda: self.take(CUT))

    def over(self) -> None:
        if self.state != "closed":
            self.state = "closed"
            self.inbox.clear()
            self.world.at(self.world.now, lambda: self.node.gone(self, clean=False))


class Node:
    """One humd: the owner of a `PeerLinks`, with somebody who asks and somebody who answers."""

    def __init__(self, world: World, me: HumdId, peer: HumdId, obey: bool, redials: bool) -> None:
        self.world, self.me, self.peer = world, me, peer
        self.obey, self.redials = obey, redials
        self.eager = world.random.randrange(6)  # asks as soon as the peer is up
        self.other: Node
        self.broken: list[str] = []  # promises
        self.incarnation = 0
        self.boot()

    def boot(self) -> None:
        self.incarnation += 1
        self.links: PeerLinks[End] = PeerLinks(
            self.me, self.peer, lambda end: end.heard, LinkOrder(), self.world.close_seconds
        )
        self.ends: list[End] = []
        self.target: End | None = None
        self.held: list[Line] = []
        self.open: set[int] = set()
        self.asked = self.answered = self.written = 0
        self.read_last = Line("none")
        self.read_all: set[Line] = set()
        self.told = 0

    # dialling

    def dial(self) -> None:
        if self.links.up or any(end.dialled and end.state == "pending" for end in self.ends):
            return
        end, there = End(self.world, self, True), End(self.world, self.other, False)
        end.other, there.other = there, end
        end.incarnation, there.incarnation = self.incarnation, self.other.incarnation
        end.lag, there.lag = (self.world.random.choice([0.05, 0.3, 1.0]) for _ in range(2))
        end.began = self.world.now
        self.ends.append(end)
        self.other.ends.append(there)
        self.world.at(end.began + PENDING_SECONDS, end.late)
        end.send(Line("hello 1"))
        if not self.world.proofs:
            self.do(self.links.dial_committed(end, self.world.now))

    def shake(self, end: End, line: Line) -> None:
        if line.kind == "hello 1":
            end.send(Line("hello 2"))
            if not self.world.proofs:
                self.came_up(end)
        elif line.kind == "hello 2":
            if self.world.proofs:
                if self.links.up and self.obey:
                    end.abort()
                    return
                end.send(Line("hello 3"))
            self.came_up(end)
        else:
            self.came_up(end)

    def came_up(self, end: End) -> None:
        end.state = "up"
        self.do(
            self.links.came_up(
                end,
                self.world.now,
                dialled=end.dialled,
                level=2,
                instance=f"{end.other.node.me.short} {end.other.incarnation}",
                bye=True,
                began=end.began,
            )
        )

    def gone(self, end: End, clean: bool) -> None:
        if end in self.ends:
            self.ends.remove(end)
            self.do(self.links.lost(end, self.world.now, clean=clean))

    # tones

    def ask(self) -> None:
        if self.links.up:
            self.asked += 1
            self.open.add(self.asked)
            self.say("ask", self.asked)

    def answer(self, ask: int, era: tuple[int, int]) -> None:
        if (self.incarnation, self.told) == era:
            self.say("answer", ask)

    def say(self, kind: str, ask: int) -> None:
        self.written += 1
        line = Line(kind, ask, (self.incarnation, self.told), self.written)
        if self.target is not None:
            self.target.send(line)
        else:
            self.held.append(line)

    def read(self, end: End, line: Line) -> None:
        if line.kind == "goodbye":
            self.do(self.links.goodbye_read(end, "duplicate", self.world.now))
            return
        if end is not self.target and end.state != "up":
            self.broken.append("a tone was read from a link that is not up")
        end.heard = True
        last, self.read_last = self.read_last, line
        if line in self.read_all or (line.era[0], line.number) < (last.era[0], last.number):
            self.broken.append(f"{line} was read behind {last}")
        elif self.smooth and line.number != last.number + 1:
            self.broken.append(f"between {last} and {line} there are others")
        self.read_all.add(line)
        if line.kind == "ask":
            self.answered += 1
            think, era = self.world.random.expovariate(2.0), (self.incarnation, self.told)
            self.world.at(self.world.now + think, lambda: self.answer(line.ask, era))
        else:
            self.open.discard(line.ask)

    @property
    def smooth(self) -> bool:
        return not self.redials

    # actions

    def do(self, actions: list[Action[End]]) -> None:
        for action in actions:
            if isinstance(action, WriteOn):
                self.target = action.link
                while self.held and self.target is not None:
                    self.target.send(self.held.pop(0))
            elif isinstance(action, CloseNow | Refuse):
                action.link.abort()
            elif isinstance(action, CloseDrained):
                action.link.close()
            elif isinstance(action, SayGoodbye):
                action.link.send(Line("goodbye"))
            elif isinstance(action, PauseReading):
                action.link.paused = True
            elif isinstance(action, ResumeReading):
                action.link.paused = False
                self.world.at(self.world.now, action.link.drain)
            elif isinstance(action, PeerLost):
                self.lost()
            elif isinstance(action, PeerUp):
                for _ in range(self.eager):
                    self.world.at(self.world.now + self.world.delay(), self.ask)
        deadline = self.links.next_deadline()
        if deadline is not None:
            links = self.links
            self.world.at(deadline, lambda: self.tick(links))

    def tick(self, links: PeerLinks[End]) -> None:
        deadline = links.next_deadline()
        if links is self.links and deadline is not None and deadline <= self.world.now:
            self.do(links.tick(self.world.now))

    def lost(self) -> None:
        self.told += 1
        self.open.clear()
        self.held.clear()
        if self.redials:
            self.world.at(self.world.now + self.world.random.uniform(1.0, 1.5), self.dial)
