"""``id`` and ``status``."""

from __future__ import annotations

import shlex

from ensemble.config import MAX_THRUM, begin_rotation, finish_rotation, keep_revocation, row_json
from ensemble.identity import certificate_of, fingerprint, revoke
from tests.command.calling import ALPHA, CommandTestCase, status


class IdTests(CommandTestCase):
    """``ensemble id``."""

    def test_without_a_daemon(self) -> None:
        """The key file alone says the id and the public key."""
        key = self.mint()
        said = self.call("id")
        self.assertEqual(said.status, 0)
        self.assertIn(key.humd_id().full, said.out)
        self.assertIn(key.public.hex(), said.out)
        self.assertIn("no humd answers", said.out)
        self.assertIn("its hints are empty", said.err)
        self.assertIn("--listen tls:14731", said.err)
        self.assertEqual([self.call("id", word).err for word in ("--bare", "--json")], ["", ""])
        pin = fingerprint(certificate_of(key))
        self.assertIn(f"tls-fp:{pin}", said.out)
        self.assertEqual(
            self.call("id", "--json").document,
            {
                "ok": True,
                "id": key.humd_id().full,
                "revoked": False,
                "heir": None,
                "next": None,
                "hints": [],
                "public_key": key.public.hex(),
                "fingerprint": pin,
                "daemon": False,
            },
        )

    def test_revoked(self) -> None:
        """Of a key that was revoked nothing is offered to others; files that are damaged are for the doctor to tell."""
        key = self.mint()
        keep_revocation(self.key.parent, revoke(key, 1))
        said = self.call("id")
        self.assertIn("was revoked", said.err)
        self.assertNotIn("ensemble trust", said.out)
        self.assertIs(self.call("id", "--json").document["revoked"], True)
        (self.key.parent / "successions.json").write_text("{")
        self.assertIn("ensemble trust", self.call("id").out)

    def test_of_a_daemon(self) -> None:
        """The hints are those of the daemon that runs, and a row for others is ready to be pasted."""
        key = self.mint()
        hints = ["tls:192.0.2.1:14731", f"tls-fp:{fingerprint(certificate_of(key))}", "tcp:[2001:db8::1]:14730"]
        self.serve_control(status=status(id=key.humd_id().full, listening=hints))
        said = self.call("id")
        self.assertEqual(said.err, "")
        self.assertIn(f"  {shlex.join(['ensemble', 'trust', key.humd_id().full, *hints])}\n", said.out)
        self.assertIn(f"  {row_json(key.humd_id(), hints)}\n", said.out)
        document = self.call("id", "--json").document
        self.assertEqual(
            (document["hints"], document["public_key"], document["daemon"]), (hints, key.public.hex(), True)
        )

    def test_near_only(self) -> None:
        """Hints that lead nowhere but to this machine are offered with that remark, the same as that of init."""
        for listening, said in ((["tls:127.0.0.1:1", "tls-fp:" + "ab" * 32], True), (["tls:a.example:1"], False)):
            fake = self.serve_control(status=status(listening=listening))
            self.assertIs("\n  (only programs on this machine can reach" in self.call("id").out, said)
            fake.stop()

    def test_inside_only(self) -> None:
        """Of addresses that only a network behind a NAT knows it is said that the other side can do without them."""
        hosts = ("192.168.7.23", "10.0.0.1", "100.64.0.9", "[fd00::1]", "[::ffff:10.0.0.1]")
        for listening, said in (
            *(([f"tls:{host}:1", "tls-fp:" + "ab" * 32], True) for host in hosts),
            (["tls:192.168.7.23:1", "tls:198.51.100.1:1"], False),
            (["tls:[2001:db8::1]:1"], False),
            (["tls:a.example:1"], False),
            ([], False),
        ):
            fake = self.serve_control(status=status(listening=listening))
            self.assertIs("\n  (from outside this network nobody can dial" in self.call("id").out, said, listening)
            fake.stop()

    def test_unwritten(self) -> None:
        """That something is in the RAM of the humd only is said, with the cause."""
        self.serve_control(status=status(unwritten="peers.sqlite cannot be written: disk full"))
        self.assertIn("disk full; `ensemble doctor`", self.call("status").err)

    def test_daemon_counts(self) -> None:
        """A daemon with another key than the file is believed, and the file's public key is not passed off as its."""
        self.mint()
        self.serve_control(status=status(listening=[]))
        document = self.call("id", "--json").document
        self.assertEqual((document["id"], document["public_key"], document["fingerprint"]), (ALPHA.full, None, None))
        said = self.call("id")
        self.assertIn("the key file has another key", said.out)
        self.assertIn("it listens nowhere", said.out)

    def test_rotated(self) -> None:
        """Between ``rotate --finish`` and the restart nothing is offered to others, and the id to come is named."""
        old = self.mint().humd_id()
        self.serve_control(status=status(id=old.full))
        begun = begin_rotation(self.key, self.key.parent, 1).heir
        said = self.call("id")
        self.assertRegex(said.out, f"next id +{begun.full}")
        self.assertIn("ensemble trust", said.out)
        self.assertIn("a rotation is begun: with `ensemble rotate --finish`", said.err)
        self.assertEqual(self.call("id", "--json").document["next"], begun.full)
        new = finish_rotation(self.key, self.key.parent).heir
        said = self.call("id")
        self.assertRegex(said.out, f"goes on as +{new.full}")
        self.assertNotIn("ensemble trust", said.out)
        self.assertIn("restart the humd", said.err)
        document = self.call("id", "--json").document
        self.assertEqual((document["id"], document["heir"], document["next"]), (old.full, new.full, None))
        (self.key.parent / "successions.json").write_text("{")
        self.assertIn("ensemble trust", self.call("id").out)

    def test_daemon_without_a_readable_key(self) -> None:
        """Where the key file cannot be read the daemon's word is enough."""
        self.serve_control(status=status(fingerprint="ab" * 32))
        self.assertEqual(self.call("id", "--bare").out, f"{ALPHA.full}\n")
        self.assertEqual(self.call("id", "--json").document["fingerprint"], "ab" * 32)
        self.mint()
        self.key.chmod(0o644)
        self.assertIn("the key file cannot be used; `ensemble doctor` says", self.call("id").out)

    def test_no_key(self) -> None:
        """Without a key there is no id; the message names the file."""
        said = self.call("id")
        self.assertEqual((said.status, said.out), (1, ""))
        self.assertIn(f"there is no key file {self.key}; `ensemble init` makes one", said.err)

    def test_no_home(self) -> None:
        """Where no home says where the key is, that is the cause; another key is not to be made."""
        del self.environ["HOME"]
        said = self.call("id")
        self.assertIn("HOME is not set, so below the current folder: ", said.err)
        self.assertNotIn("ensemble init", said.err)

    def test_socket_path_does_not_matter(self) -> None:
        """A socket path that is too long does not hide the key."""
        key = self.mint()
        said = self.call("id", "--bare", "--thrum", "/" + "x" * MAX_THRUM)
        self.assertEqual((said.status, said.out), (0, f"{key.humd_id().full}\n"))


class StatusTests(CommandTestCase):
    """``ensemble status``."""

    def test_for_people(self) -> None:
        """The summary, the bees and the counters that count are shown; limits only where asked for."""
        bees = [
            {
                "client_id": "c" * 36,
                "name": "echo",
                "roles": ["worker"],
                "models": ["m1", "m2"],
                "tools": 2,
                "version": "1",
            },
            {"client_id": "d" * 36, "name": None, "roles": [], "models": [], "tools": 0, "version": None},
        ]
        self.serve_control(status=status(clients=bees, state_dir=f"{self.home}/state", peers_file="/etc/peers.json"))
        said = self.call("status")
        self.assertEqual(said.status, 0)
        self.assertRegex(said.out, rf"id +{ALPHA.full}\n")
        self.assertRegex(said.out, r"up +1 h 2 min, since 2026-01-02T03:04:05Z, pid 4711\n")
        self.assertRegex(said.out, r"links +1 up, 2 pending\n")
        self.assertRegex(said.out, r"state +~/state\n")
        self.assertRegex(said.out, r"peers +/etc/peers.json\n")
        self.assertRegex(said.out, r"echo +1 +worker +m1 m2 +2\n")
        self.assertRegex(said.out, r"\(dddddddd\) +- +- +- +0\n")
        self.assertRegex(said.out, r"tones.received +5\n")
        self.assertNotIn("tones.dropped", said.out)
        self.assertNotIn("max_tone_bytes", said.out)
        self.assertRegex(self.call("status", "--limits").out, r"max_tone_bytes +4194304\n")

    def test_for_programs(self) -> None:
        """A program gets all that the daemon said."""
        self.serve_control(status=status(more=[1, 2]))
        self.assertEqual(self.call("status", "--json").document, status(more=[1, 2]))

    def test_revoked(self) -> None:
        """A humd that runs with a key that was revoked is not shown as well."""
        self.serve_control(status=status(revoked=True))
        self.assertIn("this key was revoked, and others refuse it; `ensemble doctor`", self.call("status").err)

    def test_daemon_that_says_little(self) -> None:
        """A daemon of another version, which leaves things out, is still shown."""
        self.serve_control(status={"ok": True, "id": ALPHA.full, "links": 3, "counters": None})
        said = self.call("status")
        self.assertEqual(said.status, 0)
        self.assertRegex(said.out, r"listens +nowhere\n")
