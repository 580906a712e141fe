"""
What people and programs see.

People get aligned text, in colour only on a terminal and never against their ``NO_COLOR``.  Programs get JSON, one
document or one line per thing on standard output, and ``{"ok": false, "qualifier": ..., "message": ...}`` on standard
error.  What a peer wrote may hold control characters, which a terminal would obey: people see them escaped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO
from unicodedata import combining, east_asian_width

from ensemble.command.control import BY_HAND
from ensemble.config import CONTROLS, CONTROLS_BUT_LINES, escaped_json, pasteable
from ensemble.errors import EnsembleError
from ensemble.tone import BadDocument, write_document

_NOT_UTF8: Final = re.compile("[\ud800-\udfff]")  # as Python reads such a byte of a name
_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def visible(text: str, lines: bool = False) -> str:
    """
    The text with its control characters escaped.

    :param lines: line ends and tabs stay as they are.
    """
    pattern = CONTROLS_BUT_LINES if lines else CONTROLS
    return pattern.sub(_spelt_out, text)


def _spelt_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def json_line(value: Any) -> str:
    """One line of JSON that a terminal cannot mistake for commands, either."""
    try:
        text = write_document(value, fallback=str)
    except BadDocument:
        text = write_document(_as_utf8(value), fallback=str)
    return escaped_json(text) + "\n"


def _as_utf8(value: Any) -> Any:
    """The same, with a mark for each byte of a name that is none: JSON knows no others."""
    if isinstance(value, str):
        return _NOT_UTF8.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {_as_utf8(key): _as_utf8(each) for key, each in value.items()}
    return [_as_utf8(each) for each in value] if isinstance(value, list | tuple) else value


def brief(humd_id: str) -> str:
    """The beginning of an id, by which people know it: as `HumdId.short<ensemble.identity.HumdId.short>`."""
    return humd_id[: len("humd_") + 12]


def width(text: str) -> int:
    """Columns that the text takes on a terminal."""
    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def duration(seconds: float) -> str:
    """``3 h 12 min``: two units at most, the rest left out."""
    left = int(max(seconds, 0))
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if left >= size:
            rest = left % size // part
            return f"{left // size} {unit} {rest} {smaller}" if rest else f"{left // size} {unit}"
    return f"{left} s"


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream may be coloured (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Unwritable(EnsembleError):
    """Standard output takes no more, and not because its reader went away: its disk may be full."""


def discard(stream: TextIO) -> None:
    """What was not written yet, and all that comes, goes nowhere; so nothing more is said of it, at the end neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Screen:
    """
    Standard output and standard error of one command.

    :ivar json: a program reads.
    :ivar leads: the options that say where the humd is, as they were given.
    :ivar how_to_start: says it of the humd that is meant; looked at where that is to be told.
    """

    def __init__(self, out: TextIO, err: TextIO, environ: Mapping[str, str], json: bool = False) -> None:
        self.json = json
        self.leads: Mapping[str, str] = {}
        self.how_to_start: Callable[[], str] = lambda: BY_HAND
        self._out, self._err = out, err
        self._colour = not json and wants_colour(out, environ)

    def descriptor(self) -> int | None:
        """That of standard output, where it has one."""
        try:
            return self._out.fileno()
        except OSError:
            return None

    def paint(self, text: str, *styles: str) -> str:
        """The text in colour, where colour is wanted."""
        if not self._colour or not styles:
            return text
        return f"\033[{';'.join(_STYLES[style] for style in styles)}m{text}\033[0m"

    def told(self, text: str) -> str:
        """The text, with commands that lead to the same humd as this one, or start it."""
        if BY_HAND in text:
            text = text.replace(BY_HAND, self.how_to_start())
        return pasteable(text, self.leads)

    def command(self, line: str) -> str:
        """A line to paste that is not in the middle of a text."""
        return self.told(f"`{line}`")[1:-1]

    def document(self, value: Any) -> None:
        """One JSON line on standard output, at once."""
        self.raw(json_line(value))

    def line(self, text: str = "") -> None:
        """One line for people; already made visible."""
        self._write(text + "\n")

    def text(self, text: str) -> None:
        """A piece of somebody's running text, at once."""
        self.raw(visible(text, lines=True) if self._out.isatty() else text)

    def raw(self, text: str) -> None:
        """Exactly this, at once."""
        self._write(text, flush=True)

    def flush(self) -> None:
        """What was written leaves."""
        self._write("", flush=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """
        In here standard output is written.

        :raises Unwritable: it cannot be.
        :raises BrokenPipeError: nobody reads it any more.
        """
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(self._out)
            raise Unwritable(f"cannot write standard output: {error.strerror}") from None

    def _write(self, text: str, flush: bool = False) -> None:
        with self.writing():
            self._out.write(text)
            if flush:
                self._out.flush()

    def note(self, text: str, **fields: Any) -> None:
        """A remark beside the result, on standard error: ``fields`` for programs, ``text`` for people."""
        self.flush()
        text = self.told(text)
        if self.json:
            told = {key: self.told(each) if isinstance(each, str) else each for key, each in fields.items()}
            self._complain(json_line(told or {"note": text}))
        else:
            self._complain(f"ensemble: {visible(text)}\n")

    def failure(self, qualifier: str, message: str, usage: str = "", **fields: Any) -> None:
        """What went wrong, on standard error."""
        message = self.told(message)
        with suppress(Unwritable):  # it is not what went wrong first
            self.flush()
        if not self.json and usage:
            self._complain(usage)
        self.note(message, ok=False, qualifier=qualifier, message=message, **fields)

    def _complain(self, text: str) -> None:
        try:
            self._err.write(text)
            self._err.flush()
        except OSError:
            discard(self._err)  # the status tells it

    def fields(self, pairs: Sequence[tuple[str, str]], indent: str = "") -> None:
        """Labels and values, the values below each other."""
        widest = max((width(label) for label, _ in pairs), default=0)
        for label, value in pairs:
            head = f"{self.paint(visible(label), 'bold')}{' ' * (widest - width(label))}"
            self.line(f"{indent}{head}  {visible(value)}".rstrip())

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str] | None = None
    ) -> None:
        """
        Columns below each other.

        :param styles: the style of a cell that has exactly this text.
        """
        cells = [[visible(cell) for cell in row] for row in rows]
        widths = [max(width(row[at]) for row in (heads, *cells)) for at in range(len(heads))]

        def aligned(row: Sequence[str], dress: Mapping[str, str]) -> str:
            # Padded before it is painted: the escapes take no columns.
            padded = [cell + " " * (widest - width(cell)) for cell, widest in zip(row, widths, strict=True)]
            padded[-1] = row[-1]
            painted = [
                self.paint(text, dress[cell]) if cell in dress else text for text, cell in zip(padded, row, strict=True)
            ]
            return "  ".join(painted).rstrip()

        self.line(aligned(heads, dict.fromkeys(heads, "bold")))
        for row in cells:
            self.line(aligned(row, styles or {}))
