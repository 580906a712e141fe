"""What the ensemble tells the one that decides what tones mean."""

from __future__ import annotations

from typing import Protocol

from ensemble.identity import HumdId
from ensemble.tone import Envelope, Qualifier


class MeshListener(Protocol):
    """
    Who decides what tones mean.  One per ensemble; called in the reactor thread, must not raise.

    It may call whatever the ensemble has from in here.  What it raises in `tone_arrived` is logged and ends the link,
    elsewhere it is logged.
    """

    def tone_arrived(self, peer: HumdId, envelope: Envelope, line: bytes) -> None:
        """
        A tone for us.  Its ``from`` is ``peer``, except in gossip; its ``dusk`` may be past.

        :param line: what `ensemble.tone.decode_checked` reads the whole of.
        """

    def garbled(self, peer: HumdId, envelope: Envelope, cause: str) -> None:
        """A line of ``peer`` is no tone, for ``cause``; ``envelope`` is what could be read of it."""

    def peer_up(self, peer: HumdId) -> None:
        """``peer`` is linked; told before its first tone."""

    def peer_lost(self, peer: HumdId, reason: str) -> None:
        """
        ``peer`` was lost, or its link was replaced: whoever waits on it must be told (section 6.7).

        What is asked of it from in here may be taken, where the new link is up already.

        :param reason: for people.
        """

    def peer_has_room(self, peer: HumdId) -> None:
        """The queue of ``peer`` is at most half full again: after a `QueueFull`, or a ``send`` that said True."""

    def undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier) -> None:
        """
        A tone that ``Ensemble.send`` or ``route`` had accepted found no link after all.

        :param line: as it was sent.
        :param qualifier: why, as for an error tone.
        """
