"""What a mesh listener is told."""

from __future__ import annotations

from typing import Any

from ensemble.identity import HumdId
from ensemble.mesh import Ensemble
from ensemble.tone import Envelope, Qualifier


class Diary:
    """A mesh listener that writes down what it is told, and may do something about it."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.senders: list[object] = []
        self.losses: list[tuple[HumdId, str]] = []
        self.on_lost: Any = lambda peer: None
        ensemble.listener = self

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        self.told.append(("tone", envelope.rid))
        self.senders.append(envelope.sender)

    def garbled(self, peer: HumdId, envelope: Envelope, cause: str) -> None:
        self.told.append(("garbled", envelope.chi, envelope.sid, cause))

    def peer_up(self, peer: HumdId) -> None:
        self.told.append(("up",))

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        self.told.append(("lost",))
        self.losses.append((peer, reason))
        self.on_lost(peer)

    def peer_has_room(self, peer: HumdId) -> None:
        self.told.append(("room",))

    def undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier) -> None:
        self.told.append(("undelivered", qualifier.value))
