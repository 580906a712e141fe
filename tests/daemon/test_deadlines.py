"""The deadlines of the documentation, against those of the code."""

from __future__ import annotations

import re

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from ensemble.command import control as asking, parser, reach, start
from ensemble.daemon.ceilings import FIXED
from ensemble.protocols import DEADLINES, Deadlines
from tests.test_architecture import ROOT

FIXED_ROWS: dict[str, tuple[str | float, ...]] = {
    "tones for a link that is coming": ("move_seconds",),
    "two links that were dialled at once": ("settle_seconds",),
    "the goodbyes of a stop": ("goodbye_seconds", "stop_seconds"),
    "at the start: ": ("peers_database_seconds",),
    "``ensemble``: an answer": (asking.SECONDS,),
    "``ensemble send --wait``": (parser.SECONDS,),
    "``ensemble doctor``": (reach.SECONDS,),
    "``ensemble init --start``": (start.SYSTEMCTL_SECONDS,),
}
ELSEWHERE = {  # told in other words, or of what nobody waits for
    "stagger_seconds",
    "redial_first_seconds",
    "redial_last_seconds",
    "look_up_seconds",
    "tls_key_updates_seconds",
    "asks_remembered_seconds",
}
CEILINGS = """
tone_depth_containers flow_bytes_per_second pending_bytes pending_lines pending_pieces
tls_handshake_bytes tls_message_bytes tls_key_updates tls_rsa_bits look_ups look_ups_per_peer look_up_addresses
strangers_share_percent known_share_percent local_share_percent peer_dials pongs_at_once malformed_lines_per_second
malformed_lines_at_once key_statements key_statements_per_link remembered_strangers remembered_hellos tap_tones
asks_per_client asks_orphaned asks_keys_bytes asks_bytes owed_errors_per_peer owed_bytes_per_peer owed_bytes
control_connections control_taps control_request_bytes control_queue_bytes descriptors_kept
"""
NO_NUMBER = "a peer from before 0.8"
ROW = re.compile(r"^   \* - (.*)\n     - (.*)\n     -(?: (.*))?\n     - ", re.MULTILINE)


class DeadlineTests(SynchronousTestCase):
    """The table of the page on limits."""

    def test_numbers(self) -> None:
        """Each row has the number of the code, and the name of the limit that sets it; no deadline has none."""
        (_, *rows) = ROW.findall((ROOT / "docs/limits.rst").read_text())
        names = [one.name for one in fields(Deadlines)]
        set_by = {name.strip("`"): (what, told) for what, told, name in rows if name.strip("`") in names}
        self.assertEqual(set(set_by), set(names))
        for name, (what, told) in set_by.items():
            self.assertEqual(told, f"{getattr(DEADLINES, name)} s", what)
        told_fixed = [(what, told) for what, told, name in rows if name.strip("`") not in names]
        (_,) = [what for what, _ in told_fixed if what.startswith(NO_NUMBER)]
        others = [row for row in told_fixed if not row[0].startswith(NO_NUMBER)]
        for (what, told), (begin, constants) in zip(others, FIXED_ROWS.items(), strict=True):
            self.assertTrue(what.startswith(begin), what)
            numbers = [FIXED[each] if isinstance(each, str) else each for each in constants]
            self.assertEqual(told, ", ".join(f"{each:g} s" for each in numbers), what)
        told_names = {each for constants in FIXED_ROWS.values() for each in constants if isinstance(each, str)}
        self.assertEqual({name for name in FIXED if name.endswith("_seconds")}, told_names | ELSEWHERE)

    def test_ceilings(self) -> None:
        """What bounds a humd besides is in ``status``, under the names that it always had: a script may look there."""
        self.assertEqual({name for name in FIXED if not name.endswith("_seconds")}, set(CEILINGS.split()))
