"""
Tones to lines and back.  The only file that imports msgspec and ujson; ``bench/codec.py`` says which call is which.

A *line* is one JSON object in UTF-8, without its LF (mesh 2.1 and 2.2, wire-0.8 section 7).  It is a tone when

 - it is strict JSON: no BOM, no ``NaN``, no lone surrogate, nothing behind it;
 - every number is finite as a double (``1e999`` is not, nor is an integer of 400 digits); an integer beyond 64 bits is
   fine in a body;
 - it is at most `MAX_DEPTH` containers deep, itself included;
 - its envelope fields have their types: ``chi`` is there and not empty, ``null`` in any other counts as absent, strings
   have at most `MAX_TEXT` characters, ``wane`` fits 64 bits without a sign, ``sentAt`` and ``dusk`` with one.

Where a key is there twice the last one counts.

There are two readers.  `peek` builds the envelope only and skips the body; `decode` builds everything.  They refuse
exactly the same lines.  msgspec skips a body at several times the speed at which it builds it, and what it then does
not look at `ensemble.tone.strict` does.  Either reader also takes many lines at once, which is what a wire gives:
most of what is asked of a line costs much less when it is asked of all of them together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from math import isfinite
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec
import ujson

from ensemble.errors import EnsembleError, LocalWireError
from ensemble.tone.strict import (
    FEW,
    MARKS,
    PLAINER,
    TAKEN_OUT,
    TOO_DEEP,
    MalformedTone,
    check,
    may_be_endless,
    may_be_extreme,
)

MAX_TEXT: Final = 4096
"""Characters in one string of the envelope."""

ABSENT: Final = msgspec.UNSET
"""Is not there, and not ``null`` either; false."""


class IllegalTone(LocalWireError):
    """We were asked to write something that is not a tone."""


class BadDocument(EnsembleError):
    """A text is not JSON, or a value has no JSON form."""


_T = TypeVar("_T")
_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Signed64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Unsigned63 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_MAX_WANE: Final = 2**64 - 1  # msgspec takes no bound above 63 bits


class _Skipped(msgspec.Struct, gc=False):
    """An object of which nothing is built."""


# Without the garbage collector's attention: it never refers back to itself, and there are many.
class Envelope(
    msgspec.Struct,
    rename={"sender": "from", "sent_at": "sentAt", "raw_call_id": "callId"},
    gc=False,
    kw_only=True,
):
    """
    What every tone may say about itself.  ``null`` is ``None``, and so is a field that is absent, but for three.

    ``sender``, which is the wire's ``from``, ``to`` and ``raw_call_id`` are ``ABSENT`` then: nobody need look for them
    in the line.  `target` is whom ``to`` names.  ``callId`` belongs to a body, so any JSON is legal there: `call_id`
    reads it.  Of ``ext`` there are only the keys.  ``sent_at`` and ``dusk`` are milliseconds since the epoch.
    """

    chi: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    rid: _Text | None = None
    sender: _Text | msgspec.UnsetType | None = ABSENT
    to: _Text | msgspec.UnsetType | None = ABSENT
    sid: _Text | None = None
    raw_call_id: Any = ABSENT
    sigil: _Text | None = None
    wane: _Unsigned63 | None = None
    sent_at: _Signed64 | None = None
    dusk: _Signed64 | None = None
    ext: dict[str, _Skipped] | None = None

    @property
    def call_id(self) -> str | None:
        """The ``callId``, where it is a string that one can route by."""
        found = self.raw_call_id
        return found if type(found) is str and len(found) <= MAX_TEXT else None

    @property
    def target(self) -> str | None:
        """The ``to``, where it names somebody."""
        return self.to if isinstance(self.to, str) and self.to else None


_Fields = [(name, msgspec.Raw | msgspec.UnsetType, ABSENT) for name in Envelope.__struct_encode_fields__]
_outline: Final = msgspec.json.Decoder(msgspec.defstruct("_Outline", _Fields, gc=False)).decode
_peek: Final = msgspec.json.Decoder(Envelope).decode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_convert: Final = msgspec.convert
_Envelopes = list[Envelope]

# What msgspec can raise for bytes: bad JSON or a wrong type; bad UTF-8 in a string; too deep for the stack.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_AT_ONCE: Final = 32  # of more the brackets together look as deep as those of a bad line, and must be looked at closely
_A_FEW: Final = 16  # fewer lines cost less one by one


# reading


def peek(line: bytes) -> Envelope:
    """
    The envelope of one line; the body is checked, but not built.

    :raises MalformedTone: the line is not a tone.
    """
    try:
        envelope = _peek(line)
    except msgspec.ValidationError as error:
        fields = outline(line)
        if fields is None:
            _refuse(error)
        envelope = read(fields)[0]  # of a field that is there twice, only the first may have been wrong
    except _UNREADABLE as error:
        _refuse(error)
    return _inspect(line, envelope)


def peek_each(lines: Sequence[bytes]) -> Iterator[Envelope | MalformedTone]:
    """`peek` of many lines; where one is not a tone, its error comes in the place of its envelope."""
    if len(lines) < _A_FEW:
        return map(partial(_or_error, peek), lines)
    return chain.from_iterable(map(_peek_some, _in_parts(lines)))


def decode(line: bytes) -> dict[str, Any]:
    """
    The whole tone of one line.

    :raises MalformedTone: the line is not a tone.
    """
    return read(line)[1]


def decode_each(lines: Sequence[bytes]) -> Iterator[dict[str, Any] | MalformedTone]:
    """`decode` of many lines; where one is not a tone, its error comes in the place of it."""
    if len(lines) < _A_FEW:
        return map(partial(_or_error, decode), lines)
    return chain.from_iterable(map(_decode_some, _in_parts(lines)))


def read(line: bytes) -> tuple[Envelope, dict[str, Any]]:
    """
    Envelope and tone of one line: cheaper than `peek` and `decode_checked` after each other.

    :raises MalformedTone: the line is not a tone.
    """
    try:
        tone = _decode(line)
        if len(line) > FEW:
            check(line)
        return _envelope_in(tone), tone
    except _UNREADABLE as error:
        _refuse(error)


def decode_checked(line: bytes) -> dict[str, Any]:
    """The whole tone of a line that `peek` has accepted."""
    return _decode(line)


def outline(line: bytes) -> bytes | None:
    """The fields of `Envelope` alone, each once and as it is in ``line``; None where that is no JSON object."""
    try:
        return _write(_outline(line))
    except _UNREADABLE:
        return None


def _in_parts(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (lines[at : at + _AT_ONCE] for at in range(0, len(lines), _AT_ONCE))


def _peek_some(lines: Sequence[bytes]) -> Iterable[Envelope | MalformedTone]:
    try:
        envelopes = list(map(_peek, lines))
    except _UNREADABLE:
        return map(partial(_or_error, peek), lines)
    joined = b"\n".join(lines)
    if _is_utf8(joined) and not (
        may_be_endless(joined.translate(MARKS, TAKEN_OUT)) or may_be_extreme(joined, len(lines))
    ):
        return envelopes
    return map(partial(_or_error, _inspect), lines, envelopes)


def _decode_some(lines: Sequence[bytes]) -> Iterable[dict[str, Any] | MalformedTone]:
    try:
        tones = list(map(_decode, lines))
        _convert(tones, _Envelopes)
        if not may_be_extreme(b"\n".join(lines), len(lines)):
            return tones
    except _UNREADABLE:
        pass  # it is told in the place of the line
    return map(partial(_or_error, decode), lines)


def _or_error(reader: Callable[..., _T], *given: object) -> _T | MalformedTone:
    try:
        return reader(*given)
    except MalformedTone as error:
        return error


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or data.decode() != ""
    except UnicodeDecodeError:
        return False


def _inspect(line: bytes, envelope: Envelope) -> Envelope:
    """What msgspec did not look at while it skipped the body of a line; that is well formed but for its UTF-8."""
    rest = line.translate(MARKS, TAKEN_OUT)  # brackets and digits are out, and in a bad line were many
    endless, large = may_be_endless(rest), len(line) - len(rest) > FEW
    if endless or large or not line.isascii():
        try:
            line.decode()
            if large:
                check(line)
            if endless:
                _decode(line)  # refuses a float that is not finite
        except _UNREADABLE as error:
            _refuse(error)
    return envelope


def _envelope_in(tone: dict[str, Any]) -> Envelope:
    """:raises msgspec.ValidationError: a field has the wrong type."""
    try:
        return _convert(tone, Envelope)
    except msgspec.ValidationError:
        wane = tone.get("wane")
        if type(wane) is not int or wane < 2**63:
            raise
        if wane > _MAX_WANE:
            raise msgspec.ValidationError("`wane` does not fit 64 bits") from None
        envelope = _convert({**tone, "wane": None}, Envelope)
        envelope.wane = wane  # hardly any tone will ever have one that needs all 64 bits
        return envelope


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, UnicodeDecodeError):
        raise MalformedTone("it is not UTF-8") from None
    if isinstance(error, RecursionError):
        raise MalformedTone(TOO_DEEP) from None
    raise MalformedTone(PLAINER.get(str(error), str(error))) from None


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

    The envelope is not looked at: `envelope_of` does that.  A key that is a number becomes its text, as in
    ``json.dumps``.

    :raises IllegalTone: a number is not finite, a text has a lone surrogate, it is deeper than `MAX_DEPTH`, or a
        value has no JSON form.
    """
    if type(tone) is not dict:
        tone = dict(tone)
    try:
        line = _write(tone)
        if len(line) > FEW:
            check(line)
    except (TypeError, ValueError, OverflowError, RecursionError, MalformedTone) as error:
        raise IllegalTone(f"this tone cannot be written: {error}") from None
    # msgspec writes null for NaN and the infinities.  In MessagePack a float is marked 0xcb, and one of those has 0x7f
    # or 0xff behind that, none of which is in ASCII text: to look at every value costs three times as much.
    if line.rfind(b"null") >= 0:
        try:
            packed = _pack(tone)
        except (TypeError, ValueError, OverflowError):
            packed = b"\xcb\xff"  # it has, for one, no integers beyond 64 bits
        if (127 in packed or 255 in packed) and 203 in packed and _has_endless(tone):
            raise IllegalTone("this tone cannot be written: a number in it is not finite")
    return line


def envelope_of(tone: Mapping[str, Any]) -> Envelope:
    """
    The envelope of a tone that is still to be written.

    A line made from a tone that passes here is accepted by both readers.

    :raises IllegalTone: an envelope field has the wrong type, or ``chi`` is missing.
    """
    try:
        return _envelope_in(tone if type(tone) is dict else dict(tone))
    except (msgspec.ValidationError, RecursionError) as error:
        raise IllegalTone(f"this is not a tone: {error}") from None


def _has_endless(tone: Mapping[str, Any]) -> bool:
    """Whether a ``NaN`` or an infinity stands anywhere in a tone that could be written."""
    containers: list[Any] = [msgspec.to_builtins(tone, enc_hook=_json_form)]
    for container in containers:
        for item in container.values() if type(container) is dict else container:
            kind = type(item)
            if kind is float:
                if not isfinite(item):
                    return True
            elif kind is dict or kind is list or kind is tuple:
                containers.append(item)
    return False


# documents: files, --json, logs


def read_document(text: str | bytes) -> Any:
    """
    Any JSON value of a file, read as strictly as a tone.

    :raises BadDocument: it is not JSON; the text names line and column.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise BadDocument(_located(str(error), raw)) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise BadDocument(f"not JSON: {error}") from None


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
    why = " (JSON has no comments)" if raw.startswith((b"//", b"/*", b"#"), len(before)) else ""
    return f"{message if found is None else message[: found.start()]} at line {line}, column {column}{why}"
