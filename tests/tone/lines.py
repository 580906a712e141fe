"""Strategies for lines: JSON as the grammar allows it, JSON with nasty pieces, and JSON that somebody broke."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

ENVELOPE_KEYS = ("chi", "rid", "from", "to", "sid", "sigil", "callId", "wane", "sentAt", "dusk", "ext")

_GOOD = (
    b"null true false 0 -0 1 -1 0.5 -0.0 1e5 1E+5 1e-7 12.5e-3 1e308 1.7976931348623157e308 5e-324 1e-999 0e99999 "
    b"1e0000000000000000000000000000000000000000001 9223372036854775807 -9223372036854775808 9223372036854775808 "
    b"18446744073709551615 18446744073709551616 -9223372036854775809 123456789012345678901234567890"
).split()
GOOD_ATOMS = [*_GOOD, b"9" * 308, b"1" * 309, b"1" * 309 + b".5", b"0." + b"0" * 400 + b"1e400", b"0." + b"1" * 400]

_BAD = (
    b"NaN Infinity -Infinity 1e999 -1E999 1e+309 1.8e308 01 -01 1. .5 +1 1e 1e+ - 0x10 tru nul True undefined "
    b"1.7976931348623159e308"
).split()
BAD_ATOMS = [*_BAD, b"2" * 309, b"1" * 310, b"-" + b"1" * 400, b"1" * 400 + b".5", b"1" * 5000, b"9" * 308 + b"e1"]

GOOD_STRINGS = [
    b'""',
    b'"a"',
    b'"e"',
    b'"1e999"',
    b'"[[[{{{"',
    b'"x, e, y: e }"',
    b'"\\""',
    b'"\\\\"',
    b'"\\\\\\""',
    b'"\\/\\b\\f\\n\\r\\t"',
    b'"\\u0000"',
    b'"\\u00e9\\uD83D\\uDE00"',
    b'"\\\\ud800"',
    b'"\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\x7f"',
    b'"' + b"a" * 4096 + b'"',
    b'"' + b"\xc3\xa9" * 4096 + b'"',
    b'"' + b"\\u0061" * 4096 + b'"',
    b'"' + b"1" * 400 + b'"',
    b'"' + b"[" * 200 + b'"',
]

BAD_STRINGS = [
    b'"\\ud800"',
    b'"\\udc00"',
    b'"\\ud800\\u0041"',
    b'"\\ud800\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\ud83d\\ue000"',
    b'"\\ud83dxxxxxx"',
    b'"\\uD800 \\uDC00"',
    b'"\\x"',
    b'"\\u12"',
    b'"\\u12g4"',
    b'"\\"',
    b'"\n"',
    b'"\x00"',
    b'"\x1f"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\xc0\xaf"',
    b'"\xc3"',
    b'"\xf4\x90\x80\x80"',
    b"'a'",
    b'"' + b"a" * 4097 + b'"',  # too long for the envelope, fine in a body
]

_blank = st.sampled_from([b"", b"", b"", b" ", b"\t \r\n"])
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(lambda text: json.dumps(text).encode())
_raw_text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=12).map(
    lambda text: b'"%s"' % text.encode()
)
_number = st.one_of(
    st.integers().map(lambda number: str(number).encode()),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: repr(number).encode()),
    st.from_regex(rb"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
_good = st.one_of(st.sampled_from(GOOD_ATOMS), st.sampled_from(GOOD_STRINGS), _text, _raw_text, _number)
_bad = st.one_of(st.sampled_from(BAD_ATOMS), st.sampled_from(BAD_STRINGS))
_any = st.one_of(_good, _good, _good, _bad)


def _array(items: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    member = st.tuples(_blank, items, _blank).map(b"".join)
    return st.lists(member, max_size=4).map(lambda members: b"[" + b",".join(members) + b"]")


def _object(keys: SearchStrategy[bytes], items: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    member = st.tuples(_blank, keys, _blank, st.just(b":"), _blank, items, _blank).map(b"".join)
    return st.lists(member, max_size=4).map(lambda members: b"{" + b",".join(members) + b"}")


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def _nested_objects(depth: int) -> bytes:
    return b'{"":' * depth + b"1" + b"}" * depth


_deep = st.one_of(
    st.integers(120, 134).map(_nested),
    st.integers(120, 134).map(_nested_objects),
    st.sampled_from([_nested(5000), b"[" * 5000, b"]" * 300, b"[" + b"[]," * 200 + b"[]]"]),
)


def _values(leaves: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    return st.recursive(
        leaves, lambda items: st.one_of(_array(items), _object(st.one_of(_text, _raw_text), items)), max_leaves=12
    )


_TEXT_KEYS = [b'"chi"', b'"rid"', b'"from"', b'"to"', b'"sid"', b'"sigil"', b'"\\u0063hi"', b'"fr\\u006fm"']
_short = st.one_of(_text, _raw_text, st.sampled_from(GOOD_STRINGS))
_colon = st.sampled_from([b":", b":", b" : "])
_right = st.one_of(
    st.tuples(st.sampled_from(_TEXT_KEYS), _colon, _short),
    st.tuples(st.sampled_from(_TEXT_KEYS[1:6]), _colon, st.just(b"null")),
    st.tuples(
        st.sampled_from([b'"wane"', b'"dusk"', b'"sentAt"', b'"d\\u0075sk"']),
        _colon,
        st.sampled_from([b"0", b"-0", b"1763643505123", b"9223372036854775807", b"null"]),
    ),
    st.tuples(st.just(b'"ext"'), _colon, st.sampled_from([b"{}", b'{"bee":{"k":1}}', b"null"])),
    st.tuples(st.just(b'"callId"'), _colon, _values(_good)),
).map(b"".join)
_wrong = st.tuples(
    st.sampled_from([b'"%s"' % key.encode() for key in ENVELOPE_KEYS]), _colon, st.one_of(_good, _values(_good))
).map(b"".join)


def _tone(
    keys: SearchStrategy[bytes], values: SearchStrategy[bytes], *others: SearchStrategy[bytes]
) -> SearchStrategy[bytes]:
    plain = st.tuples(keys, _colon, values).map(b"".join)
    members = st.lists(st.one_of(plain, plain, _right, *others), max_size=6)
    chi = st.sampled_from([b'"chi":"chunk"'] * 6 + [b' "chi" : "x" ', b'"chi":"","chi":"e"'])
    return st.tuples(_blank, chi, members, _blank).map(
        lambda parts: parts[0] + b"{" + b",".join([parts[1], *parts[2]]) + b"}" + parts[3]
    )


_keys = st.one_of(_text, _raw_text)

good_tones = _tone(_keys, _values(_good))
"""Mostly tones: nothing in them is malformed, and their envelopes are mostly right."""

nasty_tones = _tone(
    st.one_of(_keys, _keys, st.sampled_from(BAD_STRINGS)), st.one_of(_values(_good), _values(_any), _deep), _wrong
)
"""The same with pieces in it that JSON does not allow, or that readers disagree about."""

_pieces = st.one_of(st.binary(max_size=3), _any, st.sampled_from([bytes((byte,)) for byte in b'{}[]:,"\\e.+- \r\n']))


@st.composite
def broken_lines(draw: st.DrawFn) -> bytes:
    """A tone after a few cuts and insertions at any byte."""
    line = draw(good_tones)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        end = draw(st.integers(at, min(at + 6, len(line))))
        line = line[:at] + draw(_pieces) + line[end:]
    return line


lines = st.one_of(good_tones, nasty_tones, nasty_tones, broken_lines(), st.binary(max_size=40))
