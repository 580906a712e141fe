"""
Throw broken lines at the tone codec.

The promise: a line is a tone, or raises ``MalformedTone`` and nothing else; ``peek``, ``decode`` and ``read`` agree;
what is a tone is JSON to Python's own reader too, with an equal value; and what the codec writes it reads back.

    python fuzz/fuzz_codec.py --runs 100000 --seed 7      plain random mutation, nothing else needed
    python fuzz/fuzz_codec.py --atheris [CORPUS ...]      coverage-guided, where atheris is installed
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ensemble.tone import (
    Envelope,
    MalformedTone,
    decode,
    decode_checked,
    encode,
    peek,
    read,
    salvage,
    stamp,
)

SEEDS = (
    b'{"chi":"hello","rid":"hello-1","from":"humd_139e3940e64b","proto_version":"0.8.0","nests":[],"free_slots":null}',
    b'{"chi":"chunk","sid":"hum-X","chunkType":"text_delta","blockIdx":0,"delta":"caf\xc3\xa9 \\u00e9 \\ud83d\\ude00"}',
    b'{"chi":"prompt","rid":"p1","sid":"s","dusk":1763643505123,"wane":7,"sentAt":-1,"content":[{"type":"text"}]}',
    b'{"chi":"tool-call","callId":"c-1","ext":{"bee":{"k":[1.5e3,-0.0,1e-7]}},"args":{"a":{"b":{"c":[[]]}}}}',
    b' \t{ "chi" : "log" , "chi" : "drone", "x": [true, false, null, 18446744073709551616] } \r',
    b'{"ch\\u0069":"x","fr\\u006fm":null,"to":"","sigil":"d6560b664845"}',
    b'{"chi":"x","deep":' + b"[" * 125 + b"1" + b"]" * 125 + b"}",
    b'{"chi":"x","long":' + b"9" * 308 + b"}",
)

ATOMS = (
    *(bytes((byte,)) for byte in b'{}[]:,"\\eE+-.0123456789 \t\r\n\x00\x1f\x7f\x80\xbf\xc0\xe2\xed\xf4\xff'),
    *(b'"%s":' % key for key in (b"chi", b"rid", b"from", b"to", b"sid", b"callId", b"wane", b"sentAt", b"dusk", b"x")),
    b'"ext":{',
    b"null,",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1E+400",
    b"1e308",
    b"1.8e308",
    b"0e99999",
    b"1e-999",
    b"01",
    b"1.",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"1" * 309,
    b"9" * 309,
    b"9" * 5000,
    b"[" * 128,
    b'{"a":' * 64,
    b"]" * 128,
    b"[[]]" * 60,
    b"\\ud800",
    b"\\udc00",
    b"\\ud83d\\ude00",
    b"\\u0065",
    b"\\u0000",
    b"\\x",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\xe2\x80\xa8",
    b"a" * 4096,
)


def constant(text: str) -> object:
    raise AssertionError(f"{text} came through")


def outcome(line: bytes) -> Envelope | None:
    """Check one line against every promise; None where it is refused."""
    answers: list[Envelope | None] = []
    for reader in (peek, lambda text: read(text)[0]):
        try:
            answers.append(reader(line))
        except MalformedTone:
            answers.append(None)
    salvage(line)
    try:
        tone = decode(line)
    except MalformedTone:
        assert answers == [None, None], f"decode refuses {line!r}, others say {answers}"
        return None
    peeked, envelope = answers
    assert peeked is not None and peeked == envelope, f"the readers differ over {line!r}: {answers}"
    assert decode_checked(line) == tone, f"decode_checked differs over {line!r}"
    assert json.loads(line.decode(), parse_constant=constant) == tone, f"another reader sees another tone in {line!r}"
    assert decode(encode(tone)) == tone, f"written and read again it differs: {line!r}"
    stamped = stamp(line, peeked, "humd_a", "humd_b")
    assert decode(stamped) == {**tone, "from": "humd_a", "to": "humd_b"}, f"stamped wrongly: {line!r}"
    assert b"\n" not in stamped.strip() or b"\n" in line, f"a stamped line has two lines: {line!r}"
    return peeked


def mutated(chance: random.Random) -> bytes:
    """A seed with a few cuts, copies, flips and insertions."""
    line = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(0, 6)):
        at = chance.randint(0, len(line))
        end = min(len(line), at + chance.randint(0, 12))
        match chance.randint(0, 4):
            case 0:
                del line[at:end]
            case 1:
                line[at:at] = line[at:end] * chance.randint(1, 3)
            case 2:
                line[at:end] = chance.choice(ATOMS)
            case 3 if at < len(line):
                line[at] ^= 1 << chance.randint(0, 7)
            case _:
                line[at:at] = chance.choice(ATOMS)
    return bytes(line)


def run(runs: int, seed: int) -> int:
    """:returns: how many of the lines were tones."""
    chance = random.Random(seed)
    return sum(outcome(mutated(chance)) is not None for _ in range(runs))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="fuzz the tone codec")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="the same seed gives the same lines")
    parser.add_argument("--atheris", nargs=argparse.REMAINDER, default=None, help="all that follows is for atheris")
    options = parser.parse_args(arguments)
    if options.atheris is not None:
        import atheris  # type: ignore[import-untyped, unused-ignore]

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *options.atheris], outcome)
        atheris.Fuzz()
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    began = time.perf_counter()
    tones = run(options.runs, seed)
    took = time.perf_counter() - began
    print(f"{options.runs} lines in {took:.1f} s, {tones} of them tones, no promise broken (--seed {seed})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
