"""``bees.json``: the local bees as mesh 9.5 has them, for whoever looks at the state directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ensemble.config import write_text
from ensemble.hives import Roster
from ensemble.tone import write_document

DEBOUNCE_SECONDS: Final = 1.0  # a change is in the file after so long; many at once are one write
BEES: Final = "bees.json"


class BeesFile(Service):
    """Writes the roster, a second after it changed and when we stop."""

    log = Logger()

    def __init__(self, path: Path, roster: Roster, clock: IReactorTime) -> None:
        self._path, self._roster, self._clock = path, roster, clock
        self._due: IDelayedCall | None = None
        self._complained = False
        roster.changed = self._changed

    def startService(self) -> None:
        super().startService()
        self._write({})  # what a crash left there is not true any more

    def stopService(self) -> None:
        super().stopService()
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._write({})  # they go with us

    def _changed(self) -> None:
        if self.running and self._due is None:
            self._due = self._clock.callLater(DEBOUNCE_SECONDS, self._write_roster)

    def _write_roster(self) -> None:
        self._due = None
        self._write(self._roster.snapshot())

    def _write(self, bees: Mapping[str, Any]) -> None:
        try:
            # After a power cut it would not be true: the reactor does not wait for the disk.
            write_text(self._path, write_document(bees, pretty=True) + "\n", lasting=False)
        except OSError as error:
            if not self._complained:
                self.log.warn("cannot write {path}: {cause}", path=str(self._path), cause=error.strerror)
            self._complained = True
        else:
            self._complained = False
