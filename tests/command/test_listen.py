"""``listen`` against a socket that taps as a humd does."""

from __future__ import annotations

from ensemble.tone import read_document
from tests.command.calling import BETA, CommandTestCase

TONES = [{"chi": "pulse", "sid": "1"}, {"chi": "chunk", "sid": "2"}, {"chi": "pulse", "sid": "3"}]


class ListenTests(CommandTestCase):
    """``ensemble listen``."""

    def tap(self) -> list[dict[str, object]]:
        lines = [{"ok": True}, {"tone": TONES[0]}, {"lost": 7, "tone": TONES[1]}, {"lost": "x"}, {"tone": TONES[2]}]
        return self.serve_control(tap=lines).heard

    def test_tones(self) -> None:
        """Each tone is one line; how many were lost is said beside them; a humd that ends ends it with 3."""
        self.tap()
        said = self.call("listen")
        self.assertEqual(said.lines, TONES)
        self.assertEqual(said.status, 3)
        self.assertEqual(
            said.err.splitlines(),
            [
                "ensemble: listening",
                "ensemble: 7 tones lost: they came faster than they were read",
                "ensemble: the humd went away",
            ],
        )

    def test_lost_for_programs(self) -> None:
        """With --json these remarks are JSON lines, too."""
        self.tap()
        said = self.call("listen", "--json", "--count", "2")
        self.assertEqual([read_document(line) for line in said.err.splitlines()], [{"listening": True}, {"lost": 7}])

    def test_count(self) -> None:
        """It ends well when enough have come."""
        self.tap()
        said = self.call("listen", "--count", "1")
        self.assertEqual((said.status, said.lines, said.err), (0, TONES[:1], "ensemble: listening\n"))

    def test_wishes(self) -> None:
        """The humd is told which tones are wanted, and of whom."""
        heard = self.tap()
        self.call("listen", "--count", "1", "--chi", "chunk", "--chi", "finish", "--peer", BETA.full)
        self.assertEqual(heard, [{"do": "tap", "chi": ["chunk", "finish"], "peer": BETA.full}])

    def test_refused(self) -> None:
        """A humd with too many listeners says so."""
        self.serve_control(tap={"ok": False, "qualifier": "queue.full", "message": "8 taps"})
        said = self.call("listen", "--json")
        self.assertEqual((said.status, said.failure["qualifier"]), (1, "queue.full"))
