"""The deadlines of the documentation, against those of the code."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from ensemble.command import control as asking, init, parser, reach
from ensemble.daemon.ceilings import FIXED
from tests.test_architecture import ROOT

DEADLINES: dict[str, tuple[str | float, ...]] = {
    "a dial: ": ("dial_seconds",),
    "TLS with whoever connected": ("tls_handshake_seconds",),
    "a link that is not up": ("pending_seconds",),
    "tones for a link that is coming": ("move_seconds",),
    "two links that were dialled at once": ("settle_seconds",),
    "the rest of a line": ("unfinished_line_seconds",),
    "a sign of life, where nobody waits": ("ping_after_seconds", "gone_after_seconds"),
    "the same where somebody waits": ("waited_for_ping_after_seconds", "waited_for_gone_after_seconds"),
    "a ping that cannot leave": ("stuck_ping_seconds",),
    "a peer that sent too fast": ("throttled_seconds",),
    "a peer, to read what is queued": ("link_close_seconds",),
    "a connection with an empty queue": ("connection_close_seconds",),
    "a local program that we part from": ("client_close_seconds",),
    "a local program that writes": ("client_pause_seconds",),
    "a local program, to take anything": ("client_slow_seconds",),
    "an answer to ``probe``": ("probe_seconds",),
    "a request on the control socket": ("control_idle_seconds",),
    "the goodbyes of a stop": ("goodbye_seconds", "stop_seconds"),
    "at the start: ": ("peers_database_seconds",),
    "``ensemble``: an answer": (asking.SECONDS,),
    "``ensemble send --wait``": (parser.SECONDS,),
    "``ensemble doctor``": (reach.SECONDS,),
    "``ensemble init --start``": (init.SYSTEMCTL_SECONDS,),
}
ELSEWHERE = {  # told in other words, or of what nobody waits for
    "stagger_seconds",
    "redial_first_seconds",
    "redial_last_seconds",
    "look_up_seconds",
    "tls_key_updates_seconds",
    "asks_remembered_seconds",
}
NO_NUMBER = "a peer from before 0.8"


class DeadlineTests(SynchronousTestCase):
    """The table of the page on limits."""

    def test_numbers(self) -> None:
        """Each row has the number of the code; those of the daemon are in its status, which has no others."""
        rows = re.findall(r"^   \* - (.*)\n     - (.*)\n     - ", (ROOT / "docs/limits.rst").read_text(), re.MULTILINE)
        (_, *told) = [row for row in rows if not row[0].startswith(NO_NUMBER)]
        self.assertEqual(len(told), len(DEADLINES))
        for (what, seconds), (begin, constants) in zip(told, DEADLINES.items(), strict=True):
            self.assertTrue(what.startswith(begin), what)
            numbers = [FIXED[each] if isinstance(each, str) else each for each in constants]
            self.assertTrue(seconds.startswith(", ".join(f"{each:g} s" for each in numbers)), what)
        names = {each for constants in DEADLINES.values() for each in constants if isinstance(each, str)}
        self.assertEqual({name for name in FIXED if name.endswith("_seconds")}, names | ELSEWHERE)
