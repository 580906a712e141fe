"""What the ensemble tells the one that decides what tones mean."""

from __future__ import annotations

from typing import Protocol

from ensemble.identity import HumdId
from ensemble.tone import Envelope, Qualifier


class MeshListener(Protocol):
    """Who decides what tones mean.  One per ensemble; called in the reactor thread, must not raise."""

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        """A tone for us.  Its ``from`` is ``peer``, except in gossip; its ``dusk`` may be past."""

    def peer_up(self, peer: HumdId) -> None:
        """``peer`` is linked; told before its first tone."""

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        """``peer`` was lost, or its link was replaced: whoever waits on it must be told (section 6.7)."""

    def peer_has_room(self, peer: HumdId) -> None:
        """The queue of ``peer`` is at most half full again."""

    def undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier) -> None:
        """A tone that ``Ensemble.send`` had accepted found no link after all."""
