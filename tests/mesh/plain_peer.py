"""A peer that is nothing but a wire: it says what a test tells it to, as a 0.7.0 peer or an attacker would."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from ensemble.errors import RemoteWireError
from ensemble.identity import HumdId, HumdKey, Use, signed_bytes
from ensemble.interfaces import IWireSink
from ensemble.mesh import Ensemble
from ensemble.protocols import InMemoryEndpoint
from ensemble.testing import World
from ensemble.tone import decode, encode


@implementer(IWireSink)
class Ear:
    """
    One end of a wire, for a test that speaks for itself.

    :ivar heard: every tone that came, decoded.
    :ivar lost: why the wire ended, or None.
    """

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.lost: str | None = None

    def lines_received(self, lines: list[bytes]) -> None:
        self.heard += [decode(line) for line in lines]

    def bytes_trickled(self) -> None:
        pass

    def line_refused(self, error: RemoteWireError) -> None:
        self.lost = str(error)

    def wire_full(self) -> None:
        pass

    def wire_drained(self) -> None:
        pass

    def wire_lost(self, reason: str, clean: bool) -> None:
        self.lost = reason


class PlainPeer(Ear):
    """One end of a memory wire to an ensemble."""

    def __init__(self, world: World, other: Ensemble, key: HumdKey | None = None, dials: bool = True) -> None:
        super().__init__()
        self.world, self.key = world, key if key is not None else world.key()
        self.id: HumdId = self.key.humd_id()
        near, far = InMemoryEndpoint.pair(
            *((self.id, None, other.me, None) if dials else (other.me, None, self.id, None)), world.clock
        )
        self.wire, theirs = (near, far) if dials else (far, near)
        if dials:
            theirs.peer = None  # an accepted wire: nothing is known of who dialled
        self.outcome = other.install(theirs)
        self.outcome.addErrback(lambda failure: failure.value)
        self.wire.start(self)
        world.settle()

    def say(self, *tones: dict[str, Any] | bytes) -> None:
        """Send tones, or lines, and let everything happen that happens at once."""
        self.wire.write([tone if isinstance(tone, bytes) else encode(tone) for tone in tones])
        self.world.settle()

    def hello(self, signed: bool = False, **changes: Any) -> dict[str, Any]:
        """The hello of a 0.7.0 peer."""
        tone: dict[str, Any] = {
            "chi": "hello",
            "rid": f"hello-{self.id.short}",
            "from": self.id.full,
            "humd_id": self.id.full,
            "proto_version": "0.7.0",
            "nests": ["claude-cli"],
            "hosts": [],
            "can_relay": False,
            "free_slots": 4,
        }
        if signed:
            at = int(self.world.wall() * 1000)
            message = signed_bytes(Use.HANDSHAKE, self.id.full, str(at))
            tone |= {"pubkey": self.key.public.hex(), "signed_at": at, "signature": self.key.sign(message).hex()}
        return tone | changes

    def last(self, chi: str) -> dict[str, Any] | None:
        """The last tone of a kind that came."""
        return next((tone for tone in reversed(self.heard) if tone["chi"] == chi), None)
