"""What holds for every line, whoever made it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hypothesis import example, given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import (
    ABSENT,
    Envelope,
    IllegalTone,
    MalformedTone,
    decode,
    decode_checked,
    decode_each,
    encode,
    envelope_of,
    peek,
    peek_each,
    read,
    salvage,
    stamp,
)
from tests.tone.lines import ENVELOPE_KEYS, lines
from tests.tone.oracle import strict_tone

MANY = settings(max_examples=400)
SOME = settings(max_examples=150)


def peeked(line: bytes) -> Envelope | None:
    try:
        return peek(line)
    except MalformedTone:
        return None


def decoded(line: bytes) -> dict[str, Any] | None:
    try:
        return decode(line)
    except MalformedTone:
        return None


def exactly(value: object) -> str:
    """For comparing: 1, 1.0 and True are equal to Python and not to JSON."""
    return repr(value)


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.sampled_from([2**64, 10**400])
)
_json = st.recursive(
    _scalars, lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(max_size=6), items, max_size=4)
)
_objects = st.dictionaries(st.sampled_from(ENVELOPE_KEYS) | st.text(max_size=6), _json, max_size=8)
_tones = st.tuples(_objects, st.text(max_size=5)).map(lambda parts: {**parts[0], "chi": parts[1]})


def told(read_as: Iterable[object]) -> list[str]:
    return [repr(each) for each in read_as]


def one_by_one(reader: Callable[[bytes], object], given_lines: Sequence[bytes]) -> list[object]:
    read_as: list[object] = []
    for line in given_lines:
        try:
            read_as.append(reader(line))
        except MalformedTone as error:
            read_as.append(error)
    return read_as


_PLAIN = [
    b'{"chi":"chunk","payload":{"hex":"3e9e1","n":[1,2.5]}}',
    b'{"chi":"chunk","text":"gr\xc3\xbc\xc3\x9fe, e: e","to":"a"}',
    b'{"chi":"chunk","x":[[[[]]]],"y":1e-7}',
]
_crowds = st.tuples(
    st.sampled_from(_PLAIN),
    st.sampled_from([0, 1, 14, 15, 16, 31, 32, 40, 63, 64, 100, 150]),
    st.lists(st.tuples(st.integers(0, 150), lines), max_size=4),
)


def crowd(plain: bytes, count: int, odd: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Lines that are all the same but for a few odd ones."""
    made = [plain] * count
    for at, line in odd:
        made.insert(at, line)
    return made


class ManyLinesTests(SynchronousTestCase):
    """A reader of many lines says of each what it says of it alone."""

    @MANY
    @given(_crowds)
    @example((_PLAIN[0], 20, [(3, b'{"chi":"x","body":' + b"[" * 127 + b"]" * 127 + b"}")]))
    @example((_PLAIN[0], 20, [(3, b'{"chi":"x","body":' + b"[\n" * 127 + b"]" * 127 + b"}")]))
    @example((b'{"chi":"x"}', 31, [(3, b'{"chi":"x","body":' + b"[" * 127 + b"]" * 127 + b"}")]))
    @example((b'{"chi":"x"}', 31, [(3, b'{"chi":"x","body":' + b"[" * 126 + b"]" * 126 + b"}")]))
    @example((_PLAIN[0], 20, [(20, b'{"chi":"x","body":1e999}')]))
    @example((_PLAIN[0], 20, [(7, b'{"chi":"x","body":{"fed" : [ -1E+999 ] , "cab":true}}')]))
    @example((_PLAIN[0], 20, [(0, b'{"chi":"x","body":' + b"1" * 400 + b"}")]))
    @example((_PLAIN[0], 20, [(4, b'{"chi":"x","body":"\xff"}')]))
    @example((_PLAIN[0], 20, [(4, b'{"chi":"x","body":"\xc3'), (5, b'\xbc"}')]))
    @example((_PLAIN[0], 20, [(4, b'{"chi":"x"},{"chi":"y"'), (5, b"}")]))
    @example((_PLAIN[0], 20, [(4, b'{"chi":"x","wane":18446744073709551615}')]))
    @example((_PLAIN[0], 20, [(4, b'{"chi":"x","wane":18446744073709551616}')]))
    def test_many_are_read_as_one(self, given_crowd: tuple[bytes, int, list[tuple[int, bytes]]]) -> None:
        made = crowd(*given_crowd)
        self.assertEqual(told(peek_each(made)), told(one_by_one(peek, made)))
        self.assertEqual(told(decode_each(made)), told(one_by_one(decode, made)))


class ReaderTests(SynchronousTestCase):
    """Lines of all kinds."""

    @MANY
    @given(lines)
    @example(b'{"chi":"chunk","callId":"\\ud800","callId":[]}')
    def test_readers_refuse_the_same_lines(self, line: bytes) -> None:
        """Peeking and full decoding refuse exactly the lines that the plain reference refuses."""
        is_tone = strict_tone(line) is not None
        self.assertEqual((peeked(line) is not None, decoded(line) is not None), (is_tone, is_tone))

    @MANY
    @given(lines)
    def test_accepted_lines_mean_what_python_reads(self, line: bytes) -> None:
        """What we accept is accepted by Python's own strict reader, with an equal value."""
        tone = decoded(line)
        if tone is None:
            self.assertIsNone(strict_tone(line))
            return
        self.assertEqual(exactly(tone), exactly(strict_tone(line)))
        self.assertEqual(exactly(decode_checked(line)), exactly(tone))

    @SOME
    @given(lines)
    def test_envelope_is_that_of_the_tone(self, line: bytes) -> None:
        """The envelope that peeking gives holds the tone's own values, the last one where a key is there twice."""
        envelope = peeked(line)
        if envelope is None:
            with self.assertRaises(MalformedTone):
                read(line)
            return
        same, tone = read(line)
        self.assertEqual(envelope, same)
        found = (envelope.chi, envelope.rid, envelope.sid, envelope.sigil, envelope.wane)
        self.assertEqual(found, tuple(map(tone.get, ("chi", "rid", "sid", "sigil", "wane"))))
        told = (envelope.sender, envelope.to, envelope.raw_call_id)
        self.assertEqual(told, tuple(tone.get(key, ABSENT) for key in ("from", "to", "callId")))
        self.assertEqual((envelope.sent_at, envelope.dusk), (tone.get("sentAt"), tone.get("dusk")))
        ext = tone.get("ext")
        self.assertEqual(envelope.ext and list(envelope.ext), ext and list(ext))

    @SOME
    @given(lines)
    def test_salvage_never_fails(self, line: bytes) -> None:
        """Whatever the line, looking for what an error answer needs raises nothing, and finds only usable text."""
        found = salvage(line)
        for value in (found.chi, found.rid, found.sid, found.call_id):
            self.assertTrue(value is None or value.encode().decode() == value)

    @SOME
    @given(lines, st.sampled_from(["humd_a", "x"]), st.sampled_from(["humd_b", "y", None]))
    def test_stamp_changes_nothing_else(self, line: bytes, sender: str, to: str | None) -> None:
        """A stamped line is the same tone but for ``from`` and ``to``, and stays one line."""
        envelope = peeked(line)
        if envelope is None:
            self.assertIsNone(decoded(line))
            return
        expected = {**decode(line), "from": sender} | ({} if to is None else {"to": to})
        stamped = stamp(line, envelope, sender, to)
        self.assertEqual(decode(stamped), expected)
        self.assertLessEqual(stamped.count(b"\n"), line.count(b"\n"))


class WriterTests(SynchronousTestCase):
    """Python values of all kinds."""

    @SOME
    @given(_tones)
    def test_what_is_written_can_be_read(self, tone: dict[str, Any]) -> None:
        """What a checked tone is written as is accepted by both readers and by Python's, with an equal value."""
        try:
            envelope = envelope_of(tone)
            line = encode(tone)
        except IllegalTone:
            return
        self.assertNotIn(b"\n", line)
        self.assertEqual(exactly(decode(line)), exactly(tone))
        self.assertEqual(exactly(strict_tone(line)), exactly(tone))
        self.assertEqual(peek(line), envelope)

    @SOME
    @given(_tones)
    def test_only_what_cannot_be_read_is_refused(self, tone: dict[str, Any]) -> None:
        """A tone that is refused for writing is one that no reader would take."""
        try:
            envelope_of(tone)
            encode(tone)
        except IllegalTone:
            text = json.dumps(tone).encode()
            self.assertIsNone(strict_tone(text))
        else:
            self.assertTrue(tone["chi"])
