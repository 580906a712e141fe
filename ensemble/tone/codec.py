"""
Tones to lines and back.  The only file that imports msgspec and ujson; C{bench/codec.py} says which call is which.

A I{line} is one JSON object in UTF-8, without its LF (mesh 2.1 and 2.2, wire-0.8 section 7).  It is a tone when

 - it is strict JSON: no BOM, no C{NaN}, no lone surrogate, nothing behind it;
 - every number is finite as a double (C{1e999} is not, nor is an integer of 400 digits); an integer beyond 64 bits is
   fine in a body;
 - it is at most L{MAX_DEPTH} containers deep, itself included;
 - its envelope fields have their types: C{chi} is there and not empty, C{null} in any other counts as absent, strings
   have at most L{MAX_TEXT} characters, C{wane} fits 64 bits without a sign, C{sentAt} and C{dusk} with one.

Where a key is there twice the last one counts.

There are two readers.  L{peek} builds the envelope only and skips the body; L{decode} builds everything.  They refuse
exactly the same lines.  msgspec skips a body at several times the speed at which it builds it, but while skipping it
looks neither at the size of numbers nor at UTF-8, and in both ways it cares little for depth.  So each reader has a
cheap question that no bad line passes and hardly any good line fails; only where it fails is the line looked at
closely.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Annotated, Any, Final, NoReturn

import msgspec
import ujson

from ensemble.errors import EnsembleError, LocalWireError, RemoteWireError

MAX_DEPTH: Final = 127
"""Containers inside each other in one tone, the outer object included."""

MAX_TEXT: Final = 4096
"""Characters in one string of the envelope."""


class MalformedTone(RemoteWireError):
    """A line is not a tone.  The text says why, and is fit to be sent back."""


class IllegalTone(LocalWireError):
    """We were asked to write something that is not a tone."""


class BadDocument(EnsembleError):
    """A text is not JSON, or a value has no JSON form."""


_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Signed64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Unsigned = Annotated[int, msgspec.Meta(ge=0)]
_MAX_WANE: Final = 2**64 - 1  # msgspec takes no bound above 63 bits


# Without the garbage collector's attention: it never refers back to itself, and there are many.
class Envelope(
    msgspec.Struct,
    rename={"sender": "from", "sent_at": "sentAt", "raw_call_id": "callId"},
    gc=False,
    kw_only=True,
):
    """
    What every tone may say about itself; an absent field and C{null} are both C{None}.

    C{sender} is the wire's C{from}.  C{callId} belongs to a body, so any JSON is legal there: L{call_id} reads it.
    """

    chi: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    rid: _Text | None = None
    sender: _Text | None = None
    to: _Text | None = None
    sid: _Text | None = None
    raw_call_id: Any = None
    sigil: _Text | None = None
    wane: _Unsigned | None = None
    sent_at: _Signed64 | None = None
    dusk: _Signed64 | None = None
    ext: dict[str, dict[str, Any]] | None = None

    @property
    def call_id(self) -> str | None:
        """The C{callId}, where it is a string that one can route by."""
        found = self.raw_call_id
        return found if type(found) is str and len(found) <= MAX_TEXT else None


_peek: Final = msgspec.json.Decoder(Envelope).decode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_convert: Final = msgspec.convert

# What msgspec can raise for bytes: bad JSON or a wrong type; bad UTF-8 in a string; too deep for the stack.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# reading


def peek(line: bytes) -> Envelope:
    """
    The envelope of one line; the body is checked, but not built.

    :raises MalformedTone: the line is not a tone.
    """
    try:
        envelope = _peek(line)
    except msgspec.ValidationError:
        return read(line)[0]  # of a field that is there twice, only the first may have been wrong
    except _UNREADABLE as error:
        _refuse(error)
    # A number that is too large has an exponent, or hundreds of digits.  With brackets, digits, signs and blanks taken
    # out, the first kind is an `e` alone between two marks, or behind the last one; the second kind, and a deep line,
    # leave a rest that is much shorter than the line.
    rest = line.translate(_MARKS, _TAKEN_OUT)
    if (
        rest.rfind(b" e ") >= 0
        or rest[-2:] == b" e"
        or len(line) - len(rest) > _FEW
        or not line.isascii()
        or envelope.wane is not None
    ):
        _look_closely(line, rest, envelope)
    return envelope


def decode(line: bytes) -> dict[str, Any]:
    """
    The whole tone of one line.

    :raises MalformedTone: the line is not a tone.
    """
    return read(line)[1]


def read(line: bytes) -> tuple[Envelope, dict[str, Any]]:
    """
    Envelope and tone of one line: cheaper than L{peek} and L{decode_checked} after each other.

    :raises MalformedTone: the line is not a tone.
    """
    try:
        tone = _decode(line)
        if len(line) > _FEW:
            _check(line)
        envelope = _convert(tone, Envelope)
    except _UNREADABLE as error:
        _refuse(error)
    if envelope.wane is not None and envelope.wane > _MAX_WANE:
        raise MalformedTone(_WANE_TOO_LARGE)
    return envelope, tone


def decode_checked(line: bytes) -> dict[str, Any]:
    """The whole tone of a line that L{peek} has accepted."""
    return _decode(line)


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, UnicodeDecodeError):
        raise MalformedTone("it is not UTF-8") from None
    if isinstance(error, RecursionError):
        raise MalformedTone(_TOO_DEEP) from None
    raise MalformedTone(str(error)) from None


# what msgspec does not look at

_WANE_TOO_LARGE: Final = "`wane` does not fit 64 bits"
_TOO_DEEP: Final = f"more than {MAX_DEPTH} containers inside each other"

# Between a number and the next mark, or the end, stand nothing but brackets that close; before it, none but such that
# open.  Every other byte but `e` is an `x`, so that letters and quotes keep apart what stands in a string.
_MARKS: Final = bytes(32 if byte in b":," else 101 if byte in b"eE" else 120 for byte in range(256))
_TAKEN_OUT: Final = b"0123456789.+-[]{} \t\r\n"
_FEW: Final = 2 * MAX_DEPTH  # a deep line has more brackets, and a long number more digits
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")

# A whole part of 309 digits may be too large for a double, one of more always is.  So many digits in a row cover one of
# the samples that are 309 bytes apart, and five of those that are 60 bytes apart.
_LONG: Final = 309
_STRIDE: Final = 60
_DIGIT: Final = re.compile(rb"[0-9]").search
_MAYBE_LONG: Final = re.compile(rb"[0-9]{5}").search
_LONG_NUMBERS: Final = re.compile(rb"(?<![0-9.eE+-])-?+[0-9]{309,}+(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+").findall


def _look_closely(line: bytes, rest: bytes, envelope: Envelope) -> None:
    """What L{peek} cannot rule out at a glance, of a line that is well formed but for its UTF-8."""
    try:
        line.decode()
        if len(line) - len(rest) > _FEW:
            _check(line)
        if rest.rfind(b" e ") >= 0 or rest[-2:] == b" e":
            _decode(line)  # refuses a float that is not finite
    except _UNREADABLE as error:
        _refuse(error)
    if envelope.wane is not None and envelope.wane > _MAX_WANE:
        raise MalformedTone(_WANE_TOO_LARGE)


def _check(line: bytes) -> None:
    """
    Depth, and whole numbers that are too large; hardly any line costs more than this glance.

    :param line: well formed.
    """
    if len(line) - len(line.replace(b"[", b"").replace(b"{", b"")) > MAX_DEPTH:  # strings included
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
                raise MalformedTone(_TOO_DEEP)
        else:
            depth -= 1


def _check_numbers(line: bytes) -> None:
    """Refuse a number with a whole part too long for a double; one with an exponent is for msgspec to judge."""
    if _MAYBE_LONG(line[::_STRIDE]) is None:
        return
    for number in _LONG_NUMBERS(_without_strings(line)):
        if not isfinite(float(number)):
            raise MalformedTone("a number is out of range")


def _without_strings(line: bytes) -> bytes:
    """What stands outside of strings, in a well-formed line."""
    if b"\\" in line:
        line = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(line.split(b'"')[::2])


# writing


def _json_form(value: object) -> object:
    """What msgspec does not know by itself, and what JSON has a form for."""
    if isinstance(value, str):
        return "".join(value)  # of a child class of str, the text alone
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


_write: Final = msgspec.json.Encoder(enc_hook=_json_form).encode
_pack: Final = msgspec.msgpack.Encoder(enc_hook=_json_form).encode


def encode(tone: Mapping[str, Any]) -> bytes:
    """
    One line, without its LF; keys keep their order.

    The envelope is not looked at: L{envelope_of} does that.  A key that is a number becomes its text, as in
    C{json.dumps}.

    :raises IllegalTone: a number is not finite, a text has a lone surrogate, it is deeper than L{MAX_DEPTH}, or a
        value has no JSON form.
    """
    if type(tone) is not dict:
        tone = dict(tone)
    try:
        line = _write(tone)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise IllegalTone(f"this tone cannot be written: {error}") from None
    # msgspec writes null for NaN and the infinities.
    if line.rfind(b"null") >= 0 and _may_have_endless(tone) and _has_endless(tone):
        raise IllegalTone("this tone cannot be written: a number in it is not finite")
    if len(line) > _FEW:
        try:
            _check(line)
        except MalformedTone as error:
            raise IllegalTone(f"this tone cannot be written: {error}") from None
    return line


def envelope_of(tone: Mapping[str, Any]) -> Envelope:
    """
    The envelope of a tone that is still to be written.

    A line made from a tone that passes here is accepted by both readers.

    :raises IllegalTone: an envelope field has the wrong type, or C{chi} is missing.
    """
    try:
        envelope = _convert(tone if type(tone) is dict else dict(tone), Envelope)
    except (msgspec.ValidationError, RecursionError) as error:
        raise IllegalTone(f"this is not a tone: {error}") from None
    if envelope.wane is not None and envelope.wane > _MAX_WANE:
        raise IllegalTone(f"this is not a tone: {_WANE_TOO_LARGE}")
    return envelope


_LEAVES: Final = frozenset((str, int, bool, type(None)))
_CONTAINERS: Final = (dict, list, tuple, set, frozenset)


def _may_have_endless(tone: Mapping[str, Any]) -> bool:
    """
    Whether it is worth looking for a float that is not finite: this costs a third.

    In MessagePack a float is marked 0xcb, and one that is not finite has 0x7f or 0xff behind that.  None of the three
    is in ASCII text.
    """
    try:
        packed = _pack(tone)
    except (TypeError, ValueError, OverflowError):
        return True  # it has, for one, no integers beyond 64 bits
    return 203 in packed and (127 in packed or 255 in packed)


def _has_endless(value: object) -> bool:
    """Whether a C{NaN} or an infinity stands anywhere in a value that msgspec could write."""
    containers: list[Any] = [value]
    for container in containers:
        for item in container.values() if isinstance(container, dict) else container:
            kind = type(item)
            if kind in _LEAVES:
                continue
            if kind is float:
                if not isfinite(item):
                    return True
            elif kind is dict or kind is list or isinstance(item, _CONTAINERS):
                containers.append(item)
            elif isinstance(item, Mapping):
                containers.append(dict(item))
    return False


# documents: files, --json, logs


def read_document(text: str | bytes) -> Any:
    """
    Any JSON value of a file, read as strictly as a tone.

    :raises BadDocument: it is not JSON; the text names line and column.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise BadDocument(_located(str(error), raw)) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise BadDocument(f"not JSON: {error}") from None
    return value


def write_document(value: Any, pretty: bool = False, fallback: Callable[[Any], Any] | None = None) -> str:
    """
    The JSON text of any value, without a line end behind it.

    :param pretty: over several lines, for people; else on one line.
    :param fallback: makes something that JSON has a form for out of what it has none for.
    :raises BadDocument: a value has no JSON form.
    """
    try:
        text: str = ujson.dumps(
            value,
            ensure_ascii=False,
            escape_forward_slashes=False,
            allow_nan=False,
            indent=2 if pretty else 0,
            default=fallback,
        )
        text.encode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadDocument(f"no JSON form: {error}") from None
    return text


def _located(message: str, raw: bytes) -> str:
    """msgspec counts bytes, people count lines."""
    found = re.search(r" \(byte (\d+)\)$", message)
    before = raw if found is None else raw[: int(found[1])]  # without a byte: it ends too early
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    return f"{message if found is None else message[: found.start()]} at line {line}, column {column}"
