"""What the disk refused of the memory of peers is written when it takes it, though nothing new is learned."""

from __future__ import annotations

from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ensemble.mesh import SqliteProofMemory

RETRY_SECONDS: Final = 60.0  # between two tries; what is learned meanwhile is one, too


class CatchingUp(Service):
    """Tries again as long as something is in RAM only, and waits for nothing else."""

    def __init__(self, memory: SqliteProofMemory, clock: IReactorTime) -> None:
        self._memory, self._clock = memory, clock
        self._due: IDelayedCall | None = None
        memory.refused = self._refused

    def startService(self) -> None:
        super().startService()
        if self._memory.trouble:
            self._refused()

    def stopService(self) -> None:
        super().stopService()
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _refused(self) -> None:
        if self.running and self._due is None:
            self._due = self._clock.callLater(RETRY_SECONDS, self._again)

    def _again(self) -> None:
        self._due = None
        self._memory.catch_up()
