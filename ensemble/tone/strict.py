"""
What msgspec does not look at in a line: its depth, and numbers that no double holds.

A body that is skipped is not looked at for either, nor for UTF-8; one that is built may still be too deep, or have a
whole number of any length.  So there are cheap questions that no bad line passes and hardly any good line fails; only
where one fails is the line looked at closely.  Many lines are asked at once, joined by LF.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Final

from ensemble.errors import RemoteWireError

MAX_DEPTH: Final = 127
"""Containers inside each other in one tone, the outer object included."""


class MalformedTone(RemoteWireError):
    """A line is not a tone.  The text says why, and is fit to be sent back."""


TOO_DEEP: Final = f"more than {MAX_DEPTH} containers inside each other"
# Behind half of a surrogate pair msgspec wants the other half, so a line that is whole to the eye is "truncated", too,
# where its last text ends so, as a piece that was cut out of a longer text may.
PLAINER: Final = {
    "Input data was truncated": "JSON is malformed: it ends too early, or a text in it with half of a surrogate pair"
}
FEW: Final = 2 * MAX_DEPTH
"""Bytes: no more of them are neither the brackets of a line that is too deep, nor the digits of a number too large."""

# Between a number and the next mark, or the end, stand nothing but brackets that close; before it, none but such that
# open.  Every other byte but `e` is an `x`, so that letters and quotes keep apart what stands in a string.  The other
# hex digits are out with the decimal ones: an id is then taken out nearly whole, which a processor foresees.
MARKS: Final = bytes(32 if byte in b":,\n" else 101 if byte in b"eE" else 120 for byte in range(256))
TAKEN_OUT: Final = b"0123456789abcdfABCDF.+-[]{} \t\r"

_ONE_OPENS: Final = bytes.maketrans(b"{", b"[")
_NO_OPENER: Final = bytes(byte for byte in range(256) if byte not in b"[{\n")
_DEEP: Final = b"[" * (MAX_DEPTH + 1)
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")

# A whole part of 309 digits may be too large for a double, one of more always is.  So many digits in a row cover one of
# the samples that are 309 bytes apart, and ten of those that are 30 bytes apart.
_LONG: Final = 309
_STRIDE: Final = 30
_DIGIT: Final = re.compile(rb"[0-9]").search
_ALL_ZERO: Final = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))
_MAYBE_LONG: Final = b"0" * (_LONG // _STRIDE)
_LONG_NUMBERS: Final = re.compile(rb"(?<![0-9.eE+-])-?+[0-9]{309,}+(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+").findall


def may_be_endless(rest: bytes) -> bool:
    """
    May a number with an exponent be too large?

    :param rest: lines with ``MARKS``, and ``TAKEN_OUT`` out: there such an exponent is an ``e`` alone between two
        marks, or behind the last one.
    """
    return rest.find(b" e ") >= 0 or rest[-2:] == b" e"


def may_be_extreme(joined: bytes, count: int) -> bool:
    """
    May one of many lines be too deep, or have a whole number that is too large?

    :param joined: ``count`` well-formed lines, with an LF between them.
    """
    if len(joined) - len(joined.replace(b"[", b"").replace(b"{", b"")) >= MAX_DEPTH + count:  # each has one at least
        openers = joined.translate(_ONE_OPENS, _NO_OPENER)  # strings included
        if openers.find(_DEEP) >= 0 or openers.count(b"\n") != count - 1:  # a line with an LF in it hides its depth
            return True
    return _may_be_long(joined)


def _may_be_long(data: bytes) -> bool:
    return data[::_STRIDE].translate(_ALL_ZERO).find(_MAYBE_LONG) >= 0


def check(line: bytes) -> None:
    """
    Depth and whole numbers of one well-formed line; hardly any costs more than this glance.

    :raises MalformedTone: it is too deep, or has a whole number that no double holds.
    """
    rest = line.replace(b"[", b"")  # strings included
    # An array takes two bytes, and an object around another container five: most lines have room for few of those.
    if 4 * len(line) - 3 * len(rest) > 5 * MAX_DEPTH and len(line) - len(rest.replace(b"{", b"")) > MAX_DEPTH:
        _check_depth(line)
    if len(line) > _LONG and _DIGIT(line[_LONG - 1 :: _LONG]) is not None:
        _check_numbers(line)


def _check_depth(line: bytes) -> None:
    brackets = _without_strings(line).translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(3):
        brackets = brackets.replace(b"[]", b"")  # each time one level less: most lines end here
    depth = 3
    for bracket in brackets:
        if bracket == 91:
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedTone(TOO_DEEP)
        else:
            depth -= 1


def _check_numbers(line: bytes) -> None:
    """Refuse a number with a whole part too long for a double; one with an exponent is for msgspec to judge."""
    if not _may_be_long(line):
        return
    for number in _LONG_NUMBERS(_without_strings(line)):
        if not isfinite(float(number)):
            raise MalformedTone("a number is out of range")


def _without_strings(line: bytes) -> bytes:
    """What stands outside of strings, in a well-formed line."""
    if b"\\" in line:
        line = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(line.split(b'"')[::2])
