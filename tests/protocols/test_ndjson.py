"""Lines out of bytes."""

from __future__ import annotations

import time

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import RemoteWireError
from ensemble.protocols import DEFAULT_MAX_LINE, LineReader, LineTooLong

# Few letters, so that what matters (CR, LF, nothing at all) is everywhere.
streams = st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"\n\n", b"x" * 7])).map(b"".join)
steps = st.lists(st.integers(1, 9), min_size=1)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in pieces of these sizes, over and over."""
    pieces, at, turn = [], 0, 0
    while at < len(stream):
        pieces.append(stream[at : at + sizes[turn % len(sizes)]])
        at += len(pieces[-1])
        turn += 1
    return pieces


def expected(stream: bytes, max_line: int) -> tuple[list[bytes], bool]:
    """The grammar, spelled out: the lines before the first that is too long, and whether there is one."""
    lines: list[bytes] = []
    *whole, tail = stream.split(b"\n")
    for line in whole:
        if len(line) > max_line:
            return lines, True
        line = line.removesuffix(b"\r")
        if line:
            lines.append(line)
    return lines, len(tail) > max_line


def read(pieces: list[bytes], max_line: int) -> tuple[list[bytes], bool]:
    reader = LineReader(max_line)
    lines: list[bytes] = []
    for piece in pieces:
        try:
            lines += reader.receive(piece)
        except LineTooLong as error:
            return lines + error.lines, True
    return lines, False


class LineReaderTests(SynchronousTestCase):
    @given(streams, steps)
    def test_any_cut(self, stream: bytes, sizes: list[int]) -> None:
        """However the transport cuts the stream, the same lines come out."""
        self.assertEqual(read(cut(stream, sizes), DEFAULT_MAX_LINE), expected(stream, DEFAULT_MAX_LINE))

    @given(streams, steps, st.integers(0, 12))
    def test_any_cut_with_a_ceiling(self, stream: bytes, sizes: list[int], max_line: int) -> None:
        """However the stream is cut, the same line is the first that is too long, and all before it come out."""
        self.assertEqual(read(cut(stream, sizes), max_line), expected(stream, max_line))

    @given(st.lists(st.binary(max_size=20)), st.integers(1, 40))
    def test_garbage(self, pieces: list[bytes], max_line: int) -> None:
        """Whatever bytes come, they are lines or the peer's mistake, and never more is held than the ceiling."""
        reader = LineReader(max_line)
        for piece in pieces:
            try:
                lines = reader.receive(piece)
            except RemoteWireError:
                self.assertEqual(reader.pending, 0)
                return
            self.assertTrue(all(lines))
            self.assertLessEqual(reader.pending, max_line)

    def test_whole_lines(self) -> None:
        """Lines come without their ends, and what is unfinished waits."""
        reader = LineReader()
        self.assertEqual(reader.receive(b'{"a":1}\n{"b":2}\r\n\n{"c"'), [b'{"a":1}', b'{"b":2}'])
        self.assertEqual(reader.pending, 4)
        self.assertEqual(reader.receive(b":3}\n"), [b'{"c":3}'])
        self.assertEqual(reader.pending, 0)

    def test_one_carriage_return(self) -> None:
        """Only the one CR before the LF is an end; others belong to the line."""
        self.assertEqual(LineReader().receive(b"\ra\r\r\n\r\n"), [b"\ra\r"])

    def test_carriage_return_alone_in_a_chunk(self) -> None:
        """A CR that came before its LF is stripped all the same."""
        reader = LineReader()
        self.assertEqual([reader.receive(piece) for piece in (b"ab", b"\r", b"\n")], [[], [], [b"ab"]])

    def test_too_long(self) -> None:
        """The error says how long, how long it may be, and brings the lines before it."""
        error = self.assertRaises(LineTooLong, LineReader(4).receive, b"abc\n12345\nxyz\n")
        self.assertEqual((error.length, error.limit, error.lines), (5, 4, [b"abc"]))
        self.assertIn("limit 4", str(error))

    def test_too_long_behind_the_end_of_another(self) -> None:
        """Of the lines before it the first is whole, though it began in an earlier piece."""
        reader = LineReader(4)
        reader.receive(b"ab")
        error = self.assertRaises(LineTooLong, reader.receive, b"cd\n12345")
        self.assertEqual((error.length, error.lines), (5, [b"abcd"]))

    def test_too_long_before_it_ends(self) -> None:
        """A line is refused as soon as it is too long, and its bytes are let go."""
        reader = LineReader(4)
        self.assertEqual(reader.receive(b"abcd"), [])
        self.assertRaises(LineTooLong, reader.receive, b"e")
        self.assertEqual(reader.pending, 0)

    def test_refused_for_good(self) -> None:
        """After a line too long the middle of it is never taken for a line."""
        reader = LineReader(4)
        self.assertRaises(LineTooLong, reader.receive, b"abcde")
        error = self.assertRaises(LineTooLong, reader.receive, b"f\nok\n")
        self.assertEqual(error.lines, [])

    def test_exact_ceiling(self) -> None:
        """A line of exactly the ceiling passes, its CR counted."""
        self.assertEqual(LineReader(4).receive(b"abcd\nabc\r\n"), [b"abcd", b"abc"])
        self.assertRaises(LineTooLong, LineReader(4).receive, b"abcd\r\n")

    def test_ceiling_raised(self) -> None:
        """A ceiling that is raised holds for the line that is under way."""
        reader = LineReader(4)
        reader.receive(b"abcd")
        reader.max_line = 8
        self.assertEqual(reader.receive(b"efgh\n"), [b"abcdefgh"])

    def test_finish(self) -> None:
        """At the end of the stream the last line counts without its LF, once."""
        reader = LineReader()
        reader.receive(b"abc\nde\r")
        self.assertEqual(reader.finish(), b"de")
        self.assertEqual((reader.finish(), reader.pending), (None, 0))

    def test_many_small_chunks(self) -> None:
        """A long line in single bytes costs time in proportion to its length, not to the square of it."""

        def seconds(length: int) -> float:
            reader = LineReader()
            began = time.process_time()
            for _ in range(length):
                reader.receive(b"x")
            took = time.process_time() - began
            self.assertEqual(reader.receive(b"\n"), [b"x" * length])
            return took

        short = min(seconds(20_000) for _ in range(3))
        # Eight times the length: eight times the time, with room for a busy machine; squared it would be 64 times.
        self.assertLess(min(seconds(160_000) for _ in range(3)), 32 * short)
