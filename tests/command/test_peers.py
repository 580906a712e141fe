"""``peers``, and what names mean."""

from __future__ import annotations

import errno
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from ensemble.command.naming import Known, full_id, match
from ensemble.command.outcome import CommandFailed
from ensemble.command.peers import milliseconds
from ensemble.identity import HumdId, Role
from tests.command.calling import ALPHA, BETA, CommandTestCase, linked

HINT = "tcp:192.0.2.2:14730"


class PeersTests(CommandTestCase):
    """``ensemble peers``."""

    def test_table(self) -> None:
        """Each peer has a line with how it is linked, or why it is not."""
        down: dict[str, Any] = {
            "id": ALPHA.full,
            "alias": None,
            "state": "dialling",
            "hints": [],
            "last_failure": "refused\x1b",
        }
        self.serve_control(peers={"ok": True, "peers": [linked(), down, "no row"]})
        said = self.call("peers")
        self.assertEqual((said.status, said.err), (0, ""))
        _, first, second = said.out.splitlines()
        self.assertRegex(first, rf"beta +{BETA.short} +linked +tcp +192.0.2.2 +proven +1 min 1 s +1.23 ms")
        self.assertRegex(second, rf"- +{ALPHA.short} +dialling +- +- +- +- +- +refused\\x1b")

    def test_remarks(self) -> None:
        """What a person should know of a link is said behind it."""
        row = linked(stranger=True, contested=True, queued_bytes=7, dropped=2, throttled=3, skew_ms=-9000)
        self.serve_control(peers={"ok": True, "peers": [row]})
        self.assertIn(
            "no row in peers.json; its links replace each other: do two processes have its key?; "
            "7 bytes queued; 2 tones dropped; 3 pauses, as it sends faster than its pace; "
            "its clock is -9 s off",
            self.call("peers").out,
        )

    def test_keys_that_changed(self) -> None:
        """Who goes on as another is said of both: of the one that has a row, and of its heir."""
        old, heir = linked(heir=ALPHA.full), linked(id=ALPHA.full, heir_of=BETA.full)
        self.serve_control(peers={"ok": True, "peers": [old, heir]})
        _, first, second = self.call("peers").out.splitlines()
        self.assertTrue(first.endswith(f"goes on as {ALPHA.full}"), first)
        self.assertTrue(second.endswith(f"has the row of {BETA.full}"), second)

    def test_away(self) -> None:
        """Why a peer is away is said, and when it is dialled again, unless a dial has failed since."""
        away = {"id": ALPHA.full, "state": "dialling", "hints": [HINT], "lost": "cut off", "lost_s": 75.2}
        rows = [away, {**away, "redial_in_s": 8.9}, {**away, "last_failure": "refused"}, {**away, "lost_s": "?"}]
        rows.append({**away, "state": "down", "hints": []})
        self.serve_control(peers={"ok": True, "peers": rows})
        remarks = [line.rpartition("  ")[2] for line in self.call("peers").out.splitlines()[1:]]
        lost = "lost 1 min 15 s ago: cut off"
        hintless = f"{lost}; no hint, so it must dial us"
        self.assertEqual(remarks, [lost, f"{lost}; dialled again in 8 s", "refused", "-", hintless])

    def test_no_hint(self) -> None:
        """A peer that we cannot dial, as its row has no hint, is said to be one that must dial us."""
        rows = [{"id": ALPHA.full, "state": "down", "hints": []}]
        rows.append({**rows[0], "refused": "revoked"})
        rows.append({**rows[0], "hints": [HINT]})
        self.serve_control(peers={"ok": True, "peers": rows})
        remarks = [line.rpartition("  ")[2] for line in self.call("peers").out.splitlines()[1:]]
        self.assertEqual(remarks, ["no hint, so it must dial us", "refused: revoked", "-"])

    def test_colour(self) -> None:
        """On a terminal the state is in colour."""
        self.serve_control(peers={"ok": True, "peers": [linked()]})
        self.assertIn("\033[32mlinked\033[0m", self.call("peers", terminal=True).out)

    def test_for_programs(self) -> None:
        """A program gets the daemon's rows untouched."""
        self.serve_control(peers={"ok": True, "peers": [linked()]})
        self.assertEqual(self.call("peers", "--json").document, {"ok": True, "daemon": True, "peers": [linked()]})

    def test_from_the_file(self) -> None:
        """Without a daemon the rows of the file are shown, and what is wrong with it; nothing is known of links."""
        self.write_peers({"humd_id": BETA.full, "hints": [HINT], "alias": "beta"}, {"humd_id": "nonsense"})
        said = self.call("peers")
        self.assertEqual(said.status, 0)
        self.assertRegex(said.out.splitlines()[1], rf"beta +{BETA.short} +unknown")
        self.assertIn("row 2", said.err)
        self.assertIn("no humd answers", said.err)
        document = self.call("peers", "--json").document
        row = {
            "id": BETA.full,
            "alias": "beta",
            "state": "unknown",
            "hints": [HINT],
            "secure_only": False,
            "auth": None,
        }
        row |= {"relays": False, "plain": False, "follow": False}
        self.assertEqual(document, {"ok": True, "daemon": False, "peers": [row]})

    def test_daemon_that_does_not_answer(self) -> None:
        """One that is there and says nothing is not as none: what it knows is not in the file."""
        self.write_peers({"humd_id": BETA.full, "alias": "beta"})
        self.serve_control(peers=[])
        for words in (("peers",), ("send", "beta", "{}")):
            said = self.call(*words)
            self.assertEqual((said.status, said.out), (3, ""), words)
            self.assertIn("without an answer", said.err)
        with mock.patch("ensemble.config.paths.at_once", side_effect=PermissionError(errno.EACCES, "no")):
            said = self.call("peers")
        self.assertEqual((said.status, said.out), (3, ""))
        self.assertIn("run this as the user that the humd runs as", said.err)

    def test_file_that_is_no_json(self) -> None:
        """A file that cannot be read ends with 1 and its name."""
        self.write_peers()
        self.peers_file.write_text("{")
        said = self.call("peers")
        self.assertEqual(said.status, 1)
        self.assertIn(str(self.peers_file), said.err)

    def test_nobody(self) -> None:
        """An empty list is said in words, and no more of the file than is known."""
        said = self.call("peers")
        self.assertIn(f"No peers: there is no {self.peers_file}; `ensemble trust PEER HINT` makes it", said.out)
        self.write_peers()
        self.assertIn(f"No peers: {self.peers_file} has no row;", self.call("peers").out)
        self.write_peers({"humd_id": "nonsense"})
        said = self.call("peers")
        self.assertIn(f"No peers: {self.peers_file} has no row that can be used;", said.out)
        self.assertIn("row 1", said.err)
        self.serve_control(peers={"ok": True, "peers": []})
        self.assertIn("No peers: the humd knows nobody; `ensemble doctor`", self.call("peers").out)

    def test_words(self) -> None:
        """For completion there are only names, one on each line."""
        self.write_peers({"humd_id": BETA.full, "alias": "my beta"}, {"humd_id": ALPHA.full})
        self.assertEqual(self.call("peers", "--words").out.splitlines(), ["my beta", BETA.full, ALPHA.full])

    def test_forget(self) -> None:
        """What is remembered of a peer goes, whichever of its names is given."""
        fake = self.serve_control(
            peers={"ok": True, "peers": [linked()]}, forget={"ok": True, "peer": BETA.full, "known": True}
        )
        for name in ("beta", BETA.full, BETA.digest.hex()[:6].upper()):
            said = self.call("peers", "--forget", name)
            self.assertEqual(said.status, 0)
            self.assertIn(f"Forgotten what {BETA.full}", said.out)
        self.assertEqual(
            [each for each in fake.heard if each["do"] == "forget"], 3 * [{"do": "forget", "peer": BETA.full}]
        )
        self.assertTrue(self.call("peers", "--forget", "beta", "--json").document["known"])

    def test_forget_what_was_not_known(self) -> None:
        """It is no error that nothing was remembered, but it is said."""
        self.serve_control(forget={"ok": True, "peer": BETA.full, "known": False})
        self.assertIn("Nothing was known", self.call("peers", "--forget", BETA.full).out)

    def test_forget_nobody(self) -> None:
        """A name that nobody has ends with 1, and says which names there are."""
        self.serve_control(peers={"ok": True, "peers": [linked(), linked(id="nonsense", alias="x"), linked(id=3)]})
        said = self.call("peers", "--forget", "gamma")
        self.assertEqual(said.status, 1)
        self.assertIn("there are beta (", said.err)
        self.assertEqual(self.call("peers", "--forget", "gamma", "--json").failure["qualifier"], "peer.unknown")


class NameTests(SynchronousTestCase):
    """What a person may write for a peer."""

    one = Known(HumdId(bytes.fromhex("abcdef01" + "00" * 27 + "01")), "one")
    two = Known(HumdId(bytes.fromhex("abcdef02" + "00" * 27 + "01")))
    hexlike = Known(HumdId(b"\7" * 32), "abcdef01")

    def refused(self, text: str) -> CommandFailed:
        error: CommandFailed = self.assertRaises(CommandFailed, match, text, [self.one, self.two])
        return error

    def test_beginnings(self) -> None:
        """Six digits are enough where they mean one peer, with the prefix or without, in any case."""
        for text in ("abcdef01", "ABCDEF01", "humd_abcdef01", self.one.humd_id.short):
            self.assertEqual(match(text, [self.one, self.two]), self.one.humd_id)

    def test_ambiguous(self) -> None:
        """A beginning that two share is refused, and both are named."""
        error = self.refused("abcdef")
        self.assertEqual(error.qualifier, "peer.ambiguous")
        self.assertIn(f"one, {self.two.humd_id.short}", str(error))

    def test_too_short(self) -> None:
        """Five digits are no beginning: they might be anything."""
        self.assertEqual(self.refused("abcde").qualifier, "peer.unknown")

    def test_nobody(self) -> None:
        """A beginning that nobody has is refused."""
        self.assertIn("no peer's id begins with abcdef03", str(self.refused("abcdef03")))

    def test_no_aliases(self) -> None:
        """Where there is no alias at all it is said."""
        error = self.assertRaises(CommandFailed, match, "x", [self.two])
        self.assertIn("no row of peers.json has one", str(error))

    def test_alias_first(self) -> None:
        """An alias that looks like the beginning of an id means its own row."""
        self.assertEqual(match("abcdef01", [self.one, self.hexlike]), self.hexlike.humd_id)

    def test_full(self) -> None:
        """A full id needs no row; a short one is only a beginning; a bee is nobody to send to."""
        stranger = HumdId(b"\1" * 32)
        self.assertEqual(full_id(stranger.digest.hex()), stranger)
        self.assertIsNone(full_id(stranger.short))
        self.assertIsNone(full_id("beta"))
        self.assertRaises(CommandFailed, full_id, HumdId(b"\1" * 32, Role.WORKER).full)

    def test_milliseconds(self) -> None:
        """Small times have decimals, large ones none, unknown ones a dash."""
        self.assertEqual([milliseconds(value) for value in (0.1234, 12.3, None)], ["0.12 ms", "12 ms", "-"])
