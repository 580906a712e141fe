"""
Every schedule there is of two humds that do very little, for ``test_every_schedule.py``.

``crossing.py`` tries many long schedules by chance; here all short ones are tried, breadth first.  A `World` is small
enough to be copied before each thing that may happen next: a line is read, a deadline passes, a dial or an ask is made,
a connection breaks.  Worlds that differ only in when things happened, and not in their order, are looked at once.

So what is found comes with the shortest schedule that leads there.  Nothing in here is drawn by lot.
"""

from __future__ import annotations

import math
from copy import copy
from typing import Any, TypeAlias

import attrs
from attrs import define, evolve, field, frozen

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
from ensemble.protocols import DEADLINES, PENDING_SECONDS
from tests.mesh.crossing_world import LARGER, SMALLER

MOMENT = 0.001  # seconds that pass with each event: none is at the time of another
QUICK = 4.9  # seconds that a line is on its way at most, where the network is quick: less than SETTLE_SECONDS

Event: TypeAlias = tuple[Any, ...]  # what happens, as the name of a method of World, and to whom


class Broken(Exception):
    """A promise was."""


@frozen(kw_only=True)
class Budget:
    """
    How much may happen in one schedule.

    :ivar dials: of each side.
    :ivar asks: of each side; each is answered.
    :ivar cuts: connections that one side sees break, the other behind all that is on its way or at once.
    :ivar late: deadlines that pass while a line is on its way for longer than a quick network has it.
    """

    dials: tuple[int, int] = (1, 1)
    asks: tuple[int, int]
    cuts: int = 0
    late: int = 0
    proofs: bool = True


@frozen
class Line:
    """On its way, since so many seconds; ``number`` counts the tones of its writer, ``ask`` is that of an ask."""

    kind: str
    sent: float
    ask: int = 0
    number: int = 0


@define(eq=False)
class End:
    """One side of a connection."""

    dialled: bool
    began: float
    state: str  # nobody (has accepted it), pending, up, closed
    paused: bool = False
    wrote: bool = False
    said: bool = False  # goodbye
    inbox: list[Line] = field(factory=list)

    def copied(self) -> End:
        return evolve(self, inbox=self.inbox[:])


@define(eq=False)
class Side:
    """One humd.  Links are the numbers of their connections."""

    links: PeerLinks[int]
    heard: set[int]
    dials: int
    asks: int
    target: int | None = None
    held: list[Line] = field(factory=list)
    open: set[int] = field(factory=set)  # asks
    owed: list[int] = field(factory=list)  # answers
    written: int = 0
    read: int = 0  # the number of the last tone
    told: bool = False  # that the peer is up
    redial_at: float = 0.0

    def copied(self) -> Side:
        """What `PeerLinks` changes in place is copied; all else that it has is frozen."""
        new, links = copy(self), copy(self.links)
        new.links, new.heard = links, set(self.heard)
        new.held, new.open, new.owed = self.held[:], set(self.open), self.owed[:]
        links._heard = new.heard.__contains__
        links._order, links._contest, links._state = copy(links._order), copy(links._contest), copy(links._state)
        links._leaving = {link: copy(leaving) for link, leaving in links._leaving.items()}
        links._dials = dict(links._dials)
        return new


def flatten(value: Any, flat: list[Any]) -> None:
    """All that a world consists of, piece by piece."""
    kind = type(value)
    if kind in (list, tuple):
        flat.append(len(value))
        for each in value:
            flatten(each, flat)
    elif kind is dict:
        flatten(list(value.items()), flat)
    elif kind is set:
        flat.append(frozenset(value))
    elif kind is PeerLinks:
        flatten([value._state, value._leaving, value._dials], flat)
        flatten([getattr(value._order, name) for name in LinkOrder.__slots__], flat)
    elif attrs.has(kind):
        flat.append(kind)
        for name in kind.__attrs_attrs__:
            flatten(getattr(value, name.name), flat)
    else:
        flat.append(value)


class World:
    """Two humds, the smaller id first, and the connections between them."""

    def __init__(self, budget: Budget) -> None:
        self.now, self.late, self.proofs = 100.0, budget.late, budget.proofs
        self.connections = 0
        self.ends: dict[tuple[int, int], End] = {}  # by connection and side
        self.sides: list[Side] = []
        for ids, dials, asks in zip(((SMALLER, LARGER), (LARGER, SMALLER)), budget.dials, budget.asks, strict=True):
            heard: set[int] = set()
            links = PeerLinks[int](*ids, heard.__contains__, LinkOrder(), DEADLINES.link_close_seconds)
            self.sides.append(Side(links, heard, dials, asks))
        self.cuts = budget.cuts
        self.smooth = True  # nothing has gone wrong, and nothing took long

    def copied(self) -> World:
        new = copy(self)
        new.ends = {key: end.copied() for key, end in self.ends.items()}
        new.sides = [side.copied() for side in self.sides]
        return new

    def key(self) -> int:
        """The same for worlds that will go on alike: of times it has their order, and how long ago they were."""
        flat: list[Any] = []
        flatten([self.ends, self.sides, self.cuts, self.late, self.smooth], flat)
        times = sorted({each for each in flat if type(each) is float})
        rank = {each: (at, round(self.now - each, 1)) for at, each in enumerate(times)}
        return hash(tuple(rank[each] if type(each) is float else each for each in flat))

    # what may happen

    def next(self) -> tuple[list[Event], list[Event]]:
        """What happens sooner or later, and what may or may not."""
        must: list[Event] = [("answer", me) for me, side in enumerate(self.sides) if side.owed]
        may: list[Event] = []
        due: list[tuple[float, Event]] = []
        for (link, me), end in self.ends.items():
            if end.inbox and not end.paused:
                must.append(("read", link, me))
            if end.state != "closed" and end.inbox[1 - end.paused :] and end.inbox[-1].kind == "cut":
                may.append(("overtake", link, me))
            if end.state in ("pending", "up") and self.cuts:
                may.append(("cut", link, me))
            if end.state == "pending":
                due.append((end.began + PENDING_SECONDS, ("give_up", link, me)))
        for me, side in enumerate(self.sides):
            deadline = side.links.next_deadline()
            due += [(deadline, ("tick", me))] if deadline is not None else []
            if self.wants(me):
                must += [("dial", me)] if side.redial_at <= self.now else []
                due += [(side.redial_at, ("wait", me))] if side.redial_at > self.now else []
            may += [("ask", me)] if side.asks and side.links.up else []
        if due and (self.late > 0 or min(due)[0] - self.oldest() <= QUICK):
            must += [(*event, at) for at, event in due if at <= min(due)[0] + 0.05]
        return must, may

    def oldest(self) -> float:
        """When the line was sent that somebody could have read first."""
        ends = [end for end in self.ends.values() if end.inbox and not end.paused and end.state != "closed"]
        return min((end.inbox[0].sent for end in ends), default=math.inf)

    def wants(self, me: int) -> bool:
        dialling = any(end.dialled and end.state == "pending" for (_, one), end in self.ends.items() if one == me)
        return self.sides[me].dials > 0 and not self.sides[me].links.up and not dialling

    def after(self, event: Event) -> World:
        """:raises Broken: a promise was."""
        new = self.copied()
        new.now += MOMENT
        getattr(new, event[0])(*event[1:])
        new.ends = {
            (link, me): end
            for (link, me), end in new.ends.items()
            if not end.state == new.ends[link, 1 - me].state == "closed"
        }
        return new

    def dial(self, me: int) -> None:
        self.sides[me].dials -= 1
        self.connections += 1
        for one, state in ((me, "pending"), (1 - me, "nobody")):
            self.ends[self.connections, one] = End(one == me, self.now, state)
        self.send(self.connections, me, "hello 1")

    def send(self, link: int, me: int, kind: str, ask: int = 0, number: int = 0) -> None:
        inbox = self.ends[link, 1 - me].inbox
        if not inbox or inbox[-1].kind != "cut":
            inbox.append(Line(kind, float(round(self.now)), ask, number))

    def read(self, link: int, me: int) -> None:
        end, side = self.ends[link, me], self.sides[me]
        line = end.inbox.pop(0)
        if end.state == "closed":  # a kernel answers so
            if line.kind not in ("fin", "cut"):
                self.send(link, me, "cut")
        elif line.kind in ("fin", "cut"):
            self.gone(link, me, clean=line.kind == "fin")
        elif line.kind == "hello 1":
            end.state, end.began = "pending", self.now
            self.send(link, me, "hello 2")
            if not self.proofs:
                self.came_up(link, me)
        elif line.kind.startswith("hello"):
            if self.proofs and end.dialled:
                if side.links.up:
                    self.abort(link, me)
                    return
                self.send(link, me, "hello 3")
            self.came_up(link, me)
        elif line.kind == "goodbye":
            self.do(me, side.links.goodbye_read(link, "duplicate", self.now, wrote=end.wrote))
        else:
            self.read_tone(side, line)
            side.heard.add(link)

    def read_tone(self, side: Side, line: Line) -> None:
        if line.number <= side.read or (self.smooth and line.number != side.read + 1):
            raise Broken(f"{line} was read behind number {side.read}; nothing had gone wrong: {self.smooth}")
        side.read = line.number
        if line.kind == "ask":
            side.owed.append(line.ask)
        else:
            side.open.discard(line.ask)

    def came_up(self, link: int, me: int) -> None:
        """As `ensemble.mesh.peer.Peer` does it."""
        end, side = self.ends[link, me], self.sides[me]
        end.state, end.began, began = "up", 0.0, end.began
        about: dict[str, Any] = {"dialled": end.dialled, "level": 2, "instance": "a", "bye": True, "began": began}
        self.do(me, side.links.came_up(link, self.now, **about))
        for (dial, one), other in list(self.ends.items()):
            if one == me and other.dialled and other.state == "pending" and side.links.up:
                if self.proofs:
                    self.abort(dial, me)
                elif not end.dialled:
                    self.do(me, side.links.dial_committed(dial, self.now))

    def overtake(self, link: int, me: int) -> None:
        """The news that it is cut comes before what was sent sooner."""
        self.smooth = False
        self.gone(link, me, clean=False)

    def cut(self, link: int, me: int) -> None:
        self.cuts -= 1
        self.smooth = False
        self.abort(link, me)

    def give_up(self, link: int, me: int, at: float) -> None:
        self.wait(me, at)
        self.abort(link, me)

    def tick(self, me: int, at: float) -> None:
        self.wait(me, at)
        self.do(me, self.sides[me].links.tick(self.now))

    def wait(self, me: int, at: float) -> None:
        self.late -= at - self.oldest() > QUICK
        self.smooth = self.smooth and not any(end.inbox for end in self.ends.values())
        self.now = max(self.now, at)

    def ask(self, me: int) -> None:
        side = self.sides[me]
        side.asks -= 1
        side.open.add(side.written + 1)
        self.say(me, "ask", side.written + 1)

    def answer(self, me: int) -> None:
        self.say(me, "answer", self.sides[me].owed.pop(0))

    # what comes of it

    def say(self, me: int, kind: str, ask: int) -> None:
        side = self.sides[me]
        side.written += 1
        side.held.append(Line(kind, 0.0, ask, side.written))
        self.write(me)

    def write(self, me: int) -> None:
        side = self.sides[me]
        while side.held and side.target is not None:
            line, end = side.held.pop(0), self.ends[side.target, me]
            if end.said or end.state != "up":
                raise Broken(f"{line} is written on a link that is {end.state}, goodbye said: {end.said}")
            end.wrote = True
            self.send(side.target, me, line.kind, line.ask, line.number)

    def abort(self, link: int, me: int) -> None:
        if self.ends[link, me].state != "closed":
            self.send(link, me, "cut")
            self.gone(link, me, clean=False)

    def gone(self, link: int, me: int, clean: bool) -> None:
        end = self.ends[link, me]
        end.state, end.paused, end.began = "closed", False, 0.0
        end.inbox.clear()
        self.do(me, self.sides[me].links.lost(link, self.now, clean=clean))

    def do(self, me: int, actions: list[Action[int]]) -> None:
        side = self.sides[me]
        closed: list[int] = []
        for action in actions:
            if isinstance(action, WriteOn):
                side.target = action.link
                self.write(me)
            elif isinstance(action, PeerUp | PeerLost):
                self.tell(side, action)
            elif isinstance(action, SayGoodbye):
                self.send(action.link, me, "goodbye")
                self.ends[action.link, me].said = True
            elif isinstance(action, PauseReading | ResumeReading):
                self.ends[action.link, me].paused = isinstance(action, PauseReading)
            elif isinstance(action, CloseNow | Refuse | CloseDrained) and (action.link, me) in self.ends:
                end = self.ends[action.link, me]
                if end.state != "closed":
                    self.send(action.link, me, "fin" if isinstance(action, CloseDrained) else "cut")
                    end.state, end.paused, end.began = "closed", False, 0.0
                    end.inbox = end.inbox if isinstance(action, CloseDrained) else []
                    closed.append(action.link)
        for link in closed:
            self.do(me, side.links.lost(link, self.now))

    def tell(self, side: Side, action: PeerUp[int] | PeerLost) -> None:
        if side.told is isinstance(action, PeerUp):
            raise Broken(f"{action} is told twice")
        if isinstance(action, PeerLost):
            if self.smooth:
                raise Broken(f"{action} is told, and nothing had gone wrong")
            side.open.clear()
            side.owed.clear()
            side.held.clear()
            side.redial_at = self.now + 1.0
            side.told = False
        else:
            side.told, side.redial_at = True, 0.0

    def judge(self) -> None:
        """
        Nothing more happens by itself.

        :raises Broken: this is no good end.
        """
        for side in self.sides:
            if side.open or side.held or side.links.next_deadline() is not None:
                raise Broken(f"somebody waits for ever: {side}")
        if any(end.paused for end in self.ends.values()):
            raise Broken("a link is not read")
        links, targets = [side.links.links() for side in self.sides], [side.target for side in self.sides]
        if links[0] != links[1] or len(links[0]) > 1 or targets != [*links[0], None][:1] * 2:
            raise Broken(f"they have different links: {links}, {targets}")
        if self.smooth and [side.read for side in self.sides] != [side.written for side in self.sides[::-1]]:
            raise Broken("a tone was not read, and nothing had gone wrong")
