"""The delivery core on a table: say something, see who gets what."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from twisted.trial.unittest import SynchronousTestCase

from ensemble.conversations import Drop, Notice, Output, Routes, Side, ToClient, ToPeer, WaitingChanged
from ensemble.hives import Roster
from ensemble.identity import HumdId
from ensemble.tone import Qualifier, peek

ME = HumdId(b"\x01" * 32)
P = HumdId(b"\x02" * 32)  # two peers
Q = HumdId(b"\x03" * 32)

Got: TypeAlias = tuple[Side, dict[str, Any]]


def line_of(chi: str, **tone: Any) -> bytes:
    """``from_`` stands for the key that Python will not have."""
    if "from_" in tone:
        tone["from"] = tone.pop("from_")
    return json.dumps({"chi": chi, **tone}, separators=(",", ":")).encode()


class Desk:
    """
    A core, its roster, and two clocks that stand still.

    :ivar outputs: of the latest input.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1700000000000
        self.roster = Roster()
        self.routes = Routes(ME, self.roster, lambda: self.wall, home="/home/me")
        self.outputs: list[Output] = []

    # inputs

    def bee(self, client: str, **hello: Any) -> None:
        """A client says hello."""
        self.take(self.routes.client_hello(client, {"chi": "hello", "hive": client, **hello}))

    def worker(self, client: str, *models: str, **more: Any) -> None:
        """A client says that it is a worker for ``models`` (default: the default model)."""
        self.bee(client, bee=["worker"], models=list(models or ("sonnet",)), **more)

    def forager(self, client: str, *tools: str, **more: Any) -> None:
        """A client says that it is a forager with these tools."""
        self.bee(client, bee=["forager"], tools=[{"name": tool} for tool in tools], **more)

    def said(self, client: str, chi: str, **tone: Any) -> list[Got]:
        """A local client says something; who gets what?"""
        return self.said_line(client, line_of(chi, **tone))

    def said_line(self, client: str, line: bytes) -> list[Got]:
        """The same with the bytes."""
        piece = self.routes.piece(client, peek(line), line)
        return self.take(self.routes.from_client(client, peek(line), line, self.now), piece)

    def heard(self, peer: HumdId, chi: str, **tone: Any) -> list[Got]:
        """A peer says something, as its link hands it over; who gets what?"""
        return self.heard_line(peer, line_of(chi, from_=peer.full, **tone))

    def heard_line(self, peer: HumdId, line: bytes) -> list[Got]:
        """The same with the bytes."""
        piece = self.routes.piece(peer, peek(line), line)
        return self.take(self.routes.from_peer(peer, peek(line), line, self.now), piece)

    def left(self, client: str) -> list[Got]:
        """A local client is gone."""
        return self.take(self.routes.client_left(client))

    def lost(self, peer: HumdId) -> list[Got]:
        """A peer is lost."""
        return self.take(self.routes.peer_lost(peer, "cut off"))

    def fail(self, qualifier: Qualifier = Qualifier.QUEUE_FULL, output: Output | None = None) -> list[Got]:
        """An output, by default the only line of the latest, could not be handed over."""
        if output is None:
            (output,) = self.lines
        assert isinstance(output, (ToClient, ToPeer))
        return self.take(self.routes.delivery_failed(output, qualifier, "it did not fit"))

    # what came of it

    @property
    def lines(self) -> list[ToClient | ToPeer]:
        """The lines among the latest outputs."""
        return [output for output in self.outputs if isinstance(output, (ToClient, ToPeer))]

    @property
    def drops(self) -> list[str]:
        """The counters of what the latest input dropped."""
        return [output.counter for output in self.outputs if isinstance(output, Drop)]

    @property
    def notices(self) -> list[Notice]:
        """What the latest input wants in the log."""
        return [output for output in self.outputs if isinstance(output, Notice)]

    @property
    def waiting(self) -> dict[HumdId, bool]:
        """What the latest input changed for liveness."""
        changed = [output.peer for output in self.outputs if isinstance(output, WaitingChanged)]
        return {peer: self.routes.waiting_on(peer) for peer in changed}

    def take(self, outputs: list[Output], piece: Output | None = None) -> list[Got]:
        """
        What these outputs come to.

        :param piece: what was said at a glance; a closer look must say the same.
        """
        assert piece is None or outputs == [piece], (outputs, piece)
        self.outputs = outputs
        return [got(output) for output in self.lines]


class DeskTestCase(SynchronousTestCase):
    """Each test begins with a fresh desk."""

    def setUp(self) -> None:
        self.desk = Desk()


class WorkerTestCase(DeskTestCase):
    """The same, with one worker."""

    def setUp(self) -> None:
        super().setUp()
        self.desk.worker("w")


def got(output: ToClient | ToPeer) -> Got:
    """Who gets what; a line for a peer must say that it is from us to it, which is then left out."""
    tone = json.loads(output.line)
    if isinstance(output, ToClient):
        return output.client_id, tone
    assert tone.pop("from") == ME.full, tone
    assert tone.pop("to") == output.peer.full, tone
    return output.peer, tone


def to(found: list[Got]) -> list[Side]:
    """Who gets something."""
    return [side for side, _ in found]


def errors(found: list[Got]) -> list[tuple[Side, str, dict[str, Any]]]:
    """All as errors: to whom, qualifier, keys.  Each must have a message for people."""
    out = []
    for side, tone in found:
        assert tone.pop("chi") == "error", tone
        assert len(tone.pop("message")) > 10, tone
        out.append((side, tone.pop("qualifier"), tone))
    return out
