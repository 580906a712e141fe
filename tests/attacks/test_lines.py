"""Lines that are no tones, from a peer that is linked and from a program."""

from __future__ import annotations

import json
from typing import Any

from ensemble.tone import Qualifier
from tests.attacks.scene import MODEL, Scene, in_both, on
from tests.attacks.tls_arena import TlsArena

ENVELOPE: dict[str, tuple[Any, ...]] = {
    "chi": (7, "", None, [], {}, True, "x" * 4097),
    "rid": (7, [], {}, True, 1.5, "x" * 4097),
    "from": (7, [], {}, False, "x" * 4097),
    "to": (7, [], {"humd": 1}, True),
    "sid": (7, [], {}, True, 0),
    "sigil": (7, [], {}, True),
    "wane": (-1, 1.5, "1", [], True, 2**64),
    "sentAt": (1.5, "1", [], True, 2**63, -(2**63) - 1, 10**40),
    "dusk": (1.5, "1", [], True, 2**63, 10**40),
    "ext": (7, [], "x", {"a": 1}, {"a": []}),
}
BAD_JSON = (
    b"[]",
    b'[{"chi":"x-evil"}]',
    b"7",
    b'"chi"',
    b"null",
    b"{",
    b"}",
    b'{"chi":"x-evil"',
    b'{"chi":"x-evil"}}',
    b'{"chi":"x-evil"} {"chi":"x-evil"}',
    b'{"chi":"x-evil",}',
    b"{'chi':'x-evil'}",
    b'{"chi":"x-evil","n":NaN}',
    b'{"chi":"x-evil","n":Infinity}',
    b'{"chi":"x-evil","n":1e999}',
    b'{"chi":"x-evil","n":-1e999}',
    b'{"chi":"x-evil","n":{"m":[1e400]}}',
    b'{"chi":"x-evil","n":' + b"9" * 400 + b"}",
    b'{"chi":"x-evil","n":' + b"9" * 100_000 + b"}",
    b'{"chi":"x-evil","n":01}',
    b'{"chi":"x-evil","s":"\\ud800"}',
    b'{"chi":"x-evil","s":"\\udc00\\ud800"}',
    b'{"chi":"x-evil","\\ud800":1}',
    b'{"chi":"x-evil","s":"\xff\xfe"}',
    b'{"chi":"x-evil","s":"\xed\xa0\x80"}',  # a surrogate in UTF-8
    b'{"chi":"x-evil","s":"\xc0\xaf"}',  # overlong
    b'{"chi":"x-evil","s":"\xf4\x90\x80\x80"}',  # above U+10FFFF
    b'\xef\xbb\xbf{"chi":"x-evil"}',  # a BOM
    b'{"chi":"x-evil","s":"a\x00b"}',
    b'{"chi":"x-evil","s":"\x1b[2J"}',
    b"\x00" * 100,
    b'{"chi":"x-evil","n":' + b"[" * 127 + b"]" * 127 + b"}",
    b'{"chi":"x-evil","n":' + b'{"a":' * 127 + b"1" + b"}" * 128,
    b'{"chi":"x-evil","n":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"[" * 1_000_000,
    b'{"a":' * 200_000,
)


def bad_lines() -> list[bytes]:
    """All that is no tone."""
    lines = list(BAD_JSON)
    for name, values in ENVELOPE.items():
        for value in values:
            tone: dict[str, Any] = {"chi": "x-evil", "rid": "known", "n": 1, name: value}
            lines.append(json.dumps(tone).encode())
    return lines


class PeerLines(Scene):
    """A peer that proved who it is, and says what is no tone."""

    async def test_each_is_told_and_goes_no_further(self) -> None:
        """Every bad line with a rid is answered `tone.malformed`, none reaches anybody, and the link stays."""
        rogue = await self.linked()
        lines = bad_lines()
        rogue.say(*lines)
        await self.served(rogue)
        self.assertFalse(rogue.lost)
        self.assertEqual(self.counted("tones.malformed"), len(lines))
        errors = rogue.tones("error")
        self.assertGreater(len(errors), 30)
        self.assertEqual({tone["qualifier"] for tone in errors}, {Qualifier.TONE_MALFORMED.value})
        self.nothing_leaked()
        await self.all_is_well()

    async def test_a_good_tone_behind_bad_ones(self) -> None:
        """Bad lines cost a peer nothing of what else it says."""
        rogue = await self.linked()
        for line in BAD_JSON:
            rogue.say(line, {"chi": "x-evil", "n": 1})
        await self.served(rogue)
        self.assertEqual(self.victim.ensemble.counters["tones.received"], 1 + len(BAD_JSON))
        for _ in BAD_JSON:
            self.assertEqual((await self.tap.get())["n"], 1)
        self.assertEqual([tone["n"] for tone in self.to_the_bee], [1] * len(BAD_JSON))

    async def test_huge_numbers_that_are_fine(self) -> None:
        """An integer beyond 64 bits in a body is passed on digit by digit, stamped or not."""
        rogue = await self.linked()
        digits = b"9" * 300
        for extra in (b"", b',"from":null', b',"\\u0066rom":"opencode"'):
            rogue.say(b'{"chi":"x-evil","n":' + digits + extra + b"}")
        await self.served(rogue)
        self.assertEqual([(await self.tap.get())["n"] for _ in range(3)], [int(digits)] * 3)
        self.assertEqual({tone["from"] for tone in self.to_the_bee}, {rogue.id.full})

    async def test_a_line_too_long(self) -> None:
        """A line over `max_tone` ends that link with a goodbye that says why, and no other."""
        rogue = await self.linked()
        rogue.say({"chi": "x-evil", "n": 1}, b'{"chi":"x-evil","s":"' + b"x" * 8 * 1024 * 1024 + b'"}')
        await self.arena.until(lambda: rogue.lost and not self.victim.ensemble.linked(rogue.id))
        goodbye = rogue.tones("goodbye")
        self.assertEqual([tone["reason"] for tone in goodbye], ["limit"])
        self.assertIn("4194304", goodbye[0]["message"])
        self.assertEqual(self.victim.ensemble.peers(), [self.friend.ensemble.me])
        self.assertEqual(self.counted("links.broke", "peers.lost"), 2)
        self.victim.ensemble.counters["peers.lost"] = 0
        self.assertEqual((await self.tap.get())["n"], 1)
        self.to_the_bee.clear()
        await self.all_is_well()

    async def test_long_tones_right_behind_the_handshake(self) -> None:
        """What an honest peer says in one breath with its proof may be as long as any tone."""
        rogue = await self.arena.rogue(self.victim)
        key = self.key()
        end = self.dialler(key, rogue.binding)
        rogue.say(*end.start(self.arena.now_ms()))
        await self.arena.until(lambda: len(rogue.lines) == 2)
        said = [line for heard in rogue.lines for line in end.hear(heard, self.arena.now_ms())]
        rogue.say(*said, {"chi": "x-evil", "s": "x" * 40_000}, {"chi": "x-evil", "s": "y" * 2_000_000})
        await self.arena.until(lambda: self.victim.ensemble.counters["tones.received"] == 3 or rogue.lost)
        self.assertEqual([len((await self.tap.get())["s"]) for _ in range(2)], [40_000, 2_000_000])


class ProgramLines(Scene):
    """A local program that says what is no tone."""

    async def test_each_is_told_and_the_connection_stays(self) -> None:
        """Every bad line is answered `tone.malformed`; the next tone works."""
        rogue = await self.arena.program(self.victim)
        lines = bad_lines()
        rogue.say(*lines)
        rogue.say({"chi": "prompt", "rid": "last", "modelId": MODEL})
        await self.arena.until(lambda: rogue.lost or (rogue.lines and rogue.heard[-1].get("rid") == "last"))
        await self.arena.until(lambda: rogue.heard[-1]["chi"] == "error")
        errors = [tone["qualifier"] for tone in rogue.tones("error")]
        self.assertEqual(errors, [Qualifier.TONE_MALFORMED.value] * (len(lines) + 1))  # the last lacks its sid
        self.nothing_leaked()
        await self.all_is_well()

    async def test_a_line_too_long(self) -> None:
        """A line over 16 MiB is told, and that program is disconnected."""
        rogue = await self.arena.program(self.victim)
        rogue.say(b'{"chi":"x-evil","s":"' + b"x" * 24 * 1024 * 1024 + b'"}')
        await self.arena.until(lambda: rogue.lost)
        self.assertEqual(rogue.heard[-1]["qualifier"], Qualifier.TONE_TOO_LARGE.value)
        self.nothing_leaked()
        await self.all_is_well()


globals().update(in_both(PeerLines, ProgramLines) | on(PeerLines, Tls=TlsArena))
del PeerLines, ProgramLines
