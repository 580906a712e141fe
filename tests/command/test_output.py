"""What people and programs see."""

from __future__ import annotations

import io

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.command.output import Screen, duration, json_line, visible, wants_colour, width
from ensemble.tone import read_document
from tests.command.calling import Terminal

TURNS = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))  # of lines, and of their direction


class TextTests(SynchronousTestCase):
    """Text that somebody else wrote."""

    def test_controls_are_shown_not_obeyed(self) -> None:
        """What a terminal would obey is spelt out, line ends too, except in running text."""
        self.assertEqual(visible("a\x1b[31mb\n\x9b"), "a\\x1b[31mb\\x0a\\x9b")
        self.assertEqual(visible("a\n\tb\x07", lines=True), "a\n\tb\\x07")
        for code in TURNS:
            for lines in (True, False):
                self.assertEqual(visible(f"a{chr(code)}b", lines), f"a\\u{code:04x}b")
            self.assertEqual(json_line(chr(code)), f'"\\u{code:04x}"\n')

    @given(st.text())
    def test_json_lines_are_harmless(self, text: str) -> None:
        """A JSON line says exactly what it was given, on one line, without any control character."""
        line = json_line({"text": text})
        self.assertEqual(read_document(line), {"text": text})
        self.assertEqual(visible(line[:-1]), line[:-1])

    def test_names_that_are_no_text(self) -> None:
        """A byte of a name that is no UTF-8 is marked, for JSON has no way to say it; the rest is as it was."""
        value = {"a\udcff": ["b\udcfe", ("c", 1, None)], "d": {"e": True}}
        self.assertEqual(read_document(json_line(value)), {"a\ufffd": ["b\ufffd", ["c", 1, None]], "d": {"e": True}})

    def test_width_is_in_columns(self) -> None:
        """Wide letters take two columns and combining marks none."""
        self.assertEqual([width("abc"), width("日本"), width("e\u0301")], [3, 4, 1])

    def test_durations_have_two_units(self) -> None:
        """Seconds, minutes, hours and days, the two largest that say something."""
        said = [duration(seconds) for seconds in (-1, 0.9, 59, 60, 61, 3600, 11520, 86400, 90000)]
        self.assertEqual(said, ["0 s", "0 s", "59 s", "1 min", "1 min 1 s", "1 h", "3 h 12 min", "1 d", "1 d 1 h"])


class ScreenTests(SynchronousTestCase):
    """Standard output and standard error."""

    def screen(self, json: bool = False, **environ: str) -> tuple[Screen, io.StringIO, io.StringIO]:
        out, err = Terminal(), io.StringIO()
        return Screen(out, err, environ, json), out, err

    def test_colour_is_for_terminals_that_want_it(self) -> None:
        """Only a terminal gets colour, and not against NO_COLOR, nor a dumb one."""
        self.assertTrue(wants_colour(Terminal(), {"TERM": "xterm"}))
        self.assertTrue(wants_colour(Terminal(), {"NO_COLOR": ""}))
        self.assertFalse(wants_colour(Terminal(), {"NO_COLOR": "1"}))
        self.assertFalse(wants_colour(Terminal(), {"TERM": "dumb"}))
        self.assertFalse(wants_colour(io.StringIO(), {}))
        screen, _, _ = self.screen()
        self.assertEqual(screen.paint("x", "red"), "\033[31mx\033[0m")
        self.assertEqual(screen.paint("x"), "x")

    def test_table_columns_stand_below_each_other(self) -> None:
        """Columns are as wide as their widest cell, in colour as without."""
        screen, out, _ = self.screen(NO_COLOR="1")
        rows = (("日本", "up"), ("b\n", "down"))
        screen.table(("WHO", "STATE"), rows, {"up": "green"})
        self.assertEqual(out.getvalue(), "WHO    STATE\n日本   up\nb\\x0a  down\n")
        coloured, out, _ = self.screen()
        coloured.table(("WHO", "STATE"), rows, {"up": "green"})
        self.assertIn("日本   \033[32mup\033[0m", out.getvalue())

    def test_notes_are_text_or_json(self) -> None:
        """A remark goes to standard error: for people with the program's name, for programs as JSON."""
        screen, out, err = self.screen()
        screen.note("mind\x1b", lost=3)
        self.assertEqual((out.getvalue(), err.getvalue()), ("", "ensemble: mind\\x1b\n"))
        screen, out, err = self.screen(json=True)
        screen.note("mind", lost=3)
        screen.note("only words")
        self.assertEqual(err.getvalue(), '{"lost":3}\n{"note":"only words"}\n')

    def test_running_text_is_only_cleaned_for_terminals(self) -> None:
        """A terminal is protected from a peer's text; a file gets it as it is."""
        screen, out, _ = self.screen()
        screen.text("a\x1b[2J\n")
        self.assertEqual(out.getvalue(), "a\\x1b[2J\n")
        file = io.StringIO()
        Screen(file, io.StringIO(), {}).text("a\x1b[2J\n")
        self.assertEqual(file.getvalue(), "a\x1b[2J\n")
