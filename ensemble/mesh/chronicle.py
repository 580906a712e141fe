"""
What the log says of peers and programs that did nothing wrong: that they came, what they said, and that they are gone.

Each such line is written, a dozen of one peer in the same moment too; but whoever comes and goes a thousand times a
second would fill the disk with it.  So a peer has a line a second in the long run, and the next one that is written
says how many were left out.  Strangers are one in this, for anybody may come under a new id each time, and so are the
local programs.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from ensemble.identity import HumdId
from ensemble.protocols import Bucket

LINES: Final = 12  # of one peer at once: it comes and goes four times, with its goodbyes
CROWD_LINES: Final = 60  # of all strangers, and of all local programs
PER_SECOND: Final = 1.0  # of each of them in the long run
PEERS: Final = 1024  # remembered at once; beyond that the one that was longest silent is forgotten

STRANGERS: Final = "strangers"
PROGRAMS: Final = "local programs"


class Chronicle:
    """Writes lines of each who is known by their names here: an id, `STRANGERS` or `PROGRAMS`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pages: dict[tuple[Hashable, LogLevel], _Page] = {}

    def tell(self, log: Logger, level: LogLevel, whose: Hashable, form: str, **fields: object) -> None:
        """
        Log one line, unless there were too many about ``whose``.

        :param log: of the class that says it.
        """
        now = self._clock.seconds()
        page = self._pages.pop((whose, level), None)  # what is worse is not left out for what is not
        if page is None:
            page = _Page(LINES if isinstance(whose, HumdId) else CROWD_LINES, now)
            if len(self._pages) >= PEERS:
                del self._pages[next(iter(self._pages))]
        self._pages[whose, level] = page  # last, as the one that said something last
        if not page.lines.afford(now):
            page.left_out += 1
            return
        left_out, page.left_out = page.left_out, 0
        if left_out:
            form += " ({left_out} lines like this were left out)"
            fields["left_out"] = left_out
        log.emit(level, form, **fields)


class _Page:
    __slots__ = ("left_out", "lines")

    def __init__(self, holds: int, now: float) -> None:
        self.lines, self.left_out = Bucket(PER_SECOND, holds, now), 0
