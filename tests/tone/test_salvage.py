"""What an error answer can still repeat of a line that is not a tone."""

from __future__ import annotations

from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import MAX_TEXT, MalformedTone, Salvaged, peek, read_document, salvage
from ensemble.tone.salvage import PARSED, SCANNED, TOKENS

ALL = Salvaged(chi="prompt", rid="r", sid="s", call_id="c")
HEAD = b'"chi":"prompt","rid":"r","sid":"s","callId":"c"'


class SalvageTests(SynchronousTestCase):
    """Lines that the readers refuse."""

    def check(self, line: bytes, expected: Salvaged) -> None:
        with self.assertRaises(MalformedTone):
            peek(line)
        self.assertEqual(salvage(line), expected)

    def test_wrong_envelope(self) -> None:
        """Of good JSON with a wrong envelope, every field that is usable is found, however far behind."""
        self.check(b"{" + HEAD + b',"dusk":"soon"}', ALL)
        self.check(b'{"dusk":1.5,"text":"' + b"t" * 100_000 + b'",' + HEAD + b"}", ALL)
        self.check(b'{"chi":5,"rid":"r"}', Salvaged(rid="r"))
        self.check(b'{"chi":"x","rid":["r"]}', Salvaged(chi="x"))
        self.check(b'{"chi":"x","rid":"r","sid":"' + b"s" * (MAX_TEXT + 1) + b'"}', Salvaged(chi="x", rid="r"))

    def test_not_an_object(self) -> None:
        """Nothing is found in what is no object."""
        for line in (b"", b"[]", b'["chi","x"]', b"null", b"nonsense", b'[{"rid":"r"}]', b'[{"rid":"r"}', b'"rid":"r"'):
            self.check(line, Salvaged())

    def test_broken_behind(self) -> None:
        """Of broken JSON, the fields before the break are found."""
        self.check(b"{" + HEAD, ALL)
        self.check(b" { " + HEAD.replace(b":", b" : ") + b',"x":NaN,', ALL)
        self.check(b"{" + HEAD + b',"x":"\xff"}', ALL)
        self.check(b"{" + HEAD + b',"x":"\\ud800"}', ALL)
        self.check(b"{" + HEAD + b',"x":' + b"[" * 5000, ALL)
        self.check(b'{"x":{"rid":"no"},"y":["sid",{"chi":"no"}],' + HEAD + b",", ALL)
        self.check(b'{"x":1e999,"rid":"a","rid":"\\u0062",', Salvaged(rid="b"))
        self.check(b'{"rid":"r","x":1 "sid":"no"}', Salvaged(rid="r"))

    def test_not_quite_there(self) -> None:
        """What only looks like a field is not one."""
        self.check(b'{"x":"\\"rid\\":\\"no\\",', Salvaged())
        self.check(b'{"x":"rid":"no",', Salvaged())
        self.check(b'{"rid","no",', Salvaged())
        self.check(b'{"rid":5,"sid":"s",', Salvaged(sid="s"))
        self.check(b'{"rid":{"a":"no"},"sid":"s",', Salvaged(sid="s"))
        self.check(b'{"rid":"\\ud800","sid":"s",', Salvaged(sid="s"))
        self.check(b'{"rid":"open', Salvaged())
        self.check(b'{"chi":"x"}}"rid":"no"', Salvaged(chi="x"))
        self.check(b'{"chi":"x"}{"rid":"no"}', Salvaged(chi="x"))
        self.check(b'{"chi":"x","y":"\x01,"rid":"no",', Salvaged(chi="x"))
        self.check(b'{"rid":"' + b"r" * (MAX_TEXT + 1) + b'","sid":"s",', Salvaged(sid="s"))

    def test_beginning_of_a_long_line(self) -> None:
        """Of a line that was cut off because of its length, its first bytes are looked at."""
        self.check(b"{" + HEAD + b',"text":"' + b"t" * PARSED, ALL)
        self.check(b'{"text":"' + b"t" * SCANNED + b'",' + HEAD + b',"x', Salvaged())

    def test_few_tokens(self) -> None:
        """A line is given up on after so many tokens, whether it is broken or only its fields are wrong."""
        self.check(b'{"x":[' + b"," * (TOKENS - 10) + b'],"rid":"r",', Salvaged(rid="r"))
        self.check(b'{"x":[' + b"," * TOKENS + b'],"rid":"r",', Salvaged())
        self.check(b'{"rid":"r","x":[' + b"," * TOKENS, Salvaged(rid="r"))
        self.check(b'{"dusk":[' + b"0," * TOKENS + b'0],"rid":"r"}', Salvaged(rid="r"))
        self.check(b'{"chi":[' + b"0," * TOKENS + b'0],"rid":"r"}', Salvaged())

    def test_nothing_else_is_built(self) -> None:
        """Of a line only the few texts that are looked for are built, each once, whatever else is in it."""
        built: list[bytes] = []

        def counting(text: bytes) -> object:
            built.append(text)
            return read_document(text)

        self.patch(import_module("ensemble.tone.salvage"), "read_document", counting)
        large = b"[" + b'{"a":0},' * 100_000 + b"0]"
        self.check(b'{"x":' + large + b',"wane":-1,"rid":"' + b"r" * 4096 + b'"}', Salvaged(rid="r" * 4096))
        self.check(b'{"chi":"x",' + b'"rid":"\xff",' * 20, Salvaged(chi="x"))
        self.assertEqual([len(text) for text in built], [4098, 3, 3])

    def test_work_is_bounded(self) -> None:
        """Lines made to be searched for long are given up on: quotes that never close, and brackets."""
        for line in (b'{"' + b'\\"' * 500_000, b"{" + b'"' * 500_000, b'{"a":' * 200_000, b"{" + b'"\x01' * 500_000):
            self.check(line, Salvaged())
