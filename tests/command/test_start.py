"""``init --start``: what it has systemd do, and what it says where that fails."""

from __future__ import annotations

from unittest import mock

from tests.command.calling import status
from tests.command.test_init import InitTestCase

RESTART = ["--user daemon-reload", "--user enable humd.service", "--user restart humd.service"]


class StartTests(InitTestCase):
    """``ensemble init --start``."""

    def calls(self) -> list[str]:
        """What systemctl was told to do, in order."""
        return self.log.read_text().splitlines()

    def test_start(self) -> None:
        """The manager reads the unit, enables it and starts it; with the unit that was there it is left running."""
        self.systemctl()
        said = self.call("init", "--start")
        self.assertEqual((said.status, said.err), (0, ""))
        self.assertEqual(self.calls(), RESTART)
        self.assertIn("humd.service runs", said.out)
        self.assertNotIn("daemon-reload", said.out)
        self.log.unlink()
        self.assertTrue(self.call("init", "--start", "--json").document["started"])
        self.assertEqual(self.calls(), ["--user daemon-reload", "--user enable --now humd.service"])

    def test_unit_that_was_removed(self) -> None:
        """Where the unit was removed and made anew, a humd that may still run with the old one is restarted."""
        self.systemctl()
        self.call("init", "--listen", "tcp:1")
        self.unit.unlink()
        self.assertEqual(self.call("init", "--listen", "tcp:2", "--start").status, 0)
        self.assertEqual(self.calls(), RESTART)

    def test_replaced(self) -> None:
        """A humd that runs with the unit before is restarted, or that is what to do next."""
        self.systemctl()
        self.call("init")
        said = self.call("init", "--force", "--listen", "tcp:1")
        self.assertIn(" && ".join(f"systemctl {words}" for words in RESTART), said.out)
        self.assertEqual(self.call("init", "--force", "--start").status, 0)
        self.assertEqual(self.calls(), RESTART)

    def test_no_systemd(self) -> None:
        """Without systemctl it says how to go on; what was made stays."""
        said = self.call("init", "--start")
        self.assertEqual(said.status, 1)
        self.assertIn("there is no systemctl here", said.err)
        self.assertTrue(self.unit.exists())

    def test_no_session(self) -> None:
        """Without a user session it names the ways to one."""
        for words in ("Failed to connect to bus: No medium found", "System has not been booted with systemd"):
            self.systemctl(f"echo '{words}' >&2; exit 1")
            said = self.call("init", "--start", "--json")
            self.assertEqual((said.status, said.failure["qualifier"]), (1, "init.no-session"))
            self.assertIn("enable-linger", said.failure["message"])

    def test_start_fails(self) -> None:
        """A unit that does not come up is told in systemctl's words, on one line, with what to do to see the cause."""
        words = ("Created symlink /a to /b.", "Job failed", "for a cause.", 'See "systemctl status".')
        echoes = "; ".join(f"echo '{each}' >&2" for each in words)
        self.systemctl(f'case "$*" in *restart*) {echoes}; exit 1;; esac')
        said = self.call("init", "--start")
        self.assertEqual(said.status, 1)
        self.assertIn("restart humd.service` failed: Job failed for a cause; systemd tries again every 5 s", said.err)
        self.assertIn("; see `journalctl --user -u humd.service -n 20`, or run the unit's command by hand: ", said.err)
        self.assertIn(f"humd --state-dir {self.key.parent} --key", said.err.splitlines()[-1])
        self.systemctl("exit 7")
        said = self.call("init", "--start")
        self.assertIn("exit status 7", said.err)
        self.assertNotIn("tries again", said.err)

    def test_runs_by_hand(self) -> None:
        """A humd of this state directory that the unit did not start is named, and nothing is started beside it."""
        self.systemctl()
        self.serve_control(status=status(pid=4711, state_dir=str(self.key.parent)))
        said = self.call("init", "--start", "--json")
        self.assertEqual((said.status, said.failure["qualifier"]), (1, "init.start-failed"))
        self.assertIn("a humd of this state dir runs by hand (process 4711): stop it first", said.failure["message"])
        self.assertFalse(self.log.exists())

    def test_runs_already(self) -> None:
        """One that the unit runs is in nobody's way, and neither is one of another state directory."""
        self.systemctl()
        for running in ({"pid": 4712, "state_dir": str(self.key.parent)}, {"state_dir": f"{self.home}/other"}):
            fake = self.serve_control(status=status(**running))
            self.assertEqual(self.call("init", "--start").status, 0)
            fake.stop()

    def test_manager_looks_elsewhere(self) -> None:
        """Where the manager has not the unit that was written, that is told before anything is enabled."""
        self.environ["XDG_CONFIG_HOME"] = f"{self.home}/cfg"
        self.systemctl(fragment="")
        said = self.call("init", "--start")
        self.assertEqual(said.status, 1)
        self.assertIn(f"the unit is {self.home}/cfg/systemd/user/humd.service, and the user manager", said.err)
        self.assertIn("does not look there: it has not the XDG_CONFIG_HOME of this shell; leave", said.err)
        self.assertEqual(self.calls(), RESTART[:1])
        del self.environ["XDG_CONFIG_HOME"]
        self.systemctl(fragment="/other/humd.service")
        self.assertIn("the user manager reads /other/humd.service: see", self.call("init", "--start").err)

    def test_start_hangs(self) -> None:
        """A start that takes too long is given up."""
        self.systemctl("exec /bin/sleep 30")
        with mock.patch("ensemble.command.start.SYSTEMCTL_SECONDS", 0.2):
            said = self.call("init", "--start", "--json")
        self.assertEqual((said.status, said.failure["qualifier"]), (1, "init.start-failed"))
