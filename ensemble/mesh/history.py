"""What is remembered of peers beyond their links, for people: why the last one was lost, and who may be two."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ensemble.identity import HumdId
from ensemble.mesh.defaults import CONTESTED, CONTESTED_SECONDS

LOSSES: Final = 4096  # peers that are away of which it is known why, at once


@frozen
class Loss:
    """
    A peer was lost, and has not come back.

    :ivar at: seconds on the clock of the ensemble.
    """

    reason: str
    at: float


class History:
    """Of one ensemble; the oldest is forgotten where it would be too much."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._losses: dict[HumdId, Loss] = {}
        self._contested: dict[HumdId, float] = {}  # since when; the latest last

    def came_up(self, peer: HumdId) -> None:
        """It is linked."""
        self._losses.pop(peer, None)

    def lost(self, peer: HumdId, reason: str) -> None:
        """It is not linked any more."""
        _make_room(self._losses, peer, LOSSES)
        self._losses[peer] = Loss(reason, self._clock.seconds())

    def loss(self, peer: HumdId) -> Loss | None:
        """Why ``peer`` is away; None where it is linked, or never was, or nobody remembers."""
        return self._losses.get(peer)

    def two_processes(self, peer: HumdId) -> None:
        """Its links replaced each other as if two processes had its key."""
        _make_room(self._contested, peer, CONTESTED)
        self._contested[peer] = self._clock.seconds()

    def contested(self, peer: HumdId) -> bool:
        """True where two processes seem to have its key: not long ago its links replaced each other, and often."""
        since = self._contested.get(peer)
        return since is not None and self._clock.seconds() - since < CONTESTED_SECONDS


def _make_room(known: dict[HumdId, Loss] | dict[HumdId, float], peer: HumdId, most: int) -> None:
    known.pop(peer, None)
    if len(known) >= most:
        del known[next(iter(known))]
