"""Which lines are tones (mesh 2.1 and 2.2, wire-0.8 section 7), line by line."""

from __future__ import annotations

import tracemalloc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import RemoteWireError
from ensemble.tone import (
    ABSENT,
    MAX_DEPTH,
    MAX_TEXT,
    Envelope,
    MalformedTone,
    codec,
    decode,
    decode_checked,
    peek,
    read,
)


def with_body(value: bytes) -> bytes:
    return b'{"chi":"x","body":' + value + b"}"


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def tight(in_objects: int, in_arrays: int) -> bytes:
    """As few bytes as that depth can have: objects around arrays, the innermost empty."""
    around, inside = (in_objects, arrays(in_arrays)) if in_arrays else (in_objects - 1, b"{}")
    return b'{"":' * around + inside + b"}" * around


class RefusedTests(SynchronousTestCase):
    """Lines that are no tones; every reader must say so, and in the same way."""

    def refuse(self, *lines: bytes) -> None:
        for line in lines:
            for reader in (peek, decode, read):
                with self.assertRaises(MalformedTone, msg=repr(line[:80])) as caught:
                    reader(line)
                self.assertIsInstance(caught.exception, RemoteWireError)
                self.assertTrue(str(caught.exception))
                self.assertLess(len(str(caught.exception)), 200)

    def test_half_a_character_is_named(self) -> None:
        """A line that ends in half of a surrogate pair is whole to the eye: the error says what to look for."""
        for reader in (peek, decode, read):
            with self.assertRaisesRegex(MalformedTone, "ends too early, or a text in it with half of a surrogate"):
                reader(b'{"chi":"x","delta":"\\ud83d"}')

    def test_not_json(self) -> None:
        """What JSON's grammar does not allow is refused."""
        self.refuse(
            b"",
            b" ",
            b"{",
            b'{"chi":"x"',
            b'{"chi":"x",}',
            b'{"chi":"x"}}',
            b'{"chi":"x"} x',
            b'{"chi":"x"}\x00',
            b'{"chi":"x"}{"chi":"x"}',
            b"{chi:1}",
            b"{'chi':'x'}",
            b'{"chi":"x" "y":1}',
            b'{"chi":"x",1:2}',
            with_body(b"[1,]"),
            with_body(b"[1 2]"),
            with_body(b"tru"),
            with_body(b"True"),
            with_body(b"undefined"),
            with_body(b"/* */1"),
            with_body(b"\xa01"),
            with_body(b"\x0b1"),
        )

    def test_byte_order_mark(self) -> None:
        """A line that begins with a byte order mark is refused."""
        self.refuse(b'\xef\xbb\xbf{"chi":"x"}', '{"chi":"x"}'.encode("utf-16"))

    def test_not_an_object(self) -> None:
        """JSON that is not an object is refused."""
        self.refuse(b"[]", b'[{"chi":"x"}]', b'"x"', b"null", b"5", b"true")

    def test_numbers_outside_the_grammar(self) -> None:
        """Numbers that only lax readers know are refused."""
        for number in b"NaN Infinity -Infinity nan inf 01 -01 1. .5 +1 1e 1e+ - 0x10 1_000 1e5.5".split():
            self.refuse(with_body(number), with_body(b"[" + number + b"]"))

    def test_numbers_beyond_a_double(self) -> None:
        """A number that no double can hold is refused wherever it stands, with an exponent and without."""
        numbers = [
            *b"1e999 -1e999 1E999 1e+999 1e0999 1.8e308 1.7976931348623159e308 10e308 0.1e310 1e99999999999".split(),
            b"2" * 309,
            b"1" * 310,
            b"-" + b"1" * 310,
            b"1" * 400 + b".5",
            b"1" * 5000,
            b"9" * 308 + b"e1",
        ]
        for number in numbers:
            self.refuse(
                with_body(number),
                with_body(b" " + number + b"\t"),
                with_body(b"[1," + number + b"]"),
                with_body(b'{"a":[[' + number + b"]]}"),
                with_body(number + b',"tail":"' + b"t" * 2000 + b'"'),
                with_body(b'["' + b"t" * 350 + b'",' + number + b"]"),
                b'{"x":' + number + b',"chi":"x"}',
                b'{"chi":"x","callId":' + number + b"}",
                b'{"chi":"x","ext":{"a":{"b":' + number + b"}}}",
            )

    def test_lone_surrogates(self) -> None:
        """Half of a surrogate pair is refused in every place: value, key, envelope, anywhere in the string."""
        for text in (
            rb"\ud800",
            rb"\udfff",
            rb"\uD800",
            rb"\ud800\u0041",
            rb"\ud800\ud800",
            rb"\udc00\ud800",
            rb"\ud83d\ue000",
            rb"\ud83d\udbff",
            rb"\ud83d ude00",
            rb"\ud83d\\ude00",
            rb"\ud83d\n\ude00",
            rb"\ud83dxxxxxxxx",
            rb"a\udc00z",
            rb"\ud83d\ude00\ud83d",
        ):
            self.refuse(
                with_body(b'"' + text + b'"'),
                with_body(b'["' + text + b'"]'),
                b'{"chi":"x","' + text + b'":1}',
                b'{"chi":"' + text + b'"}',
                b'{"chi":"x","callId":"' + text + b'"}',
            )

    def test_every_half_of_a_pair(self) -> None:
        """Of all pairs of escapes around the edges, only a high one before a low one is a character."""
        edges = (0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000)
        for first in edges:
            for second in edges:
                line = with_body(b'"\\u%04x\\u%04X"' % (first, second))
                halves = [0xD800 <= each <= 0xDFFF for each in (first, second)]
                if not any(halves) or (0xD800 <= first <= 0xDBFF and 0xDC00 <= second <= 0xDFFF):
                    peek(line)
                    self.assertEqual(len(decode(line)["body"]), 2 - all(halves))
                else:
                    self.refuse(line)

    def test_bad_escapes_and_control_characters(self) -> None:
        """Unknown escapes and raw control characters in strings are refused."""
        for text in (rb"\x41", rb"\u12", rb"\u12g4", rb"\U0041", rb"\'", b"\n", b"\t", b"\x00", b"\x1f", b"a\rb"):
            self.refuse(with_body(b'"' + text + b'"'), b'{"chi":"x","' + text + b'":1}', b'{"chi":"' + text + b'"}')

    def test_not_utf_8(self) -> None:
        """Bytes that are not UTF-8 are refused in keys and values, also where the body is skipped."""
        for raw in (
            b"\xff",
            b"\x80",
            b"\xc3",
            b"\xc3\x28",
            b"\xc0\xaf",
            b"\xe2\x82",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88\x80\x80\x80",
        ):
            self.refuse(
                with_body(b'"' + raw + b'"'),
                with_body(b'["' + raw + b'"]'),
                b'{"chi":"x","' + raw + b'":1}',
                b'{"chi":"' + raw + b'"}',
                b'{"chi":"x"}' + raw,
            )

    def test_too_deep(self) -> None:
        """One container more than 127 is refused, whatever its kind; so are bombs."""
        self.refuse(
            with_body(arrays(MAX_DEPTH)),
            with_body(objects(MAX_DEPTH)),
            with_body(b"[1," + objects(MAX_DEPTH - 1) + b"]"),
            with_body(b"[" + b"[]," * 300 + arrays(MAX_DEPTH - 1) + b"]"),
            with_body(b'{"]":"}","a\\"":' + arrays(MAX_DEPTH - 1) + b"}"),
            with_body(b'["\\\\",' + arrays(MAX_DEPTH - 1) + b"]"),
            b'{"chi":"x","ext":{"a":{"b":' + arrays(MAX_DEPTH - 2) + b"}}}",
            b'{"chi":"x","callId":' + arrays(MAX_DEPTH) + b"}",
            *(with_body(tight(number, MAX_DEPTH - number)) for number in range(MAX_DEPTH + 1)),
            with_body(arrays(900)),
            with_body(arrays(100_000)),
            with_body(b"[" * 100_000),
            b"[" * 100_000,
            b'{"a":' * 100_000,
        )

    def test_chi(self) -> None:
        """A tone without a chi, or with one that is not a string with something in it, is refused."""
        self.refuse(b"{}", b'{"rid":"r"}', b'{"Chi":"x"}')
        for value in (b'""', b"null", b"5", b"true", b"[]", b"{}", b'["x"]', b'"' + b"c" * (MAX_TEXT + 1) + b'"'):
            self.refuse(b'{"chi":' + value + b"}")

    def test_text_fields(self) -> None:
        """A text field of the envelope is refused with another type, or when it is very long."""
        for key in (b"rid", b"from", b"to", b"sid", b"sigil"):
            for value in (b"5", b"1.5", b"true", b"[]", b"{}", b'"' + b"\xc3\xa9" * (MAX_TEXT + 1) + b'"'):
                self.refuse(b'{"chi":"x","' + key + b'":' + value + b"}")

    def test_number_fields(self) -> None:
        """A number field of the envelope is refused when it is no integer, or does not fit its 64 bits."""
        for key in (b"wane", b"sentAt", b"dusk"):
            values = [*b'1.0 1e3 "5" true [] {} 18446744073709551616 99999999999999999999'.split(), b"1" * 400]
            values += [b"-1", b"-9223372036854775808"] if key == b"wane" else [b"9223372036854775808"]
            for value in (*values, b"-9223372036854775809", b"-" + b"1" * 400):
                self.refuse(b'{"chi":"x","' + key + b'":' + value + b"}")

    def test_ext(self) -> None:
        """``ext`` is refused when it is not an object of objects."""
        for value in (b"5", b"[]", b'"x"', b'{"a":1}', b'{"a":null}', b'{"a":{},"b":[]}'):
            self.refuse(b'{"chi":"x","ext":' + value + b"}")

    def test_of_two_equal_keys_the_last_is_wrong(self) -> None:
        """Where a key is there twice, a last one of the wrong type is refused."""
        self.refuse(b'{"chi":"x","chi":5}', b'{"chi":"x","rid":"r","rid":5}', b'{"chi":"x","chi":""}')

    def test_a_wrong_field_is_refused_cheaply(self) -> None:
        """Of a line with a wrong field only the envelope is built, though the last of two fields counts."""
        built: list[bytes] = []
        decode_anything = codec._decode

        def counting(line: bytes) -> dict[str, Any]:
            built.append(line)
            return decode_anything(line)

        self.patch(codec, "_decode", counting)
        large = b'"b":[' + b'{"a":0},' * 10_000 + b"0]"
        with self.assertRaises(MalformedTone):
            peek(b'{"chi":7,' + large + b"}")
        self.assertEqual(peek(b'{"chi":7,' + large + b',"chi":"x"}').chi, "x")
        self.assertEqual(built, [b'{"chi":7}', b'{"chi":"x"}'])

    def test_what_nobody_reads_is_not_built(self) -> None:
        """A tone with a large ``ext`` takes hardly more memory than its line."""
        line = b'{"chi":"x","ext":{"a":{"b":[' + b"1.5," * 50_000 + b"0]}}}"
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        envelope = peek(line)
        self.assertLess(tracemalloc.get_traced_memory()[1], 4 * len(line))
        self.assertEqual(list(envelope.ext or ()), ["a"])


class AcceptedTests(SynchronousTestCase):
    """Lines that are tones, however odd; every reader must take them."""

    def accept(self, line: bytes) -> tuple[Envelope, dict[str, object]]:
        envelope = peek(line)
        tone = decode(line)
        self.assertEqual(read(line), (envelope, tone))
        self.assertEqual(decode_checked(line), tone)
        return envelope, tone

    def test_envelope(self) -> None:
        """Every envelope field arrives under its own name."""
        line = (
            b'{"chi":"x","rid":"r","from":"f","to":"t","sid":"s","sigil":"d6560b664845","wane":18446744073709551615,'
            b'"sentAt":-9223372036854775808,"dusk":9223372036854775807,"ext":{"bee":{"k":[1]}},"callId":"c"}'
        )
        envelope, tone = self.accept(line)
        self.assertEqual(
            envelope,
            Envelope(
                chi="x",
                rid="r",
                sender="f",
                to="t",
                sid="s",
                sigil="d6560b664845",
                wane=2**64 - 1,
                sent_at=-(2**63),
                dusk=2**63 - 1,
                ext=envelope.ext,
                raw_call_id="c",
            ),
        )
        self.assertEqual((envelope.call_id, list(envelope.ext or ())), ("c", ["bee"]))
        self.assertEqual(len(tone), 11)

    def test_absent_and_null(self) -> None:
        """An optional field that is null counts as absent; ``from``, ``to`` and ``callId`` tell which it was."""
        keys = b"rid from to sid sigil wane sentAt dusk ext callId".split()
        absent, _ = self.accept(b'{"chi":"x"}')
        null, _ = self.accept(b'{"chi":"x",' + b",".join(b'"%s":null' % key for key in keys) + b"}")
        for envelope, nobody in ((absent, ABSENT), (null, None)):
            self.assertEqual(envelope, Envelope(chi="x", sender=nobody, to=nobody, raw_call_id=nobody))
            self.assertIsNone(envelope.target)
            self.assertIsNone(envelope.call_id)
        self.assertFalse(ABSENT)

    def test_unknown_chi_and_fields(self) -> None:
        """A chi that nobody knows is a tone, and so is one with any body."""
        envelope, tone = self.accept(b'{"chi":"not-in-the-registry","x":{"y":[null,true,1.5]}}')
        self.assertEqual(envelope.chi, "not-in-the-registry")
        self.assertEqual(tone["x"], {"y": [None, True, 1.5]})

    def test_call_id_is_any_json(self) -> None:
        """``callId`` belongs to the body: any JSON is legal, and only text of a sane length can be routed by."""
        for value in (b"7", b"[1]", b'{"a":1}', b"true", b'"' + b"c" * (MAX_TEXT + 1) + b'"'):
            self.assertIsNone(self.accept(b'{"chi":"x","callId":' + value + b"}")[0].call_id)
        longest = "c" * MAX_TEXT
        self.assertEqual(self.accept(b'{"chi":"x","callId":"%s"}' % longest.encode())[0].call_id, longest)

    def test_blanks_around(self) -> None:
        """JSON's white space around a line and between its parts is accepted."""
        envelope, _ = self.accept(b' \t\r\n{ "chi" : "x" ,\t"dusk" :\n 5 } \r\n ')
        self.assertEqual((envelope.chi, envelope.dusk), ("x", 5))

    def test_escapes(self) -> None:
        """Keys and values spelt with escapes are the same keys and values."""
        line = rb'{"ch\u0069":"\u0078\/\b","fr\u006fm":"f","t\u006F":"\ud83d\ude00","x":"\\ud800\u0000"}'
        envelope, tone = self.accept(line)
        self.assertEqual((envelope.chi, envelope.sender, envelope.to), ("x/\b", "f", "😀"))
        self.assertEqual(tone["x"], "\\ud800\0")

    def test_utf_8(self) -> None:
        """Text of any script arrives as it is, also what some readers take for a line end."""
        text = "é\x7f\u0085\u2028日本語😀\U0010ffff\ufeff"
        envelope, tone = self.accept(f'{{"chi":"x","sid":"{text}","{text}":"{text}"}}'.encode())
        self.assertEqual((envelope.sid, tone[text]), (text, text))

    def test_equal_keys(self) -> None:
        """Where a key is there twice the last one counts, even if the first alone would be refused."""
        envelope, tone = self.accept(
            b'{"chi":5,"rid":[],"dusk":"x","chi":"a","chi":"b","rid":"r","dusk":null,"dusk":7}'
        )
        self.assertEqual((envelope.chi, envelope.rid, envelope.dusk), ("b", "r", 7))
        self.assertEqual(tone, {"chi": "b", "rid": "r", "dusk": 7})
        self.assertIsNone(self.accept(b'{"chi":"a","rid":5,"rid":null}')[0].rid)

    def test_integers_beyond_64_bits(self) -> None:
        """A body may hold integers of any size that a double reaches, exactly."""
        for number in (2**64, -(2**63) - 1, 10**100, int("9" * 308), int("1" * 309), -int("1" * 309)):
            self.assertEqual(self.accept(with_body(str(number).encode()))[1]["body"], number)

    def test_floats(self) -> None:
        """A float arrives as Python reads it, however it is written."""
        numbers = b"-0.0 1e5 1E+5 1.5e-7 1e-999 0e99999 1e000001 5e-324 1.7976931348623158e308".split()
        numbers += [b"0." + b"0" * 400 + b"1e401", b"1" * 400 + b"e-399", b"-" + b"1" * 400 + b".5e-399"]
        numbers += [b"1e-" + b"9" * 400, b"1E-" + b"9" * 5000, b"0." + b"9" * 400, b"1e+" + b"0" * 400 + b"1"]
        for number in numbers:
            body = self.accept(with_body(number))[1]["body"]
            self.assertIsInstance(body, float)
            self.assertEqual(repr(body), repr(float(number)))
        self.assertEqual(repr(self.accept(with_body(b"-0"))[1]["body"]), "0")

    def test_depth(self) -> None:
        """127 containers inside each other are accepted, and any number of brackets in strings or side by side."""
        for value in (
            arrays(MAX_DEPTH - 1),
            objects(MAX_DEPTH - 1),
            *(tight(number, MAX_DEPTH - 1 - number) for number in range(MAX_DEPTH)),
            b"[" + arrays(MAX_DEPTH - 2) + b"," + objects(MAX_DEPTH - 2) + b"]",
            b'"' + b"[{" * 1000 + b'"',
            b'"\\"' + b"[" * 1000 + b'\\\\"',
            b'["\\\\","' + b"[" * 1000 + b'"]',
            b"[" + b"[]," * 1000 + b"{}]",
            b"[" + b'{"a":[{}]},' * 1000 + b"0]",
        ):
            self.assertIn("body", self.accept(with_body(value))[1])

    def test_digits_in_strings(self) -> None:
        """Text that looks like a number out of range is text."""
        for text in ("1e999", "1" * 1000, ",1e999,", ": 1e999 }", "e", ", e, e, e,", "[" + "1" * 400 + "]"):
            self.assertEqual(self.accept(with_body(f'"{text}"'.encode()))[1]["body"], text)

    def test_longest_text(self) -> None:
        """An envelope string may have 4096 characters, whatever they weigh."""
        for text in ("a" * MAX_TEXT, "é" * MAX_TEXT, "😀" * MAX_TEXT):
            self.assertEqual(self.accept(f'{{"chi":"x","rid":"{text}"}}'.encode())[0].rid, text)

    def test_large_line(self) -> None:
        """A line of several megabytes is read in full."""
        size = 4 * 1024 * 1024
        self.assertEqual(len(str(self.accept(with_body(b'"' + b"a" * size + b'"'))[1]["body"])), size)
        self.assertEqual(self.accept(with_body(b"[" + b"[[]],{}," * (size // 64) + b"0]"))[0].chi, "x")

    def test_names_of_the_wire(self) -> None:
        """Python's names for envelope fields mean nothing on the wire."""
        envelope, _ = self.accept(b'{"chi":"x","sender":5,"sent_at":"y","call_id":[],"raw_call_id":1}')
        self.assertEqual(envelope, Envelope(chi="x"))
