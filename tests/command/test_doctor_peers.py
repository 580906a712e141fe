"""What ``doctor`` says of one peer."""

from __future__ import annotations

from typing import Any

from ensemble.command.doctor import judge
from ensemble.command.findings import Finding, Grade
from ensemble.command.reach import Reached
from tests.command.calling import ALPHA, BETA, CommandTestCase, linked
from tests.command.test_doctor import HINT


class PeerTests(CommandTestCase):
    """What is said of one peer."""

    def judge(self, row: dict[str, Any], **tried: str) -> Finding:
        reached = {HINT: Reached(HINT, tried["trouble"])} if "trouble" in tried else {}
        return judge(row, reached, ALPHA, [] if "deaf" in tried else ["tcp:192.0.2.1:1"])

    def test_contested(self) -> None:
        """A peer whose links replace each other is seen, linked at that moment or not."""
        for state in ("linked", "down"):
            found = self.judge(linked(contested=True, state=state))
            self.assertEqual(found.grade, Grade.WARN)
            self.assertIn("do two processes have its key?", found.what)

    def test_clocks(self) -> None:
        """A clock more than 5 s off is worth a look, one more than 30 s off must be mended, either way."""
        for milliseconds, grade in (
            (0, "ok"),
            (5000, "ok"),
            (-5001, "warn"),
            (30_000, "warn"),
            (-30_001, "fail"),
            (3_600_000, "fail"),
        ):
            found = self.judge(linked(skew_ms=milliseconds))
            self.assertEqual(found.grade, grade, milliseconds)
            self.assertEqual("timedatectl" in found.mend, grade != "ok")
        self.assertIn("its clock +0.0 s", self.judge(linked(skew_ms=-12)).what)  # not -0.0

    def test_silent(self) -> None:
        """A link over which no ping is answered is not told as well, whatever it was when one was."""
        found = self.judge(linked(unanswered=True))
        self.assertEqual(found.grade, Grade.WARN)
        self.assertIn("no answer to a ping", found.what)
        self.assertNotIn("round trip", found.what)
        self.assertEqual(self.judge(linked(unanswered=False)).grade, Grade.OK)

    def test_pace(self) -> None:
        """A peer that is slowed is worth a look, with the limits that it ran into; a clock comes first."""
        for stranger, who in ((False, "known"), (True, "stranger")):
            found = self.judge(linked(throttled=3, stranger=stranger))
            self.assertEqual(found.grade, Grade.WARN)
            self.assertIn(f"{who}_tones_per_second", found.mend)
        self.assertIn("timedatectl", self.judge(linked(throttled=3, skew_ms=9000)).mend)
        self.assertEqual(self.judge(linked(throttled=0)).grade, Grade.OK)

    def test_name(self) -> None:
        """A peer is named by its alias and its short id; without an alias the id is enough."""
        short = BETA.full[:17]
        self.assertTrue(self.judge(linked()).what.startswith(f"beta ({short}): "))
        self.assertTrue(self.judge(linked(alias=None)).what.startswith(f"{short}: "))

    def test_clock_unknown(self) -> None:
        """A peer that tells no time is not blamed for it."""
        found = self.judge(linked(skew_ms=None, round_trip_ms=None))
        self.assertEqual(found.grade, Grade.OK)
        self.assertNotIn("clock", found.what)

    def test_reachable_but_not_linked(self) -> None:
        """Who accepts connections but no link probably does not know us: here is what to run there."""
        found = self.judge(linked(state="dialling", last_failure="it closed"), trouble="")
        self.assertEqual(found.grade, Grade.FAIL)
        self.assertIn("last: it closed", found.what)
        self.assertIn(f"over there: ensemble trust {ALPHA.full} tcp:192.0.2.1:1", found.mend)
        without_key = judge(linked(state="down"), {HINT: Reached(HINT)}, None, [])
        self.assertIn("ensemble id", without_key.mend)

    def test_away(self) -> None:
        """A peer that was lost and is not dialled yet is nobody's fault; once a dial has failed it is asked for."""
        away = linked(state="dialling", lost="cut off", lost_s=7.5, redial_in_s=11.0)
        found = self.judge(away, trouble="")
        self.assertEqual((found.grade, found.mend), (Grade.WARN, ""))
        self.assertTrue(found.what.endswith("accepts connections; lost 7 s ago: cut off; dialled again in 11 s"))
        for changed in ({"last_failure": "it closed"}, {"redial_in_s": None}):
            self.assertEqual(self.judge({**away, **changed}, trouble="").grade, Grade.FAIL)

    def test_waits(self) -> None:
        """A peer whose turn to be dialled has not come is nobody's fault, either; one that is not there is told so."""
        waits = linked(state="dialling", waits=True)
        found = self.judge(waits, trouble="")
        self.assertEqual(found.grade, Grade.WARN)
        self.assertTrue(found.what.endswith("accepts connections; our dial waits for its turn"))
        for cause in ("--limit pending_dials=", "descriptors"):
            self.assertIn(cause, found.mend)
        self.assertEqual(self.judge({**waits, "mend": "trust the heir"}, trouble="").mend, "trust the heir")
        self.assertEqual(self.judge(waits, trouble="refused").grade, Grade.FAIL)

    def test_known_mend(self) -> None:
        """Where the humd knows what mends it, that is the mend, and is said once."""
        mend = f"`ensemble trust {BETA.full} tls-fp:{'ab' * 32}`"
        found = self.judge(linked(state="dialling", last_failure=f"a wrong pin; {mend}", mend=mend), trouble="")
        self.assertTrue(found.what.endswith("last: a wrong pin"))
        self.assertEqual(found.mend, mend)

    def test_new_keys(self) -> None:
        """Of an id that is refused for its key the mend is the new id; an heir that has not come yet is no failure."""
        found = self.judge(linked(state="down", refused="its key was revoked"))
        self.assertEqual((found.grade, "owner" in found.mend), (Grade.WARN, True))
        heir: dict[str, Any] = {"heir": ALPHA.full, "mend": "trust the heir"}
        for row in (linked(state="down", refused="replaced", **heir), linked(**heir)):
            self.assertEqual((self.judge(row).grade, self.judge(row).mend), (Grade.WARN, "trust the heir"))
        found = self.judge(linked(state="dialling", **heir), trouble="refused")
        self.assertEqual((found.grade, found.mend), (Grade.FAIL, "trust the heir"))
        for part in (f"goes on as {ALPHA.full}", "not linked", "(refused)"):
            self.assertIn(part, found.what)
        found = self.judge(linked(state="dialling", heir_of=ALPHA.full))
        self.assertEqual((found.grade, ALPHA.full in found.what), (Grade.WARN, True))
        self.assertEqual(self.judge(linked(heir_of=ALPHA.full, skew_ms=0)).grade, Grade.OK)

    def test_heir_that_was_here(self) -> None:
        """An heir that has linked once and is not there is as anybody who is not there."""
        row = linked(state="dialling", heir_of=ALPHA.full)
        found = judge(row, {HINT: Reached(HINT, "refused")}, ALPHA, [HINT], {ALPHA.full})
        self.assertEqual((found.grade, f"{HINT} (refused)" in found.what), (Grade.FAIL, True))

    def test_somebody_else_there(self) -> None:
        """Who is there by its certificate, and is not who is wanted, is named."""
        row = linked(state="dialling")
        other = {HINT: Reached(HINT, found=ALPHA.full, pin=f"tls-fp:{'ab' * 32}")}
        found = judge(row, other, ALPHA, [HINT])
        self.assertEqual((found.grade, f"{HINT} leads to {ALPHA.full}" in found.what), (Grade.FAIL, True))
        self.assertIn("correct the hint", found.mend)
        pinned = linked(state="dialling", hints=[HINT, f"tls-fp:{'AB' * 32}"])
        for mine, there in ((row, {HINT: Reached(HINT, found=BETA.full)}), (pinned, other)):
            self.assertIn("no link comes up", judge(mine, there, ALPHA, [HINT]).what)

    def test_plain_beside_secure(self) -> None:
        """A plain hint that nobody dials, as its row names a secure one too, is not what the peer refuses."""
        tls = "tls:192.0.2.2:14731"
        row = linked(state="dialling", hints=[HINT, tls], secure_only=True)
        dead = {HINT: Reached(HINT), tls: Reached(tls, "refused")}
        found = judge(row, dead, ALPHA, [HINT])
        said = f"not linked, {HINT} (not dialled, for its row also names a secure hint), {tls} (refused)"
        self.assertIn(said, found.what)
        self.assertEqual(found.mend, f"mend the secure hint, or `ensemble trust {BETA.full} --plain`")
        self.assertIn(f"{HINT} accepts", judge({**row, "secure_only": False}, dead, ALPHA, [HINT]).what)
        self.assertIn(f"{tls} accepts", judge(row, {**dead, tls: Reached(tls)}, ALPHA, [HINT]).what)
        self.assertIn("firewall", judge(row, {**dead, HINT: Reached(HINT, "refused")}, ALPHA, [HINT]).mend)

    def test_mends_of_looks(self) -> None:
        """What this machine itself lacks is the mend, where all hints say the same."""
        other, row = "tcp:192.0.2.3:1", linked(state="down", hints=[HINT, "tcp:192.0.2.3:1"])
        for mends, told in ((("a network?", "a network?"), "a network?"), (("a network?", ""), "is its humd running")):
            reached = {each: Reached(each, "x", mend) for each, mend in zip((HINT, other), mends, strict=True)}
            self.assertIn(told, judge(row, reached, ALPHA, [HINT]).mend)

    def test_unreachable(self) -> None:
        """Who cannot be reached is told with the cause of each hint."""
        found = self.judge(linked(state="down"), trouble="connection refused")
        self.assertEqual(found.grade, Grade.FAIL)
        self.assertIn(f"{HINT} (connection refused)", found.what)

    def test_hints_that_cannot_be_tried(self) -> None:
        """A row with no hint that a TCP connect could try says so."""
        found = self.judge(linked(state="down", hints=["iroh:abc"]))
        self.assertEqual(found.grade, Grade.FAIL)
        self.assertIn("none of its hints", found.what)

    def test_no_hints(self) -> None:
        """Without a hint the peer must dial us; where we listen nowhere, too, nobody ever will."""
        self.assertEqual(self.judge(linked(state="down", hints=[])).grade, Grade.WARN)
        self.assertEqual(self.judge(linked(state="down", hints=[]), deaf="").grade, Grade.FAIL)
        asleep = self.judge(linked(state="unknown", hints=[]), deaf="")  # no daemon says where it listens
        self.assertEqual(asleep.grade, Grade.OK)
        self.assertNotIn("listens nowhere", asleep.what)
