"""Words of others stay inside the line in which they stand."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import BadHumdId, HumdId, quoted, tamed


class QuotingTests(SynchronousTestCase):
    """`tamed` and `quoted`."""

    def test_usual_words(self) -> None:
        """What people write is left as it is, in any script."""
        for text in ("going home", "bis später", "\u4f60\u597d", 'a "quoted" \\ word', ""):
            self.assertEqual(tamed(text), text)
            self.assertEqual(quoted(text), repr(text))

    def test_no_line_of_its_own(self) -> None:
        """What would begin a line, move the cursor or turn the text is an escape."""
        for text, wanted in (
            ("a\n\tb", r"a\n\tb"),
            ("a\r\x1b[2J", r"a\r\x1b[2J"),
            ("\x85\u2028\u202e\x9b", r"\x85\u2028\u202e\x9b"),
            ("\U000e0041", r"\U000e0041"),
        ):
            self.assertEqual(tamed(text), wanted)

    def test_no_command(self) -> None:
        """Nothing of it stands in backticks, which are for what we say."""
        self.assertEqual(tamed("run `ensemble id`\n"), r"run 'ensemble id'\n")
        self.assertNotIn("`", quoted("run `ensemble id`"))
        error = self.assertRaises(BadHumdId, HumdId.parse, "humd_`ensemble id`")
        self.assertNotIn("`", str(error))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever it is, it can be printed, and has no backtick."""
        for shown in (tamed(text), quoted(text)):
            self.assertTrue(shown.isprintable())
            self.assertNotIn("`", shown)
