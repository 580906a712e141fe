"""
Lines out of a byte stream, however it was cut (mesh 2.2)::

    stream = *( *octet [CR] LF )       no octet of a line is LF

One CR before the LF is stripped and an empty line is nothing.  What is in a line is for others to judge.  Departs from
0.7.0 in one thing: a line has a ceiling.  It counts every byte before the LF, a CR too, so that the cuts of the
transport never decide whether a line is too long.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from ensemble.errors import RemoteWireError

DEFAULT_MAX_LINE: Final = 4 * 1024 * 1024  # bytes before the LF (wire-0.8 section 7, max_tone)


class LineTooLong(RemoteWireError):
    """
    The peer sent more bytes without an LF than we accept.

    :ivar length: bytes of the line seen so far.
    :ivar limit: bytes that we accept.
    :ivar lines: the whole lines before it that came with the same bytes, and that nobody else was given.
    """

    def __init__(self, length: int, limit: int, lines: list[bytes]) -> None:
        super().__init__(f"a line of at least {length} bytes, limit {limit}")
        self.length, self.limit, self.lines = length, limit, lines


class UnfinishedLine(RemoteWireError):
    """
    A line was not finished in time, however steadily its bytes trickled in.

    :ivar pending: bytes of it that had come.
    :ivar seconds: the time it had.
    """

    def __init__(self, pending: int, seconds: float) -> None:
        super().__init__(f"a line unfinished after {seconds:g} s, with {pending} bytes of it here")
        self.pending, self.seconds = pending, seconds


class TotalExceeded(RemoteWireError):
    """
    More bytes came than this wire may receive before its limit is lifted (wire-0.8 section 2).

    :ivar received: bytes up to the end of the line, or of the part of a line, that was too much.
    :ivar limit: bytes that are accepted.
    """

    def __init__(self, received: int, limit: int) -> None:
        super().__init__(f"{received} bytes before the link was up, limit {limit}")
        self.received, self.limit = received, limit


_blank_lines = re.compile(rb"(?:\r?\n)*+").match


class LineReader:
    """
    The sans-IO core: bytes in, lines out.

    Idle, it holds nothing.  Whole chunks are split in C; Python looks at single lines only where a CR, an empty line
    or a chunk longer than the ceiling makes it.

    :ivar max_line: bytes before the LF that are accepted; may be set at any time and counts from the next bytes on.
    :ivar pending: bytes held of the line that is not finished.
    """

    __slots__ = ("_held", "_refused", "max_line", "pending")

    def __init__(self, max_line: int = DEFAULT_MAX_LINE) -> None:
        self.max_line = max_line
        self.pending = 0
        self._held: bytes | bytearray = b""
        self._refused = 0

    def receive(self, data: bytes) -> list[bytes]:
        """
        Take the next bytes of the stream.

        :returns: the lines that they complete, in order, none empty; a fresh list that the caller owns.
        :raises LineTooLong: as soon as a line passes the ceiling.  Nothing is held any more, and every later call
            raises too.
        """
        if self._refused:
            raise LineTooLong(self._refused, self.max_line, [])
        lines = data.split(b"\n")
        tail = lines.pop()
        before = self.pending
        if before + len(data) > self.max_line:
            self._measure(lines, tail)
        if not lines:
            self._hold(tail)
            return lines
        strip = b"\r" in data
        if before:
            first = lines[0] = bytes(self._held + lines[0])
            strip = strip or first.endswith(b"\r")  # its CR may have come before its LF did
        self._held, self.pending = tail, len(tail)
        return _clean(lines, strip)

    def end_of_line(self, data: bytes, at: int) -> int:
        """
        Where the line that is at ``at`` in the next bytes ends, behind its LF, or where they end.

        Blank lines, which are nothing to anybody, count to the line behind them: there may be thousands.
        """
        blank = None if self.pending else _blank_lines(data, at)
        return data.find(b"\n", at if blank is None else blank.end()) + 1 or len(data)

    def finish(self) -> bytes | None:
        """The stream is at its end: the last line, if one came without its LF.  Nothing is held any more."""
        rest = _clean([bytes(self._held)], True)
        self.clear()
        return rest[0] if rest else None

    def clear(self) -> None:
        """Let go of what is held of an unfinished line."""
        self._held, self.pending = b"", 0

    def _hold(self, more: bytes) -> None:
        held = self._held
        if not held:
            self._held = more
        elif isinstance(held, bytearray):
            held += more
        else:
            self._held = bytearray(held) + more
        self.pending += len(more)

    def _measure(self, lines: list[bytes], tail: bytes) -> None:
        """Refuse the first line that is too long; the chunk is large enough to have one."""
        before = self.pending
        for at, line in enumerate(lines):
            if before + len(line) > self.max_line:
                self._refuse(before + len(line), lines[:at])
            before = 0
        if before + len(tail) > self.max_line:
            self._refuse(before + len(tail), lines)

    def _refuse(self, length: int, lines: list[bytes]) -> NoReturn:
        if lines:
            lines[0] = bytes(self._held + lines[0])
        self.clear()
        self._refused = length
        raise LineTooLong(length, self.max_line, _clean(lines, True))


def _clean(lines: list[bytes], strip: bool) -> list[bytes]:
    if strip:
        lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
    return lines if all(lines) else [line for line in lines if line]
