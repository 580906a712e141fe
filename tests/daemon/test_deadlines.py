"""The deadlines of the documentation, against those of the code."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from ensemble.command import control as asking, init, parser, reach
from ensemble.conversations import PAUSE_SECONDS
from ensemble.daemon import control, signals, verbs
from ensemble.mesh import allowance, defaults, proof_memory
from ensemble.protocols import stream, tcp, tls
from ensemble.thrum import session
from tests.test_architecture import ROOT

DEADLINES: dict[str, tuple[float, ...]] = {
    "a dial: ": (tcp.DIAL_SECONDS,),
    "TLS with whoever connected": (tls.HANDSHAKE_SECONDS,),
    "a link that is not up": (defaults.PENDING_SECONDS,),
    "tones for a link that is coming": (defaults.MOVE_SECONDS,),
    "two links that were dialled at once": (defaults.SETTLE_SECONDS,),
    "the rest of a line": (stream.UNFINISHED_SECONDS,),
    "a sign of life, where nobody waits": (defaults.PING_SECONDS, defaults.GONE_SECONDS),
    "the same where somebody waits": (defaults.PING_SECONDS_WAITED_FOR, defaults.GONE_SECONDS_WAITED_FOR),
    "a ping that cannot leave": (defaults.STUCK_SECONDS,),
    "a peer that sent too fast": (allowance.MOST_PAUSE,),
    "a peer, to read what is queued": (defaults.CLOSE_SECONDS,),
    "a connection with an empty queue": (stream.CLOSE_SECONDS,),
    "a local program that we part from": (session.CLOSE_SECONDS,),
    "a local program that writes": (PAUSE_SECONDS,),
    "a local program, to take anything": (session.SLOW_SECONDS,),
    "an answer to ``probe``": (verbs.PROBE_SECONDS,),
    "a request on the control socket": (control.IDLE_SECONDS,),
    "the goodbyes of a stop": (defaults.STOP_SECONDS, signals.END_SECONDS),
    "at the start: ": (proof_memory.OPEN_SECONDS,),
    "``ensemble``: an answer": (asking.SECONDS,),
    "``ensemble send --wait``": (parser.SECONDS,),
    "``ensemble doctor``": (reach.SECONDS,),
    "``ensemble init --start``": (init.SYSTEMCTL_SECONDS,),
}
NO_NUMBER = "a peer from before 0.8"


class DeadlineTests(SynchronousTestCase):
    """The table of the page on limits."""

    def test_numbers(self) -> None:
        """Each row has the number of the code, and there is a constant for each row."""
        rows = re.findall(r"^   \* - (.*)\n     - (.*)\n     - ", (ROOT / "docs/limits.rst").read_text(), re.MULTILINE)
        (_, *told) = [row for row in rows if not row[0].startswith(NO_NUMBER)]
        self.assertEqual(len(told), len(DEADLINES))
        for (what, seconds), (begin, constants) in zip(told, DEADLINES.items(), strict=True):
            self.assertTrue(what.startswith(begin), what)
            self.assertTrue(seconds.startswith(", ".join(f"{each:g} s" for each in constants)), what)
