"""``rotate`` and ``revoke``, with and without a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from ensemble.command import checks
from ensemble.command.control import NoDaemon
from ensemble.command.findings import Grade
from ensemble.command.outcome import BAD_USAGE, FAILED, NO_DAEMON, OK
from ensemble.command.unit import unit_path
from ensemble.config import begin_rotation, finish_rotation, keep_revocation, old_key_file
from ensemble.identity import HumdKey, certificate_of, fingerprint, load, revoke, succeed
from ensemble.tone import write_document
from tests.command.calling import ALPHA, BETA, CommandTestCase, FakeSocket

NOBODY = HumdKey.from_seed(b"\3" * 32)


class RekeyTestCase(CommandTestCase):
    """A machine with a key."""

    def setUp(self) -> None:
        super().setUp()
        self.me = self.mint().humd_id()

    def runs(self, id: str = "", **more: Any) -> FakeSocket:
        """A daemon that runs with the key, or as that id."""
        status = {"ok": True, "id": id or self.me.full, "key": str(self.key), "state_dir": str(self.key.parent)}
        rekey = {"ok": True, "told": [ALPHA.full], "deaf": [BETA.full]}
        return self.serve_control(**{"status": status, "rekey": rekey, **more})


class RotateTests(RekeyTestCase):
    """``ensemble rotate``."""

    def test_for_people(self) -> None:
        """It shows both ids, who was told, and what comes next; again it shows the same."""
        self.runs()
        said = self.call("rotate")
        self.assertEqual((said.status, said.err), (OK, ""))
        self.assertRegex(said.out, rf"old id +{self.me}\nnew id +humd_[0-9a-f]{{64}}\ntold +{ALPHA.short}; not under")
        self.assertIn(f"not understood by {BETA.short}", said.out)
        self.assertIn("ensemble rotate --finish", said.out)
        self.assertEqual(self.call("rotate").out, said.out)

    def test_for_programs(self) -> None:
        """The same as one document."""
        self.runs()
        said = self.call("rotate", "--json").document
        self.assertEqual((said["ok"], said["old"], said["daemon"]), (True, self.me.full, True))
        self.assertEqual((said["told"], said["deaf"]), ([ALPHA.full], [BETA.full]))
        done = self.call("rotate", "--finish", "--json").document
        self.assertEqual((done["ok"], done["new"], done["restart"]), (True, said["new"], True))
        self.assertEqual(load(self.key).humd_id().full, said["new"])

    def test_silent(self) -> None:
        """A daemon that does not answer is not taken for none: it may go on with the old key, and told nobody."""
        self.runs(rekey=[])
        for call in (["rotate"], ["revoke", "--yes"]):
            said = self.call(*call)
            self.assertEqual((said.status, said.out), (NO_DAEMON, ""))
            self.assertIn(f"the statement is in {self.key.parent}, and nobody was told: call this again", said.err)
        self.assertTrue(list(self.key.parent.glob("revocation-*.json")))

    def test_older_daemon(self) -> None:
        """A daemon that knows no such verb, for it is older, told nobody: what was signed is said to be kept."""
        said = {"ok": False, "qualifier": "not.supported", "message": "there is no verb 'rekey'"}
        self.runs(rekey=said)
        for call in (["rotate", "--json"], ["revoke", "--yes", "--json"]):
            failed = self.call(*call)
            self.assertEqual((failed.status, failed.failure["qualifier"]), (FAILED, "not.supported"))
            self.assertIn(f"no verb 'rekey'; the statement is in {self.key.parent}, and", failed.failure["message"])
            self.assertIn("or restart the humd", failed.failure["message"])

    def test_key_that_is_gone(self) -> None:
        """Where the key of a daemon that runs is gone, nobody is told to make another in its place."""
        self.runs()
        self.key.unlink()
        for call in (["rotate"], ["revoke", "--yes"]):
            said = self.call(*call)
            self.assertEqual((said.status, said.out), (FAILED, ""))
            self.assertIn("there is no key file", said.err)
            self.assertIn("put a copy back", said.err)
            self.assertNotIn("ensemble init", said.err)

    def test_of_another_state_dir(self) -> None:
        """A daemon with other files has nothing to do with it."""
        fake = self.runs(ALPHA.full, status=self.another())
        said = self.call("rotate", "--state-dir", str(self.key.parent))
        self.assertEqual((said.status, said.err), (OK, ""))
        self.assertIn("nobody, for no humd with these files answers", said.out)
        self.assertNotIn({"do": "rekey"}, fake.heard)

    def another(self) -> dict[str, Any]:
        elsewhere = self.home / "elsewhere"
        return {"ok": True, "id": ALPHA.full, "key": str(elsewhere / "key"), "state_dir": str(elsewhere)}

    def test_without_a_daemon(self) -> None:
        """It is told later, and nothing need be restarted."""
        self.assertIn("nobody, for no humd with these files answers", self.call("rotate").out)
        self.assertIs(self.call("rotate", "--json").document["daemon"], False)
        said = self.call("rotate", "--finish").out
        new, kept = load(self.key), old_key_file(self.key, self.me)
        pin = f"tls-fp:{fingerprint(certificate_of(new))}"
        self.assertRegex(said, rf"new id +{new.humd_id()}\ncertificate +{pin}\nold key +kept as {kept}\n")
        self.assertIn("  start the humd", said)
        self.assertIn("destroy the old key", said)

    def test_daemon_that_ends_meanwhile(self) -> None:
        """One that is gone by the time that it is to be told is as none: it tells when it runs again."""
        self.runs()
        with mock.patch("ensemble.command.rekey.ask_daemon", side_effect=NoDaemon("gone")):
            said = self.call("rotate")
        self.assertEqual((said.status, said.err), (OK, ""))
        self.assertIn("it tells everybody when it runs", said.out)

    def test_restart_first(self) -> None:
        """Between finish and restart nothing new is begun."""
        self.call("rotate")
        self.call("rotate", "--finish")
        self.runs(self.me.full)
        said = self.call("rotate", "--json")
        self.assertEqual((said.status, said.failure["qualifier"]), (FAILED, "rotate.restart-first"))
        self.assertIn("restart the humd", self.call("rotate", "--finish").out)

    def test_again(self) -> None:
        """A key that was just put in place is not replaced by a second look; only where that is asked for."""
        self.call("rotate")
        self.call("rotate", "--finish")
        now = load(self.key).humd_id().full
        said = self.call("rotate")
        self.assertEqual(said.status, BAD_USAGE)
        for word in (self.me.full, now, "is done", "`ensemble rotate --again`"):
            self.assertIn(word, said.err)
        begun = self.call("rotate", "--again", "--json").document
        self.assertEqual((begun["old"], self.call("rotate", "--json").document), (now, begun))

    def test_elsewhere(self) -> None:
        """What comes next has the options with which this was called."""
        place = str(self.key.parent)
        said = self.call("rotate", "--state-dir", place)
        self.assertIn(f"  ensemble rotate --state-dir {place} --finish\n", said.out)
        said = self.call("rotate", "--finish", "--state-dir", f"{place}/no where")
        self.assertIn(f"`ensemble init --state-dir '{place}/no where'` makes one", said.err)

    def test_restart(self) -> None:
        """Systemd is named where it runs the humd."""
        self.call("rotate")
        self.runs(self.me.full)
        self.assertIn("restart the humd: until", self.call("rotate", "--finish").out)
        unit = unit_path(self.environ)
        assert unit is not None
        unit.parent.mkdir(parents=True)
        unit.touch()
        self.assertIn("(`systemctl --user restart humd.service`)", self.call("rotate", "--finish").out)

    def test_nothing_begun(self) -> None:
        """There is nothing to finish, and no key to rotate."""
        self.assertEqual(self.call("rotate", "--finish").status, FAILED)
        self.key.unlink()
        for words in (["rotate"], ["rotate", "--finish"], ["revoke", "--yes"], ["revoke", "--out", "x"]):
            said = self.call(*words)
            self.assertEqual((said.status, "`ensemble init` makes one" in said.err), (FAILED, True))

    def test_nobody_linked(self) -> None:
        """A daemon without links, or one that is older, is told of."""
        self.runs(rekey={"ok": True, "told": [], "deaf": []})
        self.assertIn("nobody is linked", self.call("rotate").out)


class RevokeTests(RekeyTestCase):
    """``ensemble revoke``."""

    def test_needs_yes(self) -> None:
        """Nothing happens without the word."""
        said = self.call("revoke")
        self.assertEqual(said.status, BAD_USAGE)
        self.assertIn("--yes", said.err)
        self.assertEqual(list(self.key.parent.glob("revocation*")), [])

    def test_own(self) -> None:
        """The statement is in the state dir, is told, and the way on is shown."""
        self.runs()
        said = self.call("revoke", "--yes")
        self.assertIn(f"Told: {ALPHA.short}", said.out)
        self.assertIn("by another way", said.out)
        (path,) = self.key.parent.glob("revocation-*.json")
        self.assertIn(str(path), said.out)
        self.assertEqual(self.call("rotate").status, FAILED)

    def test_again(self) -> None:
        """Called again it tells the same statement: a key is revoked once."""
        first = self.call("revoke", "--yes", "--json").document
        before = Path(first["file"]).read_text()
        self.assertEqual(self.call("revoke", "--yes", "--json").document, first)
        self.assertEqual(Path(first["file"]).read_text(), before)

    def test_elsewhere(self) -> None:
        """A daemon that has other files tells nothing of these, and is not said to have."""
        self.runs()
        said = self.call(
            "revoke", "--yes", "--json", "--state-dir", str(self.key.parent / "other"), "--key", str(self.key)
        )
        self.assertEqual((said.status, said.document["daemon"]), (OK, False))

    def test_another_key(self) -> None:
        """Where a state dir is named, its key is meant, and never that of a daemon that has another."""
        self.runs()
        for words in (("rotate",), ("revoke", "--yes")):
            said = self.call(*words, "--state-dir", str(self.home / "other"))
            self.assertEqual((said.status, said.out), (FAILED, ""))
            self.assertIn(f"{self.home}/other/humd.key", said.err)

    def test_for_a_bad_day(self) -> None:
        """``--out`` only writes; taken in later it is as if it were signed then."""
        spare = str(self.home / "spare.json")
        said = self.call("revoke", "--out", spare).out
        self.assertIn("Nothing is revoked yet", said)
        self.assertIn(f"(`ensemble revoke --yes --file {spare}`)", said)
        self.assertEqual(self.call("revoke", "--out", spare).status, FAILED)
        self.assertEqual(self.call("rotate").status, OK)
        self.assertEqual(self.call("revoke", "--file", spare).status, BAD_USAGE)
        said = self.call("revoke", "--file", spare, "--yes", "--json").document
        self.assertEqual((said["id"], said["daemon"]), (self.me.full, False))
        self.assertEqual(self.call("rotate").status, FAILED)

    def test_of_somebody(self) -> None:
        """That of somebody else goes to the daemon, which must be there."""
        path = keep_revocation(self.home, revoke(NOBODY, 1))
        self.assertEqual(self.call("revoke", "--yes", "--file", str(path)).status, NO_DAEMON)
        fake = self.runs(revoke={"ok": True, "peer": NOBODY.humd_id().full, "known": False})
        said = self.call("revoke", "--yes", "--file", str(path))
        self.assertIn(f"{NOBODY.humd_id()} is refused from now on", said.out)
        self.assertEqual(fake.heard[-1], {"do": "revoke", "statement": revoke(NOBODY, 1).to_tone()})

    def test_earlier_key(self) -> None:
        """``--key`` names an earlier key of ours, also where a daemon runs with the one of today."""
        self.call("rotate")
        kept = self.call("rotate", "--finish", "--json").document["kept"]
        fake = self.runs(load(self.key).humd_id().full)
        said = self.call("revoke", "--yes", "--key", kept, "--json").document
        self.assertEqual((said["id"], said["told"]), (self.me.full, [ALPHA.full]))
        self.assertEqual(fake.heard[-1], {"do": "rekey"})

    def test_earlier_key_in_a_file(self) -> None:
        """A revocation that was made for a bad day is still ours, and is told, when the key has changed since."""
        spare = str(self.home / "spare.json")
        self.call("revoke", "--out", spare)
        self.call("rotate")
        self.call("rotate", "--finish")
        said = self.call("revoke", "--yes", "--file", spare, "--json").document
        self.assertEqual((said["id"], said["daemon"]), (self.me.full, False))
        self.assertTrue(list(self.key.parent.glob("revocation-*.json")))

    def test_next_key_in_a_file(self) -> None:
        """The next key is ours, too: its revocation is kept and told, not only taken in here."""
        self.call("rotate")
        spare = str(self.home / "spare.json")
        self.call("revoke", "--key", f"{self.key}.next", "--out", spare)
        self.assertIs(self.call("revoke", "--yes", "--file", spare, "--json").document["daemon"], False)
        self.assertTrue(list(self.key.parent.glob("revocation-*.json")))

    def test_no_file(self) -> None:
        """A file that is none is a failure."""
        self.assertEqual(self.call("revoke", "--yes", "--file", str(self.home / "none")).status, FAILED)

    def test_succession(self) -> None:
        """A file with a succession, ours or a single one, is called that."""
        self.call("rotate")
        single = self.home / "one.json"
        single.write_text(write_document(succeed(NOBODY, load(self.key), 1).to_tone()))
        for path in (single, self.key.parent / "successions.json"):
            said = self.call("revoke", "--yes", "--file", str(path))
            self.assertEqual((said.status, "is a succession, and no revocation" in said.err), (FAILED, True))
            self.assertNotIn("move it away", said.err)


class DoctorTests(RekeyTestCase):
    """What ``ensemble doctor`` says of the files."""

    def test_doctor(self) -> None:
        """A humd whose own key is revoked is not well, though it runs; nor one with a file that it cannot read."""
        folder = self.key.parent
        keep_revocation(folder, revoke(NOBODY, 1))
        self.assertEqual(checks.statements(folder, self.key, self.me), (False, []))
        keep_revocation(folder, revoke(load(self.key), 1))
        revoked, (found,) = checks.statements(folder, self.key, self.me)
        self.assertEqual((revoked, found.grade, self.me.full in found.what), (True, Grade.FAIL, True))
        self.write_peers({"humd_id": BETA.full, "hints": ["tcp:127.0.0.1:9"]})
        self.assertNotIn(BETA.short, self.call("doctor").out)
        (folder / "successions.json").write_text("{")
        _, (found,) = checks.statements(folder, self.key, self.me)
        self.assertEqual((found.grade, "move it away" in found.mend), (Grade.FAIL, True))
        (folder / "successions.json").unlink()
        (folder / "successions.json").mkdir()
        self.assertIn("does not start", checks.statements(folder, self.key, self.me)[1][0].mend)

    def test_lost(self) -> None:
        """A key that is gone while the next one is there is told, with the way on."""
        folder = self.key.parent
        heir = begin_rotation(self.key, folder, 1).heir
        self.key.unlink()
        for own in (None, BETA):
            _, (found,) = checks.statements(folder, self.key, own)
            self.assertEqual((found.grade, heir.full in found.what, "mv " in found.mend), (Grade.WARN, True, True))

    def test_begun(self) -> None:
        """A rotation that is not finished is told; where its key is not there an old key was put back, and must go."""
        folder = self.key.parent
        heir = begin_rotation(self.key, folder, 1).heir
        _, (found,) = checks.statements(folder, self.key, self.me)
        self.assertEqual((found.grade, "--finish" in found.mend, heir.full in found.what), (Grade.WARN, True, True))
        old = self.key.read_bytes()
        finish_rotation(self.key, folder)
        self.assertEqual(checks.statements(folder, self.key, heir), (False, []))
        self.key.write_bytes(old)
        _, (found,) = checks.statements(folder, self.key, self.me)
        self.assertEqual((found.grade, "its key back" in found.mend), (Grade.FAIL, True))
        self.assertIn(f"{heir} is named as the successor already", found.what)

    def test_spoilt(self) -> None:
        """Of a next key that is none no other is to be made, though for a first key that would be the mend."""
        folder = self.key.parent
        heir = begin_rotation(self.key, folder, 1).heir
        following = self.key.with_name(f"{self.key.name}.next")
        following.write_bytes(b"")
        _, (found,) = checks.statements(folder, self.key, self.me)
        self.assertEqual(found.what, f"{following} is no key, and {heir} is named as the successor already")
        self.assertTrue(found.mend.startswith("put its key back there from a copy. A second"), found.mend)
