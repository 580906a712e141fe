"""JSON of files, of --json and of logs."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from ensemble.tone import BadDocument, read_document, write_document


class ReadDocumentTests(SynchronousTestCase):
    """Reading what a person or a program wrote into a file."""

    def test_any_value(self) -> None:
        """A document is any JSON value, with blanks and line ends around it."""
        self.assertEqual(read_document(' {"a": [1, 2.5, null, "é"]}\n'), {"a": [1, 2.5, None, "é"]})
        self.assertEqual(read_document('"é"'.encode()), "é")
        self.assertIsNone(read_document("null"))

    def test_where_it_breaks(self) -> None:
        """The error names line and column, both from 1, counted in characters."""
        with self.assertRaises(BadDocument) as caught:
            read_document('{\n  "é": 1,\n  "é": oops\n}')
        self.assertIn("line 3, column 8", str(caught.exception))
        with self.assertRaises(BadDocument) as caught:
            read_document("x")
        self.assertIn("line 1, column 1", str(caught.exception))

    def test_comments(self) -> None:
        """Where a comment stands in the way, the error says that JSON has none, and nowhere else."""
        for text in ("// c\n{}", '{ // c\n"a": 1}', '{"a": /* c */ 1}', '["a" # c\n]'):
            error = self.assertRaises(BadDocument, read_document, text)
            self.assertTrue(str(error).endswith("(JSON has no comments)"), error)
        for text in ("/", '{"http://h": }', '["#" x]', "{1: 2}", "{"):
            self.assertNotIn("comments", str(self.assertRaises(BadDocument, read_document, text)))

    def test_refused(self) -> None:
        """What is not strict JSON is refused, always with the same error."""
        for text in ("", "{", "NaN", "1e999", "01", "[1,]", '"\\ud800"', '"a\nb"', "{} {}", "\ufeff{}", '"\ud800"'):
            with self.assertRaises(BadDocument):
                read_document(text)
        for raw in (b'"\xff"', b"[" * 100_000, b'{"a":' * 100_000):
            with self.assertRaises(BadDocument):
                read_document(raw)


class WriteDocumentTests(SynchronousTestCase):
    """Writing for people and for programs."""

    def test_one_line(self) -> None:
        """Without ``pretty`` the text is one line and nothing is escaped that need not be."""
        self.assertEqual(write_document({"a/b": ["é", 1, None]}), '{"a/b":["é",1,null]}')

    def test_pretty(self) -> None:
        """With ``pretty`` it is indented, reads back the same, and has no line end behind it."""
        text = write_document({"peers": [{"alias": "é"}]}, pretty=True)
        self.assertEqual(text, '{\n  "peers": [\n    {\n      "alias": "é"\n    }\n  ]\n}')
        self.assertEqual(read_document(text), {"peers": [{"alias": "é"}]})

    def test_no_json_form(self) -> None:
        """A value that has no JSON form is refused."""
        endless: list[object] = []
        endless.append(endless)
        for value in (math.nan, math.inf, object(), b"bytes", "\ud800", endless):
            with self.assertRaises(BadDocument):
                write_document({"v": value})

    def test_fallback(self) -> None:
        """With a fallback nothing that has a text is refused."""
        self.assertEqual(write_document({"v": 1j, "w": [b"x"]}, fallback=repr), '{"v":"1j","w":["b\'x\'"]}')
