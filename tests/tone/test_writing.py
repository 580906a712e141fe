"""What is written on a line, and what is refused before it gets there."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from unittest import mock

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import LocalWireError
from ensemble.tone import (
    MAX_DEPTH,
    MAX_TEXT,
    Chi,
    Envelope,
    IllegalTone,
    Qualifier,
    codec,
    decode,
    encode,
    envelope_of,
    peek,
)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@frozen
class Reading:
    """A value that the writers know by its fields."""

    value: float | None


class Name(str):
    """A text with a type of its own."""


class EncodeTests(SynchronousTestCase):
    """One line from one mapping."""

    def refuse(self, tone: Mapping[str, Any]) -> str:
        with self.assertRaises(IllegalTone) as caught:
            encode(tone)
        self.assertIsInstance(caught.exception, LocalWireError)
        return str(caught.exception)

    def test_one_compact_line(self) -> None:
        """Keys keep their order, nothing is added, and text beyond ASCII is UTF-8."""
        tone = {"chi": "x", "sid": "s", "n": None, "f": 0.5, "t": "é\n\u2028😀", "l": [1, True, {}]}
        expected = '{"chi":"x","sid":"s","n":null,"f":0.5,"t":"é\\n\u2028😀","l":[1,true,{}]}'
        self.assertEqual(encode(tone), expected.encode())

    def test_enums_and_other_mappings(self) -> None:
        """Members of a text enum, child classes of str and any mapping are written as what they stand for."""
        tone = MappingProxyType(
            {"chi": Chi.PROMPT, "n": Name("e\u0301"), "m": MappingProxyType({"a": OrderedDict(b=1)})}
        )
        self.assertEqual(encode(tone), '{"chi":"prompt","n":"e\u0301","m":{"a":{"b":1}}}'.encode())

    def test_large_integers(self) -> None:
        """Integers beyond 64 bits are written in full."""
        tone = {"chi": "x", "a": 2**64, "b": -(10**300)}
        self.assertEqual(decode(encode(tone)), tone)

    def test_number_keys(self) -> None:
        """A key that is a number becomes its text, as Python's own writer does it."""
        self.assertEqual(encode({"chi": "x", "b": {1: 2}}), b'{"chi":"x","b":{"1":2}}')

    def test_not_finite(self) -> None:
        """A number that is not finite is refused wherever it stands, and is never written as null."""
        for number in (math.nan, math.inf, -math.inf):
            for value in (number, [number], (1, number), {"a": {"b": [number]}}, {number}, OrderedDict(a=number)):
                for others in ({}, {"n": None, "i": 2**70}, {"t": "\x7f\u00ff", "f": 1.5, "s": {1}, "u": b"\xff"}):
                    self.assertIn("not finite", self.refuse({"chi": "x", **others, "v": value}))
            self.assertIn("not finite", self.refuse({"chi": "x", "v": MappingProxyType({"a": number})}))
            self.assertIn("not finite", self.refuse({"chi": "x", "i": 2**70, "v": MappingProxyType({"a": number})}))
            self.assertIn("not finite", self.refuse({"chi": "x", "v": Reading(number)}))

    def test_null_is_no_endless_number(self) -> None:
        """A null, or the word in a text, is written whatever else is in the tone."""
        for value in (None, "null", [None, 0.5, -1, 2**70], {"null": 1.5, "a": {"b": (None,)}}, OrderedDict(a=None)):
            for text in ("plain", "\x7f"):
                tone = {"chi": "x", "v": value, "t": text, "f": 1.5}
                self.assertEqual(encode(tone), json.dumps(tone, separators=(",", ":"), ensure_ascii=False).encode())
        self.assertEqual(encode({"chi": "x", "v": Reading(None), "f": -1.5, "t": "\x7f"}).count(b"null"), 1)

    def test_null_is_found_cheaply(self) -> None:
        """A tone with a null is not walked through value by value unless a float in it looks endless."""
        with mock.patch.object(codec, "_has_endless", side_effect=AssertionError("it was")):
            line = encode({"chi": "x", "v": None, "f": [0.1, -1e300, 5e-324], "t": "text", "i": 2**40})
        self.assertIn(b"null", line)

    def test_a_line_that_waits_costs_what_it_says(self) -> None:
        """The bound of a queue counts the bytes of its lines: a writer must not give them with a larger buffer."""
        for length in (100, 1000, 30_000):
            tone = {"chi": "x", "v": "v" * length}
            tracemalloc.start()
            try:
                lines = [encode(tone) for _ in range(100)]
                held, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(held, 2 * sum(map(len, lines)) + 20_000)

    def test_lone_surrogates(self) -> None:
        """A lone surrogate is refused in a value and in a key."""
        self.refuse({"chi": "x", "v": ["\ud800"]})
        self.refuse({"chi": "x", "\udfff": 1})

    def test_no_json_form(self) -> None:
        """What JSON has no form for is refused."""
        for value in (object(), {None: 1}, {(1, 2): 1}, 1j, iter([]), Decimal):
            self.refuse({"chi": "x", "v": value})

    def test_depth(self) -> None:
        """127 containers are written, one more is refused, and so is a tone that contains itself."""
        line = encode({"chi": "x", "v": nested(MAX_DEPTH - 1)})
        self.assertEqual(peek(line).chi, "x")
        self.assertIn("127", self.refuse({"chi": "x", "v": nested(MAX_DEPTH)}))
        self.refuse({"chi": "x", "v": nested(900)})
        endless: dict[str, Any] = {"chi": "x"}
        endless["v"] = endless
        self.refuse(endless)

    def test_integer_beyond_a_double(self) -> None:
        """An integer that no reader would take is not written."""
        self.assertIn("range", self.refuse({"chi": "x", "v": 10**309}))
        self.refuse({"chi": "x", "v": 10**5000})

    def test_numbers_that_python_and_we_write_differently(self) -> None:
        """Every float comes back as the very same float."""
        floats = [0.1, -0.0, 1e16, 1e22, 1e-7, 123456789012345678.0, 5e-324, 1.7976931348623157e308, 2.0**70]
        self.assertEqual(repr(decode(encode({"chi": "x", "v": floats}))["v"]), repr(floats))


class EnvelopeOfTests(SynchronousTestCase):
    """The check of a tone before it is written."""

    def test_same_as_read(self) -> None:
        """The envelope of a tone is that of the line that it is written as."""
        tone: dict[str, Any] = {
            "chi": Chi.CHUNK,
            "from": "a",
            "to": None,
            "dusk": 5,
            "ext": {"b": {}},
            "callId": 7,
            "x": 1,
        }
        for form in (tone, MappingProxyType(tone)):
            self.assertEqual(envelope_of(form), peek(encode(tone)))
        wanted = Envelope(chi="chunk", sender="a", to=None, dusk=5, ext=peek(encode(tone)).ext, raw_call_id=7)
        self.assertEqual(envelope_of(tone), wanted)

    def test_what_no_reader_would_take(self) -> None:
        """Envelope fields of the wrong type, and keys that are no text, are refused."""
        for bad in (
            {},
            {"chi": ""},
            {"chi": None},
            {"chi": b"x"},
            {"chi": "x" * (MAX_TEXT + 1)},
            {"chi": "x", "rid": 5},
            {"chi": "x", "from": b"f"},
            {"chi": "x", "dusk": 1.0},
            {"chi": "x", "dusk": True},
            {"chi": "x", "dusk": 2**63},
            {"chi": "x", "wane": -1},
            {"chi": "x", "wane": 2**64},
            {"chi": "x", "ext": {"a": 1}},
            {"chi": "x", 5: 1},
        ):
            with self.assertRaises(IllegalTone):
                envelope_of(bad)  # type: ignore[arg-type]

    def test_qualifiers_are_text(self) -> None:
        """An enum member in a body field does no harm."""
        self.assertEqual(envelope_of({"chi": "error", "qualifier": Qualifier.PEER_LOST}).chi, "error")
