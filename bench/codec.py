"""
Why each call of the tone codec is made with msgspec or with ujson: ``python -m bench.codec [--json]``.

Two tables.  The first is speed: what each call costs, beside what the other library and Python's own would cost for the
same work.  Ours does more than its rivals: the checks that they leave out are in its figure.  The second is why speed
alone does not decide: which bad lines each reader takes for good ones.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import ujson
from attrs import asdict, frozen

from bench.tones import LINE, TONE, TURN, addressed, crowd_id
from ensemble.tone import (
    MalformedTone,
    decode,
    decode_checked,
    decode_each,
    encode,
    envelope_of,
    peek,
    peek_each,
    read,
    read_document,
    stamp,
    write_document,
)

BATCHES, BATCH = 300, 200  # the best of many short batches: a busy machine cannot spoil them all

ALICE, BOB = crowd_id(1), crowd_id(2)
STAMPED = encode(addressed(ALICE, BOB))
LINES = [bytes(bytearray(STAMPED)) for _ in range(TURN)]
ENVELOPE = peek(LINE)
NAMED = dict(TONE)
PLAIN = {key: value for key, value in TONE.items() if key not in ("from", "to")}
PLAIN_LINE = encode(PLAIN)
PLAIN_ENVELOPE = peek(PLAIN_LINE)
TEXT = LINE.decode()

struct_only = msgspec.json.Decoder(type(ENVELOPE)).decode


@frozen
class Call:
    """One call of the codec, what it is made with, and its rivals."""

    name: str
    made_with: str
    why: str
    ours: Callable[[], object]
    rivals: dict[str, Callable[[], object]]
    tones: int = 1  # in one call


CALLS = (
    Call(
        "peek",
        "msgspec",
        "a Struct decoder skips the body, which neither rival can",
        lambda: peek(LINE),
        {
            "Struct, unchecked": lambda: struct_only(LINE),
            "ujson": lambda: ujson.loads(LINE),
            "json": lambda: json.loads(LINE),
        },
    ),
    Call(
        "peek, full ids",
        "msgspec",
        "the same as it arrives on a link",
        lambda: peek(STAMPED),
        {
            "Struct, unchecked": lambda: struct_only(STAMPED),
            "ujson": lambda: ujson.loads(STAMPED),
            "json": lambda: json.loads(STAMPED),
        },
    ),
    Call(
        "read, decode",
        "msgspec",
        "faster, and strict by itself in most of what the second table asks",
        lambda: read(LINE),
        {
            "peek and decode": lambda: (peek(LINE), decode_checked(LINE)),
            "ujson": lambda: ujson.loads(LINE),
            "json": lambda: json.loads(LINE),
        },
    ),
    Call(
        "peek_each, full ids",
        "msgspec",
        "of 64 lines: what is asked of all together costs less",
        lambda: list(peek_each(LINES)),
        {"peek of each": lambda: [peek(line) for line in LINES]},
        len(LINES),
    ),
    Call(
        "decode_each, full ids",
        "msgspec",
        "likewise",
        lambda: list(decode_each(LINES)),
        {"decode of each": lambda: [decode(line) for line in LINES]},
        len(LINES),
    ),
    Call(
        "decode_checked",
        "msgspec",
        "what peek accepted needs no second check",
        lambda: decode_checked(LINE),
        {"ujson": lambda: ujson.loads(LINE), "json": lambda: json.loads(LINE)},
    ),
    Call(
        "encode, a null in it",
        "msgspec",
        "faster even with the search for NaN, which msgspec would write as null",
        lambda: encode(NAMED),
        {
            "msgspec, unchecked": lambda: msgspec.json.encode(NAMED),
            "ujson": lambda: ujson.dumps(NAMED, ensure_ascii=False, allow_nan=False).encode(),
            "json": lambda: json.dumps(NAMED, separators=(",", ":"), allow_nan=False).encode(),
        },
    ),
    Call(
        "envelope_of",
        "msgspec",
        "checks ten types in one call",
        lambda: envelope_of(NAMED),
        {"peek of the line": lambda: peek(encode(NAMED))},
    ),
    Call(
        "stamp",
        "neither",
        "a splice leaves the body as it is",
        lambda: stamp(PLAIN_LINE, PLAIN_ENVELOPE, ALICE, BOB),
        {"decode and encode": lambda: encode({**decode(PLAIN_LINE), "from": ALICE, "to": BOB})},
    ),
    Call(
        "read_document",
        "msgspec",
        "strict, and its errors say where: files are edited by people",
        lambda: read_document(TEXT),
        {"ujson": lambda: ujson.loads(TEXT), "json": lambda: json.loads(TEXT)},
    ),
    Call(
        "write_document",
        "ujson",
        "indents, and refuses NaN by itself; files, logs and --json wait for disks and people",
        lambda: write_document(NAMED, pretty=True),
        {
            "msgspec": lambda: msgspec.json.format(msgspec.json.encode(NAMED)).decode(),
            "json": lambda: json.dumps(NAMED, indent=2, ensure_ascii=False, allow_nan=False),
        },
    ),
)

READERS: dict[str, Callable[[bytes], object]] = {
    "ours": lambda line: (peek(line), decode(line)),
    "Struct": struct_only,
    "msgspec": msgspec.json.Decoder(dict[str, Any]).decode,
    "ujson": ujson.loads,
    "json": json.loads,
}


def _body(value: bytes) -> bytes:
    return b'{"chi":"x","body":' + value + b"}"


BAD_LINES = {
    "NaN, Infinity": _body(b"[NaN,-Infinity]"),
    "1e999": _body(b"1e999"),
    "an integer of 400 digits": _body(b"1" * 400),
    "01": _body(b"01"),
    "a lone surrogate": _body(b'"\\ud800 "'),
    "a raw control character": _body(b'"\x01"'),
    "bytes that are not UTF-8": _body(b'"\xff"'),
    "128 containers deep": _body(b"[" * 127 + b"]" * 127),
    "a byte order mark": b"\xef\xbb\xbf" + LINE,
    "no chi": b'{"rid":"r"}',
    "a dusk of 1.5": b'{"chi":"x","dusk":1.5}',
    "a wane beyond 64 bits": b'{"chi":"x","wane":18446744073709551616}',
}


def cost(call: Callable[[], object], tones: int) -> float:
    """Microseconds for one tone, of the quietest batch."""
    best, counter, calls = float("inf"), time.perf_counter, -(-BATCH // tones)
    for _ in range(BATCHES):
        began = counter()
        for _ in range(calls):
            call()
        best = min(best, counter() - began)
    return best / calls / tones * 1e6


def accepts(reader: Callable[[bytes], object], line: bytes) -> bool:
    try:
        reader(line)
    except (MalformedTone, msgspec.MsgspecError, ValueError, RecursionError):  # other libraries' own are ValueErrors
        return False
    return True


@frozen
class Cost:
    """What one call costs, in microseconds."""

    name: str
    made_with: str
    why: str
    ours: float
    rivals: dict[str, float]


def costs() -> list[Cost]:
    gc.disable()
    try:
        return [
            Cost(
                call.name,
                call.made_with,
                call.why,
                cost(call.ours, call.tones),
                {name: cost(rival, call.tones) for name, rival in call.rivals.items()},
            )
            for call in CALLS
        ]
    finally:
        gc.enable()


def leaks() -> dict[str, list[str]]:
    """For each bad line, who takes it for a good one."""
    return {name: [who for who, read in READERS.items() if accepts(read, line)] for name, line in BAD_LINES.items()}


def table(measured: Sequence[Cost], taken: dict[str, list[str]]) -> str:
    rows = [f"Microseconds for one tone of {len(LINE)} bytes", ""]
    for each in measured:
        rivals = ", ".join(f"{name} {figure:.2f}" for name, figure in each.rivals.items())
        rows += [f"{each.name:22}{each.ours:6.2f}  {each.made_with}: {each.why}", f"{'':30}beside {rivals}"]
    rows += ["", "Bad lines, and who takes them", ""]
    rows += [f"{name:26}{', '.join(who) or 'nobody'}" for name, who in taken.items()]
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.codec", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args(arguments)
    measured, taken = costs(), leaks()
    if options.json:
        print(json.dumps({"unit": "us", "calls": [asdict(each) for each in measured], "bad_lines": taken}, indent=2))
    else:
        print(table(measured, taken))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
