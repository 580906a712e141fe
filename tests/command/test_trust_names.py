"""``trust`` and ``untrust`` of names that mean no row, and are known all the same."""

from __future__ import annotations

from typing import Any

from tests.command.calling import ALPHA, BETA, linked
from tests.command.test_trust import TrustTestCase


class SkippedTests(TrustTestCase):
    """Rows that cannot be used."""

    def test_skipped_row(self) -> None:
        """Who means a row that is skipped is told why it is."""
        bad = {"humd_id": BETA.full, "alias": "cee", "auth": "prooven"}
        why = (
            f'{self.peers_file}: row 1: "auth" must be one of open, signed, proven; the row is skipped; mend it by hand'
        )
        self.write_peers(bad, {"alias": "nobody"})
        for verb in ("trust", "untrust"):
            for name in ("cee", BETA.short):
                said = self.call(verb, name, "--json").failure
                self.assertEqual(said["qualifier"], "peer.unknown")
                self.assertEqual(said["message"], f"{why}, or remove it: `ensemble untrust {BETA.full}`")
        self.assertIn('row 2: "humd_id" is missing', self.call("trust", "nobody").err)
        self.write_peers({"humd_id": BETA.full}, {"humd_id": BETA.full, "alias": "cee"})
        said = self.call("untrust", "cee")
        self.assertTrue(said.err.endswith("has a row already; the row is skipped; mend it by hand\n"), said.err)


class PastedTests(TrustTestCase):
    """What comes out of a mail, or out of a chat."""

    def test_blanks_at_the_ends(self) -> None:
        """A blank or a line end around a word is nobody's intention."""
        self.assertEqual(self.call("trust", f" {BETA.full}\n", " tls:192.0.2.7:1 ", "--alias", "beta").status, 0)
        self.assertEqual(self.rows(), [{"humd_id": BETA.full, "hints": ["tls:192.0.2.7:1"], "alias": "beta"}])
        self.assertEqual(self.call("untrust", "beta ").status, 0)

    def test_blanks_inside(self) -> None:
        """Inside one is named, and so is what else is easily overlooked."""
        broken = f"{BETA.full[:40]}\n{BETA.full[40:]}"
        self.assertIn("without a blank or a line break", self.call("trust", broken).err)
        for hint, why in (
            ("tls:192.0.2.7 :1", "tls:192.0.2.10:14731, and there is a blank in it"),
            ("TLS:192.0.2.7:1", "a scheme is in lower case"),
            ("192.0.2.7:1", "for instance tls:192.0.2.10:14731\n"),
        ):
            self.assertIn(why, self.call("trust", BETA.full, hint).err)


class HeirTests(TrustTestCase):
    """BETA has the row, as ay, and goes on as ALPHA."""

    def setUp(self) -> None:
        super().setUp()
        self.write_peers({"humd_id": BETA.full, "alias": "ay", "follow": True})
        self.line = f"`ensemble untrust {BETA.full} && ensemble trust {ALPHA.full} --alias ay --follow`"
        self.heir = f"{ALPHA.full} is the heir of {BETA.full} (ay), which has the row; "

    def knows(self, *rows: dict[str, Any]) -> None:
        nonsense = [{"id": "x", "heir": "y"}, {"id": "x", "heir": BETA.full}]
        self.serve_control(reload=self.took(), peers={"ok": True, "peers": [*rows, *nonsense]})

    def test_trust(self) -> None:
        """An heir is not called a stranger, nor its alias taken: what gives it the row is shown."""
        old = linked(alias=None, heir=ALPHA.full, mend=f"ask its owner; when it has finished: {self.line}")
        self.knows(old, linked(id=ALPHA.full, alias="ay", heir_of=BETA.full))
        for words in ((ALPHA.short,), (ALPHA.short, "--alias", "ay"), (ALPHA.full, "--alias", "ay")):
            said = self.call("trust", *words)
            mend = f"to give it the row, ask its owner; when it has finished: {self.line}"
            self.assertEqual((said.status, said.err), (1, f"ensemble: {self.heir}{mend}\n"))

    def test_trust_without_a_mend(self) -> None:
        """Where the daemon does not say what gives it the row, the usual line does."""
        self.knows(linked(alias="ay", heir=ALPHA.full))
        line = f"`ensemble untrust {BETA.full} && ensemble trust {ALPHA.full}`"
        said = self.call("trust", ALPHA.short)
        self.assertEqual((said.status, said.err), (1, f"ensemble: {self.heir}to give it the row, {line}\n"))

    def test_untrust(self) -> None:
        """What ends the trust in an heir is the end of the row that it has."""
        for rows in (
            [linked(alias=None), linked(id=ALPHA.full, alias="ay", heir_of=BETA.full)],
            [linked(alias="ay", heir=ALPHA.full)],
        ):
            self.knows(*rows)
            for name in (ALPHA.short, ALPHA.full):
                said = self.call("untrust", name)
                end = f"{self.heir}`ensemble untrust {BETA.full}` ends the trust in both\n"
                self.assertEqual((said.status, said.err.endswith(end)), (1, True), said.err)
            self.control.unlink()

    def test_somebody_else(self) -> None:
        """Who is nobody's heir is nobody, and an alias of somebody else is taken, as ever."""
        self.knows(linked(alias="ay"))
        self.assertIn("no peer's id begins with", self.call("trust", ALPHA.short).err)
        self.assertTrue(self.call("untrust", ALPHA.full).err.endswith(f"has no row of {ALPHA.full}\n"))
        self.assertIn("--no-alias", self.call("trust", ALPHA.full, "--alias", "ay").err)
        self.write_peers({"humd_id": f"humd_{'a' * 64}"}, {"humd_id": f"humd_{'a' * 63}b"})
        self.assertIn("more than one id", self.call("trust", f"humd_{'a' * 12}").err)
