"""``trust --wait``: until there is a link, or it is known that none comes."""

from __future__ import annotations

from typing import Any
from unittest import mock

from tests.command.calling import ALPHA, BETA, linked
from tests.command.test_trust import OLD, PLACE, TrustTestCase


class WaitTests(TrustTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0
        patch = mock.patch("ensemble.command.trust.time", monotonic=lambda: self.now, sleep=self.sleep)
        self.clock = patch.start()
        self.addCleanup(patch.stop)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def answers(self, *rows: dict[str, Any]) -> None:
        """What the daemon says of its peers, time after time; the last for ever."""
        left = list(rows)
        self.serve_control(
            reload=self.took(), peers=lambda _: {"ok": True, "peers": [left.pop(0) if len(left) > 1 else left[0]]}
        )

    def test_linked(self) -> None:
        """It waits until the peer is linked, and tells each new cause why it is not yet once."""
        slow = linked(state="dialling", last_failure="nobody listens")
        other = linked(state="dialling", last_failure="a wrong pin\x1b")
        self.answers(linked(state="dialling"), slow, slow, other, other, linked(wire="tls", since_s=0.1))
        said = self.call("trust", BETA.full, PLACE, "--wait")
        self.assertEqual(said.status, 0)
        self.assertEqual(said.out.splitlines()[-2:], ["The humd has read it.", "Linked over tls (proven)."])
        self.assertEqual(
            said.err, "ensemble: not linked yet: nobody listens\nensemble: not linked yet: a wrong pin\\x1b\n"
        )
        self.answers_again(linked())
        self.assertIs(self.call("trust", BETA.full, PLACE, "--wait", "--json").document["linked"], True)

    def test_up_before(self) -> None:
        """A link that is older than the hint shows nothing of it, and that is said; a pin alone is judged at once."""
        self.answers(linked())
        said = self.call("trust", BETA.full, PLACE, "--wait")
        self.assertEqual(
            (said.status, said.err),
            (0, f"ensemble: this link was up before; {PLACE}: not tried, for it is dialled when that ends\n"),
        )
        self.answers_again(linked())
        self.assertEqual(self.call("trust", BETA.full, PLACE, "--wait").err, "")
        self.assertEqual(self.call("trust", BETA.full, f"tls-fp:{'0' * 64}", "--wait").err, "")

    def test_heir(self) -> None:
        """Where the row says follow, the link of the heir is the one that was waited for."""
        heir = linked(id=ALPHA.full, heir_of=BETA.full)
        rows = [linked(state="down", refused="replaced", heir=ALPHA.full), heir]
        self.serve_control(reload=self.took(), peers={"ok": True, "peers": rows})
        said = self.call("trust", BETA.full, "--follow", "--wait")
        self.assertEqual(said.out.splitlines()[-1], f"Linked over tcp (proven) as {ALPHA.full}.")
        heir["heir_of"] = None  # it has a row of its own
        self.assertIn(f" as {ALPHA.full}.", self.call("trust", BETA.full, "--follow", "--wait").out)

    def test_dead(self) -> None:
        """Who is refused for its key will never be linked, so nobody waits for that."""
        self.answers(linked(state="down", refused="its key was revoked"))
        said = self.call("trust", BETA.full, "--wait", "--json")
        self.assertEqual((said.status, said.failure["qualifier"], self.now), (1, "trust.not-linked", 0.0))
        self.assertIn("its key was revoked", said.failure["message"])

    def answers_again(self, row: dict[str, Any]) -> None:
        self.control.unlink()
        self.answers(row)

    def test_never(self) -> None:
        """When the time is up it ends with 1 and the cause of the last dial, or that there was none."""
        self.answers(linked(state="dialling", last_failure="nobody listens"))
        said = self.call("trust", BETA.full, PLACE, "--wait", "--timeout", "2")
        self.assertEqual(
            (said.status, said.err.splitlines()[-1]), (1, "ensemble: no link within 2 s; the last dial: nobody listens")
        )
        self.assertTrue(2.0 <= self.now < 2.5)
        self.answers_again(linked(id=ALPHA.full))
        said = self.call("trust", BETA.full, PLACE, "--wait", "--json")
        self.assertEqual((said.out, said.failure["qualifier"]), ("", "trust.not-linked"))
        self.assertIn("no link within 60 s: it was not dialled, and did not dial", said.failure["message"])

    def test_still_dialling(self) -> None:
        """Where a dial has come to nothing yet, neither failed nor linked, that and its places are said."""
        for secure, dialled in ((False, f"tcp:h:1, {PLACE}"), (True, PLACE)):
            self.answers(linked(state="dialling", hints=["tcp:h:1", PLACE, OLD, "udp:h:2"], secure_only=secure))
            said = self.call("trust", BETA.full, "--wait", "--timeout", "5")
            why = f"no link within 5 s: still dialling {dialled}, without an answer so far; "
            self.assertEqual((said.status, why in said.err), (1, True), said.err)
            self.control.unlink()

    def test_no_daemon(self) -> None:
        """Nobody can be waited for without a daemon: status 3, and the row is made."""
        said = self.call("trust", BETA.full, "--wait")
        self.assertEqual(said.status, 3)
        self.assertEqual(self.rows(), [{"humd_id": BETA.full}])

    def test_interrupted(self) -> None:
        """Ctrl-C ends the waiting; the row stays."""
        self.answers(linked(state="dialling"))
        self.clock.sleep = mock.Mock(side_effect=KeyboardInterrupt)
        self.assertRaises(KeyboardInterrupt, self.call, "trust", BETA.full, "--wait")
        self.assertEqual(self.rows(), [{"humd_id": BETA.full}])
