"""``doctor``: what it finds, how bad that is, and what it says to do."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from typing import Any
from unittest import mock

from ensemble import __version__
from ensemble.command import checks
from ensemble.command.control import AS_ITS_USER
from ensemble.command.outcome import NO_DAEMON
from ensemble.command.reach import Place
from ensemble.config import MAX_THRUM
from ensemble.daemon.state import StateLock
from tests.command.calling import ALPHA, BETA, CommandTestCase, linked, status

HINT = "tcp:192.0.2.2:14730"
BREATH = b'{"chi":"breath","protoVersion":"0.8.0","sessions":[]}\n'


class DoctorTests(CommandTestCase):
    """The whole of it."""

    def healthy(self, *rows: dict[str, Any], **more: Any) -> None:
        """Everything is as it should be, but for what ``more`` says."""
        self.unreachable: dict[tuple[str, int], OSError] = {}
        self.enterContext(mock.patch("ensemble.command.reach._connect", self.connect))
        self.enterContext(mock.patch("OpenSSL.SSL.OPENSSL_VERSION_NUMBER", checks.CHEAP_OPENSSL))
        key = self.mint()
        known = [row for row in rows if not row.get("stranger")]
        self.write_peers(*({"humd_id": row["id"], "hints": row["hints"], "alias": row["alias"]} for row in known))
        places = {"state_dir": str(self.key.parent), "peers_file": str(self.peers_file), "version": __version__}
        said = status(**({"id": key.humd_id().full} | places | more))
        self.serve_control(status=said, probe={"ok": True, "peers": list(rows)})
        self.serve(self.thrum, lambda tone: [], BREATH)

    def connect(self, places: Sequence[Place]) -> bytes:
        ((_, address),) = places
        if address in self.unreachable:
            raise self.unreachable[address]
        return b""

    def checks(self, *words: str, expect: int) -> list[dict[str, str]]:
        said = self.call("doctor", "--json", *words)
        self.assertEqual((said.status, said.err), (expect, ""))
        document = said.document
        self.assertEqual(document["ok"], expect == 0)
        found: list[dict[str, str]] = document["checks"]
        self.assertEqual([each for each in found if (each["grade"] == "ok") != (not each["mend"])], [], "no mend")
        return found

    def test_all_is_well(self) -> None:
        """Where all is well every line says ok, and the status is 0."""
        self.healthy(linked())
        self.assertEqual({each["grade"] for each in self.checks(expect=0)}, {"ok"})
        said = self.call("doctor")
        self.assertEqual(said.status, 0)
        self.assertRegex(
            said.out, r"ok +peer +beta \(humd_[0-9a-f]{12}\): linked over tcp \(proven\), round trip 1.23 ms"
        )
        self.assertIn("all is well", said.out.splitlines()[-1])

    def test_nothing_is_there(self) -> None:
        """On a fresh machine it names what to do, and the status is 1."""
        found = {each["check"]: each for each in self.checks(expect=1)}
        grades = {check: each["grade"] for check, each in found.items() if check not in ("package", "descriptors")}
        self.assertEqual(
            grades, {"key": "warn", "state": "warn", "thrum": "fail", "daemon": "fail", "peers file": "warn"}
        )
        self.assertIn("ensemble init", found["key"]["mend"])
        said = self.call("doctor").out
        self.assertRegex(said, r"fail +daemon +no humd answers on the control socket  -> systemctl --user start humd")
        self.assertEqual(said.splitlines()[-1], "2 to mend, 3 to look at")

    def test_files_that_are_gone(self) -> None:
        """Where a humd runs whose key is gone, or its whole state dir, nobody is told to make another."""
        self.healthy(linked(), key=str(self.key))
        self.key.unlink()
        for kind in ("key", "state"):
            found = [each for each in self.checks(expect=1) if each["check"] in ("key", kind)]
            self.assertEqual({each["grade"] for each in found}, {"fail"})
            for each in found:
                self.assertIn("of the humd that runs, is gone", each["what"])
                self.assertIn("put a copy back", each["mend"])
            shutil.rmtree(self.key.parent, ignore_errors=True)

    def test_files_of_another(self) -> None:
        """What is not there, and which the humd that answers has elsewhere, is only to be made."""
        self.healthy(linked(), key="/elsewhere/humd.key", state_dir="/elsewhere")
        shutil.rmtree(self.key.parent)
        found = {each["check"]: each for each in self.checks("--thrum", str(self.thrum), expect=0)}
        for check in ("key", "state"):
            self.assertEqual((found[check]["grade"], "ensemble init" in found[check]["mend"]), ("warn", True), check)

    def test_openssl(self) -> None:
        """It is told where strangers may choose what takes long."""
        self.healthy()
        with mock.patch("OpenSSL.SSL.OPENSSL_VERSION_NUMBER", 0x30400070):
            found = [each["grade"] for each in self.checks(expect=0) if each["check"] == "package"]
        self.assertIn("warn", found)

    def test_no_home(self) -> None:
        """Places below the current folder for want of a home are worth a look."""
        del self.environ["HOME"]
        found = [each for each in self.checks("--state-dir", str(self.home), expect=1) if each["check"] == "state"]
        self.assertEqual([each["mend"] for each in found], ["give --peers, or set HOME", ""])

    def test_without_a_daemon(self) -> None:
        """The peers of the file are tried even where no humd runs."""
        self.healthy(linked())
        self.control.unlink()
        peer = self.checks(expect=1)[-1]
        self.assertEqual((peer["grade"], peer["check"]), ("ok", "peer"))
        self.assertIn("tcp:192.0.2.2:14730 accepts connections", peer["what"])

    def test_socket_that_is_gone(self) -> None:
        """A humd that runs, and whose sockets somebody removed, is to be restarted: to start it does nothing."""
        self.healthy(linked())
        self.control.unlink()
        lock = StateLock.take(self.key.parent, self.thrum, self.peers_file)
        self.addCleanup(lock.release)
        (found,) = [each for each in self.checks(expect=1) if each["check"] == "daemon"]
        self.assertIn(f"process {os.getpid()}, lost its socket", found["what"])
        self.assertEqual(found["mend"], "restart it")
        self.thrum.unlink()
        for words in (["status"], ["listen"], ["send", BETA.full, '{"chi":"pulse","sid":"1"}']):
            said = self.call(*words)
            self.assertEqual(said.status, NO_DAEMON)
            self.assertIn("lost its socket", said.err)
            self.assertNotIn("start one", said.err)
        self.assertIn("its hints are empty, for the humd that runs", self.call("id").err)
        said = self.call("trust", BETA.full, HINT)
        self.assertIn("lost its socket, unless it starts or ends just now; restart it: it will read the file", said.err)

    def test_daemon_that_goes_away(self) -> None:
        """A humd that ends in the middle leaves the rows of the file to be judged."""
        self.healthy(linked(alias=None))
        self.control.unlink()
        self.serve_control(status=status(version=__version__))
        self.assertEqual(self.checks(expect=1)[-1]["check"], "peer")

    def test_socket_path_too_long(self) -> None:
        """A socket path that cannot be is one line; the rest is looked at all the same."""
        self.mint()
        found = self.checks("--thrum", "/" + "x" * MAX_THRUM, expect=1)
        self.assertEqual([each["grade"] for each in found if each["check"] == "thrum"], ["fail"])
        self.assertEqual([each["grade"] for each in found if each["check"] == "key"], ["ok"])

    def test_of_another_user(self) -> None:
        """Sockets that this user may not use are not taken for those of a humd that does not run."""
        self.healthy()
        refused = PermissionError(13, "Permission denied")
        for name, how in (("os.access", {"return_value": False}), ("pathlib.Path.lstat", {"side_effect": refused})):
            with mock.patch(name, **how), mock.patch("socket.socket.connect", side_effect=refused):
                found = [each for each in self.checks(expect=1) if each["check"] in ("thrum", "daemon")]
            self.assertEqual([(each["grade"], each["mend"]) for each in found], [("fail", AS_ITS_USER)] * 2)

    def test_another_key(self) -> None:
        """A daemon that runs with another key than the file's is told."""
        self.healthy(id=ALPHA.full, key=str(self.key))
        (found,) = [each for each in self.checks(expect=1) if each["check"] == "daemon"]
        self.assertIn(f"it runs as {ALPHA.short}", found["what"])
        self.assertEqual(found["mend"], "restart humd")

    def test_another_key_elsewhere(self) -> None:
        """Where its files are others than those that were looked at, that comes first, and a restart is no mend."""
        self.healthy()
        other = f"{self.home}/o"
        for key, words in ((f"{other}/humd.key", ["--state-dir"]), (f"{other}/k", ["--state-dir", "--key"])):
            self.control.unlink()
            self.serve_control(status=status(state_dir=other, key=key, peers_file=f"{other}/p"))
            *places, found = [each for each in self.checks(expect=1) if each["check"] == "daemon"]
            self.assertEqual([each["mend"].split()[1] for each in places], [*words, "--peers"])
            self.assertEqual(found["mend"], "look again, with what it uses")

    def test_other_places(self) -> None:
        """A daemon with other files, or of another version, is told with the option that finds them."""
        self.healthy(state_dir="/other", peers_file="/other/peers.json", version="9.9")
        found = [each["mend"] for each in self.checks(expect=0) if each["check"] == "daemon"]
        self.assertEqual(found, ["add --state-dir /other", "add --peers /other/peers.json", "restart humd"])

    def test_listens_nowhere(self) -> None:
        """A humd that listens nowhere is worth a look; one that only this machine can reach is said to be so."""
        self.healthy(listening=[])
        self.assertIn("listens nowhere", self.call("doctor").out)

    def test_left_and_unwritten(self) -> None:
        """What a killed process left of the key, and what the humd could not write, are among what is found."""
        self.healthy(unwritten="/x cannot be written: disk full")
        self.key.with_name(".humd.key.abcd_123.tmp").touch()
        told = [each["what"] for each in self.checks(expect=1)]
        for words in ("a secret key was left beside", "disk full"):
            self.assertEqual(sum(words in each for each in told), 1, told)

    def test_near_on_purpose(self) -> None:
        """Beside a port that others reach, one for this machine only is as it was meant."""
        self.healthy(listening=["tcp:127.0.0.1:1", "tcp:192.0.2.1:1"])
        with mock.patch("ensemble.command.hints.is_ipv6_only", lambda: True):
            found = [each["grade"] for each in self.checks(expect=0) if each["check"] == "listening"]
        self.assertEqual(found, ["ok", "ok"])

    def test_ipv6_only(self) -> None:
        """A humd that only this machine can reach, for it has no IPv4, is worth a look."""
        self.healthy(listening=["tcp:127.0.0.1:1"])
        with mock.patch("ensemble.command.hints.is_ipv6_only", lambda: True):
            (found,) = (each for each in self.checks(expect=0) if each["check"] == "listening")
        self.assertEqual((found["grade"], "tls6:14731" in found["mend"]), ("warn", True))

    def test_own_hints(self) -> None:
        """The own hints are tried; one that does not answer is worth a look."""
        far = ["tcp:192.0.2.1:1", "udp:192.0.2.1:1", "tcp:192.0.2.2:1"]
        self.healthy(listening=[f"tls-fp:{'ab' * 32}", "tcp:127.0.0.1:1", *far])
        self.unreachable[("192.0.2.1", 1)] = ConnectionRefusedError(111, "Connection refused")
        found = [each for each in self.checks(expect=0) if each["check"] == "listening"]
        self.assertEqual([each["grade"] for each in found], ["ok", "warn", "ok", "ok"])
        self.assertIn("(for this machine only)", found[0]["what"])
        self.assertIn("connection refused", found[1]["what"])
        self.assertEqual([each["what"] for each in found[2:]], far[1:])

    def test_lets_anybody_in(self) -> None:
        """A humd that others reach, and that lets in anybody as whom they say they are, is worth a look."""
        place = "tcp:192.0.2.1:1"
        self.healthy()
        for admit, auth, listening, grades in (
            ("any", "open", [place], ["warn"]),
            ("any", "open", ["tcp:127.0.0.1:1"], []),
            ("any", "open", [], []),
            ("any", "signed", [place], []),
            ("known", "open", [place], []),
        ):
            self.control.unlink()
            self.serve_control(status=status(admit=admit, auth=auth, listening=listening))
            found = [each for each in self.checks(expect=1) if each["check"] == "admission"]
            self.assertEqual([each["grade"] for each in found], grades)

    def test_file_that_was_not_read(self) -> None:
        """Rows that the humd has not read yet are worth a look."""
        self.healthy(linked())
        self.write_peers({"humd_id": BETA.full, "hints": ["tcp:192.0.2.3:1"]})
        found = [each for each in self.checks(expect=0) if each["grade"] == "warn"]
        self.assertEqual([each["check"] for each in found], ["peers file"])
        self.assertIn("(1 row differs)", found[0]["what"])
        self.assertIn("reload", found[0]["mend"])

    def test_file_of_another(self) -> None:
        """A file that the humd does not read says nothing of what it has not read."""
        self.healthy(linked(), peers_file="/other/peers.json")
        self.write_peers({"humd_id": BETA.full, "hints": ["tcp:192.0.2.3:1"]})
        self.assertEqual([each for each in self.checks(expect=0) if "differs" in each["what"]], [])

    def test_any_change_that_was_not_read(self) -> None:
        """Whatever a row says anew has to be read; an alias that an heir has meanwhile is none."""
        says = {"secure_only": False, "auth": None, "relays": False, "plain": False, "follow": True}
        old, heir = linked(alias=None, **says), linked(id=ALPHA.full, alias="beta", heir_of=BETA.full, **says)
        self.healthy(old, heir)
        row = {"humd_id": BETA.full, "hints": old["hints"], "alias": "beta", "follow": True}
        for more, differs in (({}, 0), ({"alias": "b"}, 1), ({"auth": "open"}, 1), ({"plain": True}, 1)):
            self.write_peers({**row, **more})
            found = [each for each in self.checks(expect=0) if "(1 row differs)" in each["what"]]
            self.assertEqual(len(found), differs, more)

    def test_damaged_memory(self) -> None:
        """What keeps a humd from starting is named where none runs."""
        self.healthy()
        (self.key.parent / checks.PROOFS).write_bytes(b"no database" * 99)
        self.assertNotIn(checks.PROOFS, self.call("doctor").out)
        self.control.unlink()
        (found,) = [each for each in self.checks(expect=1) if checks.PROOFS in each["what"]]
        self.assertEqual((found["check"], found["grade"]), ("state", "fail"))
        self.assertIn("file is not a database", found["what"])

    def test_own_row(self) -> None:
        """A row of this humd itself, which no humd reads, is to be removed; it is no unread row, and no peer."""
        self.healthy()
        own = checks.key(self.key)[0]
        assert own is not None
        self.write_peers({"humd_id": own.humd_id().full})
        (found,) = [each for each in self.checks(expect=0) if each["grade"] == "warn"]
        self.assertIn("a row names this humd itself", found["what"])
        self.assertIn(f"remove the row with {own.humd_id().full}", found["mend"])
        self.control.unlink()
        self.assertNotIn("peer", [each["check"] for each in self.checks(expect=1)])

    def test_daemon_that_does_not_answer(self) -> None:
        """One that is there is not to be started; nor does id say that it is to be."""
        self.mint()
        self.serve_control(status=[])
        [found] = [each for each in self.call("doctor", "--json").document["checks"] if each["check"] == "daemon"]
        self.assertIn("closed the connection without an answer", found["what"])
        said = self.call("id")
        self.assertIn("its hints are empty, for the humd on", said.err)
        self.assertNotIn("start it with", said.err)

    def test_broken_file(self) -> None:
        """A file that is no JSON is one line: its rows are not called unread as well."""
        self.healthy(linked())
        self.peers_file.write_text("{")
        found = [each["grade"] for each in self.checks(expect=1) if each["check"] == "peers file"]
        self.assertEqual(found, ["fail"])
        self.control.unlink()
        self.assertNotIn("peer", [each["check"] for each in self.checks(expect=1)])

    def test_peers_in_parallel(self) -> None:
        """Peers that do not answer are waited for together, not one after the other."""
        rows = [
            linked(id=f"humd_{number:064x}", alias=None, state="dialling", hints=[f"tcp:192.0.2.{number}:1"])
            for number in range(2, 22)
        ]
        self.healthy(*rows)
        meeting = threading.Barrier(len(rows), timeout=30)

        def connect(places: Sequence[Place]) -> bytes:
            if places[0][1][0] != "192.0.2.1":
                meeting.wait()  # breaks unless all of them are tried at once
            raise TimeoutError

        with mock.patch("ensemble.command.reach._connect", connect):
            found = self.checks(expect=1)
        self.assertEqual(sum("nothing answers within 3 s" in each["what"] for each in found), 21)
