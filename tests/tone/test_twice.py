"""Whoever reads a line that was handed on, with any parser, sees the envelope that was judged."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import MAX_HEAD, decode, encode, head, once, peek

KEYS = ("chi", "from", "to", "sid", "rid", "callId")
SPELLED = {
    **{key: [f'"{key}"'] for key in KEYS},
    "from": ['"from"', '"\\u0066rom"', '"f\\u0072om"'],
    "sid": ['"sid"', '"\\u0073id"', '"s\\u0069\\u0064"'],
    "x": ['"x"', '"from "', '"sid\\u0000"', '"\\\\u0066rom"'],
}
VALUES = ('"a"', '"b"', '"é"', '"\\u0062"', '"from"', '"sid"', '"\\"sid\\":\\"b\\""', '"{"', '"\\\\"')
BODIES = (*VALUES, "null", "1.50", "123456789012345678901234567890", '{"sid":"b","from":"a"}', '["sid",{"rid":null}]')

members = st.sampled_from(sorted(SPELLED)).flatmap(
    lambda key: st.tuples(
        st.sampled_from(SPELLED[key]),
        st.sampled_from((":", ": ", " :", ":\t")),
        st.sampled_from(BODIES if key in ("x", "callId") else VALUES if key == "chi" else (*VALUES, "null")),
    ).map("".join)
)
some = st.lists(members, max_size=9)


def line_of(members: list[str], comma: str = ",") -> bytes:
    """Always with a ``chi``, which is a string as long as it is the last."""
    return ("{" + comma.join(['"chi":"x"', *members]) + "}").encode()


def first_of(line: bytes) -> dict[str, Any]:
    """The envelope as a parser sees it that takes the first of two keys."""
    tone = json.loads(line, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    return {key: value for key, value in tone.items() if key in KEYS}


def last_of(line: bytes) -> dict[str, Any]:
    """The same as we see it."""
    return {key: value for key, value in decode(line).items() if key in KEYS}


class OnceTests(SynchronousTestCase):
    """Lines in which a key stands twice."""

    @given(some, st.sampled_from((",", ", ")))
    @example(['"sid":"a"', '"sid":"b"'], ",")
    @example(['"\\u0073id":"a"', '"sid":"b"'], ",")
    @example(['"callId":"a"', '"callId":null'], ",")
    @example(['"\\u0072id":"a"', '"\\u0072id":null'], ",")
    @example(['"x":{"sid":"b"}', '"sid":"a"', '"sid":"b"'], ",")
    @example(['"x":"\\"sid\\":\\"b\\""', '"sid":"a"', '"sid":"b"'], ",")
    def test_any_line(self, members: list[str], comma: str) -> None:
        """The first of two keys says what the last one says; without such keys nothing is touched."""
        line = line_of(members, comma)
        found = once(line, peek(line))
        self.assertEqual(first_of(found), last_of(line))
        self.assertEqual(decode(found), decode(line))
        if b"\\u" not in line and all(line.count(f'"{key}"'.encode()) < 2 for key in KEYS):
            self.assertIs(found, line)

    @given(some, some)
    @example(['"from":"a"', '"to":"b"', '"sid":"a"'], ['"sid":"b"'])
    def test_any_head(self, members: list[str], others: list[str]) -> None:
        """What begins as such a line has the same keys first, whatever comes behind."""
        line = line_of(members)
        begin = head(line, peek(line))
        if begin is None:
            return
        self.assertTrue(line.startswith(begin))
        found = first_of(begin + ("," + ",".join(others) if others else "").encode() + b"}")
        judged = last_of(line)
        for key in ("chi", "from", "to", "sid"):
            if judged.get(key) is not None:
                self.assertEqual(found[key], judged[key])

    def test_a_plain_head(self) -> None:
        """Of a line as bees and humds write it there is one; of one whose keys come late there is none."""
        tone = {"from": "a", "to": "b", "chi": "chunk", "sid": "s", "delta": "x"}
        for line in (encode(tone), json.dumps(tone).encode()):
            begin = head(line, peek(line))
            assert begin is not None
            self.assertTrue(begin.endswith(b'"s"'))
        late = encode({"from": "a", "to": "b", "chi": "chunk", "delta": "x" * MAX_HEAD, "sid": "s"})
        self.assertIsNone(head(late, peek(late)))
        self.assertIs(once(late, peek(late)), late)

    def test_numbers_of_any_size(self) -> None:
        """A line is built anew whatever numbers it has, and keeps them."""
        digits = "1" * 200
        line = f'{{"chi":"x","n":{digits},"sid":"a","sid":"b"}}'.encode()
        self.assertEqual(once(line, peek(line)), f'{{"chi":"x","n":{digits},"sid":"b"}}'.encode())
