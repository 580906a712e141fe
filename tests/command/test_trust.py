"""``trust`` and ``untrust``: what they say, to whom, and how they end; the file is the subject of tests/config."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ensemble.command.main import run
from ensemble.daemon.state import StateLock
from ensemble.tone import read_document
from tests.command.calling import ALPHA, BETA, RUN, CommandTestCase, status

PLACE = "tls:192.0.2.2:14731"
ROOT = Path(__file__).parents[2]
OLD, NEW = f"tls-fp:{'a' * 64}", f"tls-fp:{'b' * 64}"


class TrustTestCase(CommandTestCase):
    def took(self, **more: Any) -> dict[str, Any]:
        """The answer of a daemon that has read the file."""
        return {"ok": True, "peers_file": str(self.peers_file), "problems": [], **more}

    def lock(self, peers_file: Path) -> None:
        """Leave what a daemon of our state dir leaves, which has read another file."""
        StateLock.take(self.key.parent, self.thrum, peers_file).release()

    def rows(self) -> Any:
        return read_document(self.peers_file.read_text())["peers"]


class TrustTests(TrustTestCase):
    def test_new(self) -> None:
        """A new peer gets a row, the daemon reads it at once, and both are said."""
        fake = self.serve_control(reload=self.took())
        said = self.call("trust", BETA.full, PLACE, "--alias", "beta", "--plain")
        self.assertEqual((said.status, said.err), (0, ""))
        self.assertEqual(
            said.out,
            f"Added to ~/.config/hum/peers.json: {BETA.full} (beta)\n  +      {PLACE}\n  alias  beta\n  plain  yes\n"
            "The humd has read it.\n",
        )
        self.assertEqual(self.rows(), [{"humd_id": BETA.full, "hints": [PLACE], "alias": "beta", "plain": True}])
        self.assertEqual(fake.heard, [{"do": "status"}, {"do": "reload"}])

    def test_changed(self) -> None:
        """What replaced what is said."""
        self.write_peers({"humd_id": BETA.full, "hints": [PLACE, OLD], "alias": "beta", "auth": "open"})
        self.serve_control(reload=self.took())
        said = self.call("trust", "beta", NEW, "--auth", "proven", "--relays")
        self.assertEqual(
            said.out.splitlines()[1:-1],
            [f"  -       {OLD}", f"  +       {NEW}", "  auth    proven (it was open)", "  relays  yes (it was no)"],
        )
        self.assertEqual(self.rows()[0]["hints"], [PLACE, NEW])
        said = self.call("trust", "beta", "tcp:h:1", "--replace", "--no-relays")
        self.assertEqual(self.rows()[0]["hints"], ["tcp:h:1"])
        self.assertIs(self.rows()[0]["relays"], False)

    def test_unset(self) -> None:
        """What a row says of alias and level can be taken out again, and what it was is said."""
        self.write_peers({"humd_id": BETA.full, "alias": "beta", "auth": "open"})
        self.serve_control(reload=self.took())
        said = self.call("trust", "beta", "--no-alias", "--auth", "default")
        self.assertEqual(
            said.out,
            f"Changed in ~/.config/hum/peers.json: {BETA.full}\n  alias  none (it was beta)\n"
            "  auth   default (it was open)\nThe humd has read it.\n",
        )
        self.assertEqual(self.rows(), [{"humd_id": BETA.full}])
        self.assertEqual(self.call("trust", BETA.full, "--alias", "b", "--no-alias").status, 2)

    def test_options_anywhere(self) -> None:
        """Options may stand between the hints, too."""
        self.call("trust", "--alias", "b", BETA.full, PLACE, "--auth", "open", NEW, "--plain", "tcp:h:1")
        self.assertEqual(self.rows()[0]["hints"], [PLACE, NEW, "tcp:h:1"])

    def test_hints_of_other_wires(self) -> None:
        """A hint that no wire here dials, a mistyped one too, is kept, and that it is not used is said."""
        self.serve_control(reload=self.took())
        said = self.call("trust", BETA.full, PLACE, NEW, "tsl:h:1", "udp:h:2")
        self.assertEqual((said.status, self.rows()[0]["hints"]), (0, [PLACE, NEW, "tsl:h:1", "udp:h:2"]))
        words = "a humd of this version does not dial such hints; it is kept"
        self.assertEqual(said.err, f"ensemble: tsl:h:1: {words}\nensemble: udp:h:2: {words}\n")
        said = self.call("trust", BETA.full, "tsl:h:1", "--json")
        self.assertEqual(said.failure, {"unused": "tsl:h:1"})

    def test_link_local(self) -> None:
        """A hint that leads nowhere, for it names no interface, is kept, and that is said."""
        self.serve_control(reload=self.took())
        said = self.call("trust", BETA.full, "tls:[fe80::7]:1", "tls:[fe80::7%eth0]:1")
        self.assertEqual((said.status, len(self.rows()[0]["hints"]), said.err.count("\n")), (0, 2, 1))
        self.assertTrue(
            said.err.startswith("ensemble: tls:[fe80::7]:1: a link-local address needs an interface; name ")
        )

    def test_pins_nothing(self) -> None:
        """A fingerprint is of use where there is a hint of TLS; where there is none that is said."""
        self.serve_control(reload=self.took())
        pin = f"tls-fp:{'ab' * 32}"
        said = self.call("trust", BETA.full, "tcp:h:1", pin)
        self.assertEqual(said.err, f"ensemble: {pin}: it pins nothing, for the row has no tls: hint; add one\n")
        self.call("trust", BETA.full, "tls:h:1")
        self.assertEqual(self.call("trust", BETA.full, pin).err, "")

    def test_same(self) -> None:
        """What is there already is no failure, and the daemon reads it all the same."""
        self.write_peers({"humd_id": BETA.full})
        fake = self.serve_control(reload=self.took())
        said = self.call("trust", BETA.full)
        self.assertEqual(said.out, f"Already in ~/.config/hum/peers.json: {BETA.full}\nThe humd has read it.\n")
        self.assertEqual(fake.heard, [{"do": "status"}, {"do": "reload"}])

    def test_for_programs(self) -> None:
        """A program gets the row as it was and as it is."""
        said = self.call("trust", BETA.full, PLACE, "--json")
        row = {"hints": [PLACE], "alias": None, "auth": None, "relays": False, "plain": False, "follow": False}
        document = {"ok": True, "id": BETA.full, "peers_file": str(self.peers_file), "daemon": False}
        self.assertEqual(said.document, {**document, "state": "added", "before": None, "after": row})
        self.assertIn("no humd answers", said.failure["message"])
        said = self.call("untrust", BETA.full, "--json")
        self.assertEqual(said.document, {**document, "state": "removed", "before": row, "after": None})

    def test_no_daemon(self) -> None:
        """Without a daemon the row is made, and that nobody has read it is said."""
        said = self.call("trust", BETA.full)
        self.assertEqual(said.status, 0)
        self.assertRegex(
            said.err, r"^ensemble: no humd answers on .*; start one with `twistd humd`: it will read the file$"
        )
        self.assertEqual(self.rows(), [{"humd_id": BETA.full}])

    def test_daemon_that_is_down(self) -> None:
        """It is the file of the daemon of this state dir that is edited, and the line to start it names it."""
        theirs, state = self.home / "of mine.json", self.key.parent
        theirs.write_text('{"peers": []}')
        state.mkdir(parents=True)
        self.lock(theirs)
        noted = read_document(self.call("trust", BETA.full, "--json").err.splitlines()[0])
        self.assertIn(f"`twistd humd --peers '{theirs}'`", noted["message"])
        said = self.call("trust", BETA.full)
        self.assertEqual((said.status, self.peers_file.exists()), (0, False))
        self.assertIn(f"start one with `twistd humd --peers '{theirs}'`", said.err)
        self.assertIn(f"it is the file that the humd of {state} read last; --peers names another", said.err)
        self.assertNotIn("read last", self.call("trust", BETA.full, "--peers", str(self.peers_file)).err)
        self.peers_file.unlink()
        self.assertEqual(read_document(theirs.read_text()), {"peers": [{"humd_id": BETA.full}]})

    def test_daemon_that_does_not_answer(self) -> None:
        """Whose files it would be nobody can say, so nothing is done; one that is silent later is a failure."""
        fake = self.serve_control(status=[])
        said = self.call("trust", BETA.full)
        self.assertEqual((said.status, said.out, self.peers_file.exists()), (3, "", False))
        self.assertIn("closed the connection without an answer", said.err)
        fake.stop()
        self.serve_control(status=status(), reload=[])
        said = self.call("trust", BETA.full)
        self.assertEqual(said.status, 1)
        self.assertIn(f"{self.peers_file} is written, but the humd on {self.control} closed the connection", said.err)
        self.assertIn("Added to", said.out)

    def test_daemon_with_names_that_are_no_text(self) -> None:
        """What is not in the daemon's answer is not guessed; where we know the file by its bytes, that is the one."""
        folder = os.fsencode(self.home) + b"/w\xff"
        os.mkdir(folder)
        file = folder + b"/peers.json"
        told = file.decode("utf-8", "replace")
        self.serve_control(status=status(peers_file=told), reload=self.took(peers_file=told))
        said = self.call("trust", BETA.full)
        self.assertEqual((said.status, said.out), (1, ""))
        self.assertIn("a name that is not UTF-8: give the options", said.err)
        self.key.parent.mkdir(parents=True)
        self.lock(Path(os.fsdecode(file)))
        self.call("trust", BETA.full)
        with open(file, encoding="utf-8") as written:
            self.assertEqual(read_document(written.read()), {"peers": [{"humd_id": BETA.full}]})

    def test_reader_that_has_seen_enough(self) -> None:
        """What is told has been put in force, also where nobody reads to the end."""
        self.write_peers({"humd_id": BETA.full})
        fake = self.serve_control(status=status(), reload=self.took())

        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError

        words = ("untrust", BETA.full)
        self.assertRaises(BrokenPipeError, run, words, self.environ, io.BytesIO(), Gone(), io.StringIO())
        self.assertEqual(self.rows(), [])
        self.assertIn("reload", [request["do"] for request in fake.heard])

    def test_locale(self) -> None:
        """The daemon's files are found by their bytes, also where names are in another encoding here."""
        folder = self.home / "w\xf6rk"
        folder.mkdir()
        file = str(folder / "peers.json")
        self.serve_control(status=status(state_dir=str(folder), peers_file=file), reload=self.took(peers_file=file))
        locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
        for words in (("trust", BETA.full), ("doctor", "--json")):
            done = subprocess.run(
                [sys.executable, "-c", RUN, *words],
                env={**self.environ, **locale},
                capture_output=True,
                timeout=60,
                check=False,
            )
            self.assertNotIn(b"Traceback", done.stderr)
        self.assertEqual(read_document((folder / "peers.json").read_text("utf-8")), {"peers": [{"humd_id": BETA.full}]})
        self.assertEqual(sorted(each.name for each in self.home.iterdir() if each.name.startswith("w")), ["w\xf6rk"])

    def test_daemon_that_reads_another_file(self) -> None:
        """Where it is not said which file, it is the one that the daemon reads; ``--peers`` says it."""
        theirs = self.peers_file.parent / "theirs.json"
        theirs.parent.mkdir(parents=True, exist_ok=True)
        status = {"ok": True, "peers_file": str(theirs)}
        self.serve_control(status=status, reload=self.took(peers_file=str(theirs)))
        self.assertEqual(self.call("trust", BETA.full, "--alias", "beta").status, 0)
        self.assertEqual(self.call("untrust", "beta").status, 0)
        self.assertEqual((read_document(theirs.read_text()), self.peers_file.exists()), ({"peers": []}, False))
        self.assertEqual(self.call("trust", BETA.full, "--peers", str(self.peers_file)).status, 1)
        self.assertTrue(self.peers_file.exists())

    def test_daemon_that_does_not_take_it(self) -> None:
        """A daemon that refuses the file, or reads another one, is a failure that says what was written."""
        other = self.took(peers_file="/etc/peers of mine.json")
        for answer, why in (
            ({"ok": False, "qualifier": "config.bad", "message": "it is full"}, "it is full"),
            (other, "--peers '/etc/peers of mine.json'"),
        ):
            fake = self.serve_control(reload=answer)
            said = self.call("trust", BETA.full, "--json", "--alias", f"b{len(why)}")
            self.assertEqual((said.status, said.out), (1, ""))
            self.assertEqual(said.failure["qualifier"], "trust.not-taken")
            self.assertIn(f"{self.peers_file} is written, but", said.failure["message"])
            self.assertIn(why, said.failure["message"])
            fake.stop()

    def test_problems(self) -> None:
        """What the daemon finds wrong with this row is said, and nothing of others."""
        mine = "beta names no hint that this humd can dial"
        self.serve_control(reload=self.took(problems=["row 7: odd", mine, "betamax names no hint"]))
        said = self.call("trust", BETA.full, "--alias", "beta")
        self.assertEqual((said.status, said.err), (0, f"ensemble: {mine}\n"))

    def test_problems_of_the_file(self) -> None:
        """What is wrong with the row in the file is said, and with the file beside its rows; nothing of others."""
        self.write_peers()
        mine = f'{{"humd_id":"{BETA.full}","alais":"b","auth":"open","auth":"proven"}}'
        self.peers_file.write_text(f'{{"peers":[{{"humd_id":"{ALPHA.full}","alais":"a"}},{mine}],"peer":[]}}')
        self.serve_control(reload=self.took())
        said = self.call("trust", BETA.full, PLACE)
        problems = (
            '"peer" is passed over: is "peers" meant?',
            'row 2: "alais" is passed over: is "alias" meant?',
            'row 2: "auth" is there more than once: the last one counts',
        )
        self.assertEqual(said.err, "".join(f"ensemble: {self.peers_file}: {each}\n" for each in problems))

    def test_whom(self) -> None:
        """A new row needs a full id of a humd, which is not ours; other names need a row."""
        self.mint()
        own = self.call("id", "--bare").out.strip()
        for name, ends, why in (
            (BETA.short, 1, "a new row needs the full id, which ensemble id --bare shows over there"),
            ("beta", 1, "no peer has the alias 'beta'"),
            (f"{BETA.full}0", 1, "is no id: behind humd_ are 64 digits"),
            (BETA.full.upper(), 1, "is no id: its prefix is humd_, in lower case"),
            (BETA.full.replace("humd_", "wbee_"), 1, "is a bee"),
            (own, 2, "is this humd itself"),
        ):
            said = self.call("trust", name, PLACE)
            self.assertEqual((said.status, said.out), (ends, ""), name)
            self.assertIn(why, said.err)
        self.assertFalse(self.peers_file.exists())
        for form in (BETA.digest.hex().upper(), BETA.full, BETA.short):
            self.assertEqual(self.call("trust", form, PLACE).status, 0)
        self.assertEqual(self.rows(), [{"humd_id": BETA.full, "hints": [PLACE]}])

    def test_refused(self) -> None:
        """A hint or an alias that is none is refused, and no terminal obeys what is in it."""
        for words in (("tcp:\x1b[2J:1",), ("--alias", "\x1b[2J"), ("--alias", ""), ("--alias", "Zo\udceb")):
            said = self.call("trust", BETA.full, *words)
            self.assertEqual((said.status, said.out, said.err.count("\n")), (2, "", 1))
            self.assertNotIn("\x1b", said.err)
        self.assertFalse(self.peers_file.exists())

    def test_alias_that_was_there(self) -> None:
        """An alias that somebody else wrote into the file is not obeyed by the terminal, either."""
        self.write_peers({"humd_id": BETA.full, "alias": "b\u202eta"})
        self.assertNotIn("\u202e", self.call("trust", BETA.full).out)


class UntrustTests(TrustTestCase):
    def test_removed(self) -> None:
        """The row goes, by any of its names, and what it said is shown."""
        self.serve_control(reload=self.took())
        for name in ("beta", BETA.full, BETA.short):
            self.write_peers({"humd_id": ALPHA.full}, {"humd_id": BETA.full, "hints": [PLACE], "alias": "beta"})
            said = self.call("untrust", name)
            self.assertEqual((said.status, said.err), (0, ""))
            self.assertEqual(
                said.out,
                f"Removed from ~/.config/hum/peers.json: {BETA.full} (beta)\n  -  {PLACE}\nThe humd has read it.\n",
            )
            self.assertEqual(self.rows(), [{"humd_id": ALPHA.full}])

    def test_nobody(self) -> None:
        """Who has no row cannot be removed: status 1, and no file is made."""
        for name in ("beta", BETA.full):
            said = self.call("untrust", name, "--json")
            self.assertEqual((said.status, said.out), (1, ""))
            self.assertEqual(said.failure["qualifier"], "peer.unknown")
            self.assertFalse(self.peers_file.exists())
