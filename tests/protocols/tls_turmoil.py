"""TLS wires on Twisted's own transport, for ``test_tls_turmoil``: anybody may do anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.errors import RemoteWireError
from ensemble.identity import HumdAddr, HumdId
from ensemble.interfaces import IWire, IWireSink
from ensemble.protocols import LineBudget, Porch
from ensemble.protocols.share import FLOW_BYTES
from ensemble.protocols.stream import StreamWire
from ensemble.protocols.tls import TlsWire
from ensemble.protocols.tls_sessions import TlsSessions
from tests.protocols.pretended import Socket, System
from tests.protocols.tls_far import Far
from tests.protocols.tls_peers import ALICE, BOB, EVE, Credential
from tests.protocols.tls_sealing import ALERT, APPLICATION, CLOSE_NOTIFY, HANDSHAKE

OURS = TlsSessions(BOB)
CREDENTIALS = [*[Credential.humd(ALICE)] * 6, Credential.humd(EVE), None]
MAX_LINE: Final = 2**15
PLACES: Final = 4  # on the porch
SIZES: Final = (1, 5, 6, 300, 2**14 - 1, 2**20)  # of what is carried at once, in bytes
CALLBACKS = ("admits", "built", "failed", "lines_received", "wire_full", "wire_drained", "line_refused", "wire_lost")
ACTIONS = ("write", "much", "pause", "resume", "close", "abort", "abort_another", "raise", "refuse", "late", "limit")
PARTS = (b"\x18\0\0\x01\0", b"\x18\0\0\x01\1", b"\x18\0\0\x01", b"\0", b"\x04\0", b"\x18\0\0\x01\7", b"\x01\0\0\0")
PLAIN_ALERT = b"\x15\x03\x03\0\x02\x01"  # a warning; what follows says which

Step: TypeAlias = tuple[str, int, int]  # what, who, how


class Planned(Exception):
    """A bug of somebody else, as the reactor gets it."""


@implementer(IWireSink)
class Owner:
    """Who has one wire of ours, and judges what it is told."""

    def __init__(self, play: Play, number: int, plan: dict[str, str], dialled: bool) -> None:
        self.play, self.plan, self.dialled = play, plan, dialled
        self.events: list[str] = []
        self.lines: list[bytes] = []
        self.written = b""
        self.clean: bool | None = None
        self.left = self.paused = self.full = self.limited = self.started = False
        self._inside = ""
        self.wire = TlsWire(
            play.clock,
            self._built,
            self._failed,
            OURS,
            peer=HumdAddr(ALICE.humd_id()) if dialled else None,
            admits=None if dialled else self._admits,
            porch=None if dialled else play.porch,
            budget=play.budget,
            max_line=MAX_LINE,
        )
        self.system = System()
        self.socket = Socket(play.clock, self.system, self.wire, number)
        credential = CREDENTIALS[number % len(CREDENTIALS)]
        self.far = Far(Credential.humd(EVE) if dialled and credential is None else credential, dialled)
        self.alice = credential is CREDENTIALS[0]

    @property
    def open(self) -> bool:
        """What is written now leaves."""
        return not self.left and bool(self.socket.connected) and not self.socket.disconnecting

    @property
    def waits(self) -> bool:
        """It is on the porch."""
        return self.wire in self.play.here and self.wire._session is None

    def call(self, name: str, *given: Any) -> None:
        """Call the wire."""
        before, self._inside = self._inside, name
        getattr(self.wire, name)(*given)
        self._inside = before

    def do(self, action: str) -> None:
        if action in ("write", "much"):
            if self.wire.shaking:
                return  # nobody has it yet
            lines = [b"%d" % len(self.written)] if action == "write" else [b"y" * 50_000] * 4
            if self.open:
                self.written += b"\n".join((*lines, b""))
            self.call("write", lines)
        elif action in ("close", "abort"):
            self.left = self.left or "wire_lost" not in self.events
            self.call(action)
        elif action in ("pause", "resume"):
            self.paused = action == "pause"
            self.call(action)
        elif action == "limit":
            self.limited = True
            self.call("limit_total", 2000)
        elif action == "late" and "built" in self.events and not self.started:
            self.started = True
            self.call("start", self)
        elif action == "abort_another":
            self.play.owners[len(self.events) % len(self.play.owners)].do("abort")

    def _told(self, event: str) -> str:
        """:returns: what is planned for it."""
        assert not self._inside or (self._inside, event) == ("write", "wire_full"), (self._inside, event)
        assert "wire_lost" not in self.events, event
        self.events.append(event)
        action = self.plan.get(event, "")
        self.do(action)
        if action == "raise":
            raise Planned("a bug")
        return action

    # of the handshake

    def _admits(self, leaf: HumdId | None, _: object) -> str | None:
        assert not self.left and self.wire.shaking
        self.play.clock.rightNow += 0.02  # seconds, as when we work
        return "no" if self._told("admits") == "refuse" or leaf != ALICE.humd_id() else None

    def _built(self, wire: StreamWire) -> None:
        assert self.alice and not self.left and not self.wire.shaking and "failed" not in self.events
        assert wire.binding.startswith("tls-") and wire.leaf == ALICE.humd_id()
        self.events.append("built")
        self.play.here.discard(wire)
        if self.plan.get("built") != "late":
            self.started = True
            wire.start(self)
        self.events.remove("built")  # and not what it was told meanwhile
        self._told("built")

    def _failed(self, counter: str, cause: str, address: str) -> None:
        assert cause and address == self.wire.address
        assert not self.left and "built" not in self.events and "failed" not in self.events
        self.play.clock.rightNow += 0.02
        if self.plan.get("failed") != "raise":
            self._told("failed")
        else:
            self.events.append("failed")

    # IWireSink

    def lines_received(self, lines: list[bytes]) -> None:
        assert lines and all(lines) and not self.left and not self.paused and "line_refused" not in self.events
        self.lines += lines
        self._told("lines_received")

    def bytes_trickled(self) -> None:
        assert not self.left and not self.paused and not self._inside

    def line_refused(self, error: RemoteWireError) -> None:
        assert "line_refused" not in self.events
        self._told("line_refused")

    def wire_full(self) -> None:
        assert not self.full and not self.left
        self.full = True
        self._told("wire_full")

    def wire_drained(self) -> None:
        assert self.full and not self.left
        self.full = False
        self._told("wire_drained")

    def wire_lost(self, reason: str, clean: bool) -> None:
        assert reason and self.started
        self.clean = clean
        self._told("wire_lost")


class Play:
    """One porch, and what comes to it; we dial, too."""

    def __init__(self) -> None:
        self.clock = MemoryReactorClock()
        self.budget = LineBudget(3 * MAX_LINE)
        self.flowing = False
        self.porch = Porch(self.clock, self, traffic=self._traffic, handshake_percent=50)
        self.owners: list[Owner] = []
        self.here: set[object] = set()
        self.came_all: list[IWire] = []
        self.plan: dict[str, str] = {}

    def _traffic(self) -> int:
        return self.flowing * FLOW_BYTES

    # Host

    def has_room(self, address: str) -> bool:
        return True

    def came(self, wire: IWire) -> None:
        assert wire not in self.came_all
        self.came_all.append(wire)
        if len(self.here) == PLACES:
            oldest = next(owner for owner in self.owners if owner.wire in self.here)
            oldest.do("abort")
        self.here.add(wire)

    def gone(self, wire: IWire) -> None:
        assert wire in self.came_all
        self.here.discard(wire)

    # steps

    def come(self, who: int, how: int) -> None:
        owner = Owner(self, who, self.plan, dialled=how % 2 == 1)
        self.plan = {}
        self.owners.append(owner)
        owner.system.room = 2**30 if how % 8 else 100
        self._reacted(owner, lambda: owner.wire.makeConnection(owner.socket))
        if "admits" not in owner.events and owner.dialled:
            owner.socket.startReading()
        elif not owner.dialled:
            assert owner.socket not in self.clock.readers

    def expect(self, who: int, how: int) -> None:
        """Whoever comes next does this when it is told that."""
        self.plan[CALLBACKS[who % len(CALLBACKS)]] = ACTIONS[how % len(ACTIONS)]

    def carry(self, owner: Owner, how: int) -> None:
        """Some of what we sent arrives."""
        size = SIZES[how % len(SIZES)]
        data = bytes(owner.system.taken[:size])
        del owner.system.taken[:size]
        if data:
            owner.far.hear(data)

    def give(self, owner: Owner, how: int) -> None:
        """Some of what they sent arrives; what is sent at once is read in one turn or in many."""
        size = SIZES[how % len(SIZES)]
        owner.system.coming += owner.far.going[:size]
        del owner.far.going[:size]
        self.turn()

    def flow(self, owner: Owner, how: int) -> None:
        """All arrives."""
        owner.far.whole()
        owner.system.room = 2**30
        for _ in range(12):
            self.carry(owner, -1)
            self.give(owner, -1)
            self.clock.advance(0.01)
        self.carry(owner, -1)
        if owner.far.honest and owner.far.sealer is not None and owner.open:
            refused = "line_refused" in owner.events  # then a message in pieces is never read to its end
            assert owner.far.heard == owner.written or (refused and owner.wire._unsealed is not None)
            if owner.started and not (owner.paused or owner.limited or "line_refused" in owner.events):
                assert owner.lines == owner.far.said.split(b"\n")[:-1]

    def say(self, owner: Owner, how: int) -> None:
        count, long = (1, 2, 30)[how % 3], (0, 0, 3000)[how // 3 % 3]
        begun = owner.far.said.count(b"\n")
        said = b"".join(b"%d:%s\n" % (begun + number, b"x" * long) for number in range(count))
        owner.far.say(said[:-1] if how % 7 == 0 else said, (1, 10, 2**14)[how // 9 % 3])
        if how % 2:
            self.give(owner, -1)

    def long_line(self, owner: Owner, how: int) -> None:
        owner.far.say(b"z" * (MAX_LINE // (how % 3 + 1)), 2**14)

    def message(self, owner: Owner, how: int) -> None:
        """A message of TLS's own, or part of one, or much of it."""
        part = PARTS[how % len(PARTS)]
        owner.far.honest = False  # its own keys change, or it broke a rule
        for _ in range((1, 1, 70)[how // 7 % 3]):
            owner.far.tls(part, HANDSHAKE)
            sealer = owner.far.sealer
            if sealer is not None and len(part) == 5 and part[-1] < 2:
                sealer.next_key()

    def pieces(self, owner: Owner, how: int) -> None:
        """A change of its keys, cut into records."""
        owner.far.update(how % 4 + 1)
        if how // 4 % 2:
            self.give(owner, -1)

    def alert(self, owner: Owner, how: int) -> None:
        """An end, maybe with a user_canceled before it; or an alert that is none."""
        if how % 3 == 1:
            owner.far.tls(b"\x01\x5a", ALERT)
        if how % 3:
            owner.far.tls(CLOSE_NOTIFY, ALERT)
            owner.far.ended = True
        elif how % 2:
            owner.far.tls(b"\x01\x5a", ALERT)
        else:
            owner.far.honest = False
            owner.far.tls((b"\x02\x28", b"\x01\x64", b"\x02")[how // 6 % 3], ALERT)

    def empty(self, owner: Owner, how: int) -> None:
        owner.far.tls(b"", APPLICATION)

    def garbage(self, owner: Owner, how: int) -> None:
        """A byte on its way is changed, or something comes that is no record."""
        owner.far.honest = False
        going = owner.far.going
        if going and how % 2:
            going[how * 37 % len(going)] ^= 1 + how
        else:
            going += (bytes([how]) * 5, bytes(600), PLAIN_ALERT + b"\x5a" + PLAIN_ALERT + b"\0")[how // 2 % 3]

    def end(self, owner: Owner, how: int) -> None:
        """TCP ends, in order or not."""
        owner.system.ended = True
        owner.system.reset = how % 3 == 0
        self.turn()

    def stall(self, owner: Owner, how: int) -> None:
        """The socket takes so much and no more."""
        owner.system.room = (0, 3, 2000, 2**30)[how % 4]
        self.turn()

    def wire(self, owner: Owner, how: int) -> None:
        """We do something by ourselves."""
        action = ACTIONS[how % len(ACTIONS)]
        if "built" in owner.events or action in ("close", "abort"):
            owner.do(action)

    def write(self, owner: Owner, how: int) -> None:
        owner.do("much" if how % 3 else "write")

    def time(self, owner: Owner, how: int) -> None:
        self.pass_time((0.0, 0.1, 2.0, 5.0, 10.0, 61.0)[how % 6])

    def tones(self, owner: Owner, how: int) -> None:
        """They begin or cease to flow: a share binds, or not."""
        self.flowing = not self.flowing

    def step(self, what: str, who: int, how: int) -> None:
        if what in ("come", "expect") or not self.owners:
            (self.expect if what == "expect" else self.come)(who, how)
        else:
            getattr(self, what)(self.owners[-1 - who % min(3, len(self.owners))], how)
        for owner in self.owners:
            held = owner.wire._held
            assert len(held) <= owner.socket.bufferSize * 2, len(held)
        assert len(self.porch) == sum(owner.waits for owner in self.owners)

    # the reactor

    def turn(self) -> None:
        """Each socket is read and written once."""
        for owner in list(self.owners):
            if owner.socket in self.clock.readers and owner.system.readable:
                self._reacted(owner, owner.socket.doRead)
            if owner.socket in self.clock.writers and (owner.system.room or owner.system.reset):
                self._reacted(owner, owner.socket.doWrite)
        self._ran(0)

    def pass_time(self, seconds: float) -> None:
        while seconds > 0.3:
            self._ran(0.3)
            seconds -= 0.3
        self._ran(seconds)
        self.turn()

    def _ran(self, seconds: float) -> None:
        try:
            self.clock.advance(seconds)
        except Planned:
            self.clock.advance(0)

    def _reacted(self, owner: Owner, step: Callable[[], Any]) -> None:
        try:
            why = step()
        except Planned as error:
            why = error
        if why is not None:
            self.clock.removeReader(owner.socket)
            self.clock.removeWriter(owner.socket)
            try:
                owner.socket.connectionLost(Failure(why))
            except Planned:
                pass

    def finish(self) -> None:
        """Whoever shakes hands has ten seconds; then we end what is left, this way or that."""
        self.pass_time(11.0)
        assert not self.here, "a handshake that never ends"
        for number, owner in enumerate(self.owners):
            if owner.wire.shaking:
                assert owner.dialled
            if "built" in owner.events and not owner.started:
                owner.do("late")
            owner.plan = {}
            if not owner.left:
                owner.do("abort" if number % 2 else "close")
        self.pass_time(6.0)
