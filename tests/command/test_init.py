"""``init``: what it makes, what it leaves alone, and what it says."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from ensemble.command.hints import is_loopback, near_only, of_listeners
from ensemble.config import Listening, read_peers
from ensemble.identity import certificate_of, fingerprint, load
from tests.command.calling import ALPHA, CommandTestCase, status

SYSTEMCTL = """\
#!/bin/sh
case "$*" in
*FragmentPath*) echo '{fragment}'; exit;;
*MainPID*) echo 4712; exit;;
esac
echo "$*" >> {log}
{script}
"""


class InitTestCase(CommandTestCase):
    """A machine with a systemctl of our own making, or none."""

    def setUp(self) -> None:
        super().setUp()
        self.unit = self.home / ".config/systemd/user/humd.service"
        self.log = self.home / "systemctl.log"
        self.environ["PATH"] = str(self.home / "bin")

    def systemctl(self, script: str = "exit 0", fragment: str | None = None) -> None:
        """
        :param script: what it does when it is told to do something; what it is asked it answers.
        :param fragment: the file of the unit that it has; the one that init writes where None.
        """
        program = self.home / "bin/systemctl"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            SYSTEMCTL.format(log=self.log, script=script, fragment=self.unit if fragment is None else fragment)
        )
        program.chmod(0o755)

    def states(self, *words: str) -> list[str]:
        said = self.call("init", "--json", *words)
        self.assertEqual((said.status, said.err), (0, ""))
        return [step["state"] for step in said.document["steps"]]


class InitTests(InitTestCase):
    """``ensemble init``."""

    def test_fresh(self) -> None:
        """On a fresh machine it makes the key, an empty peers.json and the unit; nobody else can read them."""
        with mock.patch("pwd.getpwuid", return_value=mock.Mock(pw_name="bee")):
            said = self.call("init", "--listen", "tcp:14730:interface=192.0.2.7")
        self.assertEqual((said.status, said.err), (0, ""))
        key = load(self.key)
        self.assertEqual(read_peers(self.peers_file).rows, ())
        self.assertIn("--listen tcp:14730:interface=192.0.2.7", self.unit.read_text())
        for path in (self.key, self.peers_file, self.unit):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertIn(f'{{"humd_id":"{key.humd_id().full}","hints":["tcp:192.0.2.7:14730"]}}', said.out)
        self.assertIn("systemctl --user restart humd.service", said.out)
        self.assertRegex(said.out, r"key +made +~/.local/state/hum/humd.key")
        line = "as root:\n      `loginctl enable-linger {}`)"
        self.assertIn(line.format("bee"), said.out)
        with mock.patch("pwd.getpwuid", side_effect=KeyError):
            self.assertIn(line.format(os.getuid()), self.call("init").out)

    def test_tls(self) -> None:
        """Over TLS the row for others has the fingerprint of the certificate, too."""
        said = self.call("init", "--listen", "tls:14731:interface=192.0.2.7")
        pin = fingerprint(certificate_of(load(self.key)))
        self.assertIn(f'"hints":["tls:192.0.2.7:14731","tls-fp:{pin}"]', said.out)

    def test_again(self) -> None:
        """A second call changes nothing, and says that all was there."""
        self.assertEqual(self.states("--listen", "tcp:1"), ["made", "made", "made"])
        before = [path.read_bytes() for path in (self.key, self.peers_file, self.unit)]
        self.assertEqual(self.states("--listen", "tcp:1"), ["there", "there", "there"])
        self.assertEqual([path.read_bytes() for path in (self.key, self.peers_file, self.unit)], before)

    def test_where_no_daemon_would_start(self) -> None:
        """In a state directory that the daemon refuses nothing is made."""
        state = self.home / "state"
        state.mkdir()
        state.chmod(0o1777)
        said = self.call("init", "--state-dir", str(state))
        self.assertEqual((said.status, said.out, list(state.iterdir())), (1, "", []))
        self.assertIn("others can write to the state dir", said.err)

    def test_without_a_home(self) -> None:
        """Where nothing says where home is it makes nothing, neither below the current folder nor below the root."""
        del self.environ["HOME"]
        before = set(self.home.rglob("*"))
        said = self.call("init")
        self.assertEqual((said.status, said.out), (1, ""))
        self.assertIn("HOME is not set, so below the current folder: ", said.err)
        self.assertIn(": give --state-dir and --peers, or set HOME", said.err)
        said = self.call("init", "--state-dir", str(self.home / "s"), "--peers", str(self.home / "p"))
        self.assertEqual((said.status, said.out), (1, ""))
        self.assertIn("HOME is not set, so a unit of systemd has no place", said.err)
        self.assertEqual(set(self.home.rglob("*")), before)
        self.assertFalse(Path(".local").exists() or Path(".config").exists())

    def test_again_without_the_options(self) -> None:
        """What was listened on and advertised need not be said again, and is in the row all the same."""
        self.call("init", "--listen", "tcp:1:interface=192.0.2.7", "--listen", "tcp:2:interface=192.0.2.7")
        before = self.unit.read_text()
        said = self.call("init")
        self.assertEqual((said.status, said.err, self.unit.read_text()), (0, "", before))
        self.assertIn('"hints":["tcp:192.0.2.7:1","tcp:192.0.2.7:2"]', said.out)
        self.assertIn("others may need another", said.out)
        words = ("--advertise", "tcp:a.example:1", "--listen", "tcp:1")
        self.assertEqual(self.states("--force", *words)[2], "replaced")
        self.assertEqual(self.call("init", "--json").document["row"]["hints"], ["tcp:a.example:1"])
        self.assertEqual(self.states(*words[2:])[2], "there")

    def test_limits(self) -> None:
        """Limits reach the unit, in the daemon's own spelling, and hold until others are given."""
        words = ("--limit", "pending_links=64", "--limit", "burst_seconds=5")
        document = self.call("init", "--listen", "tcp:1", *words, "--json").document
        self.assertEqual(document["command"][-6:], ["--listen", "tcp:1", *words])
        self.assertIn(" ".join(words), self.unit.read_text())
        self.assertEqual(self.states(), ["there", "there", "there"])
        said = self.call("init", "--limit", "pending_links=65")
        self.assertIn("+ExecStart", said.err)
        self.assertIn("--force replaces it (with --listen tcp:1, or they are gone)", said.err)

    def test_bad_limits(self) -> None:
        """A limit that the daemon would not start with is refused in its words, and nothing is made."""
        for limit, why in (
            ("pending_links=0", "the limit pending_links is 1 to 65536 links, not 0; twistd humd --limit help lists"),
            ("pending=1", "there is no limit 'pending'"),
            ("help", "--limit needs NAME=VALUE; `twistd humd --limit help` lists them"),
        ):
            said = self.call("init", "--limit", "burst_seconds=5", "--limit", limit)
            self.assertEqual(said.status, 2)
            self.assertIn(why, said.err)
        self.assertFalse(self.key.exists())

    def test_twistd_without_its_python(self) -> None:
        """A twistd whose Python is gone is named, and nothing is made."""
        program = self.home / "twistd"
        program.write_text("#!/no/python\n")
        program.chmod(0o700)
        with mock.patch("ensemble.command.init.twistd", return_value=program):
            said = self.call("init", "--listen", "tcp:1")
        self.assertEqual(said.status, 1)
        self.assertIn(f"cannot run {program}: No such file or directory; is the Python there", said.err)
        self.assertFalse(self.key.exists())

    def test_other_options(self) -> None:
        """The daemon's other options reach the unit, too, and hold until others are given."""
        words = ("--auth", "signed", "--admit", "any", "--max-tone", "8192", "--log-format", "json")
        self.assertEqual(self.call("init", *words, "--json").document["command"][-8:], [*words])
        self.assertEqual(self.states(), ["there", "there", "there"])
        self.assertEqual(self.states("--admit", "any"), ["there", "there", "there"])
        said = self.call("init", "--auth", "open")
        self.assertIn("--force replaces it (with --admit any --max-tone 8192 --log-format json, or", said.err)
        for bad, why in (
            (("--auth", "x"), "'x' (choose from"),
            (("--max-tone", "9"), "--max-tone 9: a number of bytes"),
        ):
            said = self.call("init", *bad)
            self.assertEqual((said.status, why in said.err), (2, True), said.err)

    def test_differs_in_something_else(self) -> None:
        """Where the unit must be replaced, the words to repeat are named: --force takes only what it is given."""
        self.call("init", "--listen", "tcp:1")
        said = self.call("init", "--thrum", f"{self.home}/t")
        self.assertEqual(said.status, 1)
        self.assertIn("--force replaces it (with --listen tcp:1, or they are gone)", said.err)

    def test_unit_of_another_humd(self) -> None:
        """The unit of another humd lends nothing, and is replaced by nobody who was not told of it."""
        self.call("init", "--listen", "tcp:1", "--limit", "pending_links=64")
        before = self.unit.read_text()
        other = f"{self.home}/other one"
        said = self.call("init", "--state-dir", other)
        self.assertEqual((said.status, self.unit.read_text()), (1, before))
        self.assertIn(f"runs another humd, that of {self.key.parent}, and stays as it was: --force would", said.err)
        self.assertIn(f"--state-dir '{other}' --key", said.err)
        self.assertNotIn("tcp:1", said.err.splitlines()[-1])
        self.assertNotIn("pending_links", said.err.splitlines()[-1])
        said = self.call("init", "--state-dir", other, "--force")
        self.assertEqual(said.status, 0)
        self.assertIn(f"ran the humd of {self.key.parent} before, which has no unit now", said.err)
        self.assertEqual(self.call("init", "--state-dir", other).err, "")

    def test_unit_with_a_specifier(self) -> None:
        """A unit that names the home as systemd does is that of the same humd."""
        self.call("init", "--listen", "tcp:1:interface=192.0.2.7")
        self.unit.write_text(self.unit.read_text().replace(str(self.home), "%h"))
        said = self.call("init", "--state-dir", str(self.key.parent))
        self.assertNotIn("another humd", said.err)
        self.assertIn('"hints":["tcp:192.0.2.7:1"]', said.out)

    def test_state_dir_like_a_specifier(self) -> None:
        """A state directory whose name looks like a specifier is not taken for another one."""
        words = ("--state-dir", f"{self.home}/%h")
        self.assertEqual(self.states(*words), ["made", "made", "made"])
        self.assertIn("/%%h", self.unit.read_text())
        self.assertEqual(self.states(*words), ["there", "there", "there"])

    def test_default_socket(self) -> None:
        """A unit written where there is no session, as by cron, is the one that is written in a session."""
        del self.environ["XDG_RUNTIME_DIR"]
        command = self.call("init", "--json").document["command"]
        self.assertTrue(command[command.index("--thrum") + 1].startswith("/"))
        self.assertIn(" --thrum %t/hum/thrum.sock\n", self.unit.read_text())
        self.environ["XDG_RUNTIME_DIR"] = str(self.home)
        self.assertEqual(self.states()[2], "there")
        for variable in ("HUM_SOCKET", "HUM_THRUM_SOCK"):
            self.environ[variable] = f"{self.home}/{variable}"
            self.assertEqual(self.states("--force")[2], "replaced")
            self.assertIn(f" --thrum {self.home}/{variable}\n", self.unit.read_text())

    def test_unit_that_differs(self) -> None:
        """A unit that is not as asked stays, the difference is shown, nothing is started, and the status is 1."""
        self.systemctl()
        self.unit.parent.mkdir(parents=True)
        self.unit.write_text("[Service]\nExecStart=/mine\n")
        said = self.call("init", "--start")
        self.assertEqual(said.status, 1)
        self.assertEqual(self.unit.read_text(), "[Service]\nExecStart=/mine\n")
        self.assertIn("-ExecStart=/mine", said.err)
        self.assertIn("--force replaces it (nothing was started)", said.err)
        self.assertFalse(self.log.exists())
        self.assertEqual(self.call("init", "--json").failure["qualifier"], "init.differs")

    def test_force(self) -> None:
        """Only with --force it is replaced."""
        self.unit.parent.mkdir(parents=True)
        self.unit.write_text("mine")
        self.assertEqual(self.states("--force"), ["made", "made", "replaced"])
        self.assertIn("Type=notify", self.unit.read_text())
        self.assertEqual(self.states("--force"), ["there", "there", "there"])

    def test_options_reach_the_unit(self) -> None:
        """The places that were given are those of the unit."""
        words = ("--state-dir", f"{self.home}/s", "--peers", f"{self.home}/p.json", "--thrum", f"{self.home}/t")
        document = self.call("init", "--json", *words).document
        self.assertEqual(
            [step["path"] for step in document["steps"][:2]], [f"{self.home}/s/humd.key", f"{self.home}/p.json"]
        )
        self.assertEqual(document["command"][4:], [*words[:2], "--key", f"{self.home}/s/humd.key", *words[2:]])
        for word in words:
            self.assertIn(word, self.unit.read_text())

    def test_row(self) -> None:
        """The row for the other side has what is advertised, else what is listened on, else what a daemon says."""
        for words, hints in (
            (("--advertise", "tcp:example.org:1", "--listen", "tcp:2"), ["tcp:example.org:1"]),
            (("--listen", "tcp:2:interface=127.0.0.1", "--listen", "tcp:0"), ["tcp:127.0.0.1:2"]),
            ((), []),
        ):
            document = self.call("init", "--force", "--json", *words).document
            self.assertEqual(document["row"]["hints"], hints)
        self.serve_control(status=status(id=load(self.key).humd_id().full, state_dir=str(self.key.parent)))
        self.assertEqual(self.call("init", "--json").document["row"]["hints"], ["tcp:192.0.2.1:14730"])

    def test_row_of_another_humd(self) -> None:
        """Where a daemon with another key or state directory answers, its addresses do not stand beside our id."""
        ours = self.mint().humd_id().full
        for other in ({"id": ALPHA.full}, {"id": ours, "state_dir": f"{self.home}/other"}):
            fake = self.serve_control(status=status(**other))
            self.assertEqual(self.call("init", "--json").document["row"]["hints"], [])
            self.assertTrue(fake.heard)
            fake.stop()

    def test_remarks(self) -> None:
        """What is doubtful about the row's address is said beside it."""
        for words, remark in (
            ((), "it names no address"),
            (("--listen", "tcp:1:interface=127.0.0.1"), "only programs on this machine"),
            (("--listen", "tls:1:interface=127.0.0.1"), "only programs on this machine"),
            (("--listen", "tcp:1:interface=192.0.2.1"), "others may need another: --advertise tcp:"),
            (("--listen", "tls:1:interface=192.0.2.1"), "others may need another: --advertise tls:"),
        ):
            self.assertIn(remark, self.call("init", "--force", *words).out)
        self.assertNotIn("(", self.call("init", "--force", "--advertise", "tcp:a.example:1").out.split("Next:")[0])

    def test_bad_words(self) -> None:
        """A listener or hint that the daemon would refuse is refused before anything is made."""
        for words in (
            ("--listen", "udp:1"),
            ("--listen", "tcp:x"),
            ("--listen", "tcp:70000"),
            ("--listen", "tcp:1:colour=red"),
            ("--listen", "tls:1:backlog=x"),
            ("--advertise", "nonsense"),
        ):
            self.assertEqual(self.call("init", *words).status, 2)
        self.assertFalse(self.key.exists())

    def test_bad_files(self) -> None:
        """A key that others can read, or a list that is no JSON, is told now and not by the daemon."""
        self.mint()
        self.key.chmod(0o644)
        said = self.call("init")
        self.assertEqual(said.status, 1)
        self.assertIn("chmod 600", said.err)
        self.key.chmod(0o600)
        self.write_peers()
        self.peers_file.write_text("{")
        self.assertIn("is not JSON", self.call("init").err)

    def test_place_that_cannot_be_written(self) -> None:
        """A folder that cannot be made ends with 1 and a line that names the unit."""
        (self.home / ".config").mkdir()
        (self.home / ".config/systemd").write_text("in the way")
        said = self.call("init")
        self.assertEqual(said.status, 1)
        self.assertIn(f"cannot write the unit {self.unit}", said.err)


class HintTests(SynchronousTestCase):
    """What others would dial."""

    def test_of_listeners(self) -> None:
        """Listening everywhere means this machine's address; a port that is chosen later is left out."""
        near = ["tcp:1", "tcp:2:interface=0.0.0.0", r"tcp6:3:interface=\:\:1", "tcp:0"]
        ours = {"0.0.0.0": ["192.0.2.1"], "::": ["2001:db8::1", "192.0.2.1"]}
        with mock.patch("ensemble.command.hints.outward_addresses", lambda host: ours.get(host, [host])):
            self.assertEqual(
                of_listeners(map(Listening.parse, near)), ["tcp:192.0.2.1:1", "tcp:192.0.2.1:2", "tcp:[::1]:3"]
            )
            both = ["tls:192.0.2.1:1", "tls:[2001:db8::1]:2", "tls:192.0.2.1:2"]
            self.assertEqual(of_listeners(map(Listening.parse, ["tls:1", "tls6:2"])), both)

    def test_loopback(self) -> None:
        """Loopback is told from the rest."""
        near = ["tcp:127.0.0.1:1", "tcp:[::1]:1", "tcp:[::ffff:127.0.0.1]:1", "tcp:localhost:1"]
        far = ["tcp:192.0.2.1:1", "tcp:[::ffff:192.0.2.1]:1", "tcp:example.org:1", "x:y"]
        self.assertEqual([is_loopback(hint) for hint in (*near, *far)], [True] * 4 + [False] * 4)

    def test_ipv6_only(self) -> None:
        """Where a machine has no address of IPv4 for others, a port of it is only for itself, and the mend is named."""
        home = "127.0.0.1"
        for four, six, told in ((home, "2001:db8::1", True), ("192.0.2.1", "::1", False), (home, home, False)):
            places = {"0.0.0.0": [four], "::": [six]}
            with mock.patch("ensemble.command.hints.outward_addresses", places.__getitem__):
                self.assertIs("tls6:14731" in near_only(["tls:127.0.0.1:1", "tls-fp:00"]), told)
                self.assertEqual(near_only(["tls:127.0.0.1:1", "tls:192.0.2.1:1"]), "")
