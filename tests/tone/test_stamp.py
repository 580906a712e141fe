"""Whose tone a line says it is, before and after."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import decode, peek, stamp

ME = "humd_" + "1" * 64
YOU = "humd_" + "2" * 64


def stamped(line: bytes, sender: str = ME, to: str | None = YOU) -> bytes:
    return stamp(line, peek(line), sender, to)


class StampTests(SynchronousTestCase):
    """All cases of ``from`` and ``to`` being there, absent or hidden."""

    def check(self, line: bytes, expected: bytes, to: str | None = YOU) -> None:
        found = stamped(line, to=to)
        self.assertEqual(found, expected)
        wanted = {**decode(line), "from": ME} | ({} if to is None else {"to": to})
        self.assertEqual(decode(found), wanted)
        self.assertIs(stamped(found, to=to), found)

    def test_nothing_to_do(self) -> None:
        """A line that already says so is not touched: the very same object comes back."""
        for body in ("1.0 ", '"\\u00e9\\/"'):
            line = f'{{"chi":"x","to":"{YOU}", "n":{body},"from":"{ME}"}} '.encode()
            self.assertIs(stamped(line), line)
            self.assertIs(stamped(line, to=None), line)
        bare = f'{{"from":"{ME}","chi":"x"}}'.encode()
        self.assertIs(stamped(bare, to=None), bare)

    def test_put_in_front(self) -> None:
        """Keys that are absent are put behind the brace; all else stays byte for byte."""
        front = f'{{"from":"{ME}","to":"{YOU}",'.encode()
        rest = '"chi":"x","n":1.50e1,"big":123456789012345678901234567890,"t":"é\\n \\\\u"}'.encode()
        for blank in (b"", b" ", b" \t\r\n"):
            line = blank + b"{" + blank + rest + blank
            if b"\\u" not in line:
                self.check(line, blank + front + blank + rest + blank)
        plain = b' { "chi" : "x" , "n" : 1.50e1 } '
        self.check(
            plain, b' {"from":"' + ME.encode() + b'","to":"' + YOU.encode() + b'", "chi" : "x" , "n" : 1.50e1 } '
        )

    def test_only_from(self) -> None:
        """Without a ``to`` to set, whatever stands there stays."""
        self.check(b'{"chi":"x","n":1.0}', b'{"from":"' + ME.encode() + b'","chi":"x","n":1.0}', to=None)
        self.check(b'{"to":"bob","chi":"x"}', b'{"from":"' + ME.encode() + b'","to":"bob","chi":"x"}', to=None)

    def test_other_values_are_exchanged(self) -> None:
        """A name in ``from`` or an alias in ``to`` is exchanged where it stands; all else stays byte for byte."""
        self.check(
            b'{"chi":"x", "from": "claude-cli", "n":1.0,"to":"bob"}',
            f'{{"chi":"x", "from":"{ME}", "n":1.0,"to":"{YOU}"}}'.encode(),
        )
        self.check(
            '{"chi":"x","n":1.0,"from":"séance"}'.encode(), f'{{"to":"{YOU}","chi":"x","n":1.0,"from":"{ME}"}}'.encode()
        )

    def test_keys_in_the_body(self) -> None:
        """A body may have the same keys; only the envelope's are set."""
        for line in (
            b'{"chi":"x","from":"a","p":{"from":"b","to":"c"}}',
            b'{"p":{"from":"a","to":"c"},"chi":"x","from":"a"}',
            b'{"chi":"x","p":{"from":"b"}}',
            b'{"chi":"x","p":["from","to"],"to":"from"}',
            b'{"chi":"x","t":"\\"from\\":\\"a\\"","from":"a"}',
        ):
            self.assertEqual(decode(stamped(line)), {**decode(line), "from": ME, "to": YOU})

    def test_hidden_keys(self) -> None:
        """Keys spelt with escapes, nulls, and keys that are there twice end up once and right."""
        for line in (
            b'{"chi":"x","fr\\u006fm":"a","to":"b"}',
            b'{"chi":"x","fr\\u006fm":null}',
            b'{"chi":"x","from":null,"to":null}',
            b'{"chi":"x","from":"a","from":"b"}',
            b'{"from":"a","chi":"x","from":null}',
            b'{"chi":"x","from" :"a"}',
            b'{"chi":"x","from":"a\\/b"}',
            b'{"chi":"x","to":"\\ud83d\\ude00"}',
            b'{"chi":"x","from":"\\\\"}',
        ):
            found = stamped(line)
            self.assertEqual(decode(found), {**decode(line), "from": ME, "to": YOU})
            self.assertEqual((found.count(b'"from"'), found.count(b'"to"')), (1, 1))

    def test_rebuilt_lines_keep_every_field(self) -> None:
        """Where a line must be built anew, unknown fields and large integers survive."""
        line = b'{"chi":"x","from":null,"ext":{"b":{"k":1}},"big":1234567890123456789012345,"u":"\\u00e9"}'
        self.assertEqual(decode(stamped(line)), {**decode(line), "from": ME, "to": YOU})
