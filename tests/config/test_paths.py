"""Where things are."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import MAX_THRUM, Paths, ThrumPathTooLong, without_home
from ensemble.errors import ConfigurationError

HOME = {"HOME": "/home/op"}


class PathsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.run_user = Path(self.mktemp())
        self.run_user.mkdir()

    def resolve(self, environ: dict[str, str], **options: str) -> Paths:
        return Paths.resolve(environ, os.getuid(), run_user=self.run_user, **options)


class FileTests(PathsCase):
    def test_defaults_below_home(self) -> None:
        """Without any XDG variable everything is at its usual place below the home folder."""
        self.assertEqual(
            self.resolve(HOME),
            Paths(
                state_dir=Path("/home/op/.local/state/hum"),
                key=Path("/home/op/.local/state/hum/humd.key"),
                peers_file=Path("/home/op/.config/hum/peers.json"),
                thrum=Path("/home/op/.local/state/hum/thrum.sock"),
            ),
        )

    def test_xdg(self) -> None:
        """The XDG variables win over the home folder."""
        paths = self.resolve({**HOME, "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c", "XDG_RUNTIME_DIR": "/r"})
        self.assertEqual(paths.key, Path("/s/hum/humd.key"))
        self.assertEqual(paths.peers_file, Path("/c/hum/peers.json"))
        self.assertEqual(paths.thrum, Path("/r/hum/thrum.sock"))

    def test_no_name(self) -> None:
        """A socket needs a name of its own."""
        for options, environ in (({"thrum": "/"}, {}), ({}, {"HUM_THRUM_SOCK": "/"}), ({}, {"HUM_SOCKET": "/"})):
            with self.assertRaisesRegex(ConfigurationError, "/ is no place for the thrum socket"):
                self.resolve({**HOME, **environ}, **options)

    def test_empty_is_unset(self) -> None:
        """Empty values, and relative ones of XDG variables, count as not given."""
        names = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
        plain = self.resolve(HOME)
        empty = dict.fromkeys((*names, "HUM_THRUM_SOCK", "HUM_SOCKET"), "")
        self.assertEqual(self.resolve({**HOME, **empty}), plain)
        self.assertEqual(self.resolve({**HOME, **dict.fromkeys(names, "relative")}), plain)
        self.assertEqual(self.resolve(HOME, state_dir="", key="", peers="", thrum=""), plain)

    def test_without_a_home(self) -> None:
        """Without a home folder the places are below the working folder, and absolute all the same."""
        for environ in ({}, {"HOME": ""}):
            paths = self.resolve(environ, thrum="/t.sock")
            self.assertEqual(paths.key, Path.cwd() / ".local/state/hum/humd.key")
            self.assertEqual(paths.peers_file, Path.cwd() / ".config/hum/peers.json")

    def test_where_no_home_counts(self) -> None:
        """Only places that are below the working folder for want of a home are said to be, with their options."""
        state, peers = (Path.cwd() / each for each in (".local/state/hum", ".config/hum/peers.json"))
        for environ, options, places, mend in (
            ({}, {}, f"{state} and {peers}", "give --state-dir and --peers, or set HOME"),
            ({"HOME": "", "XDG_STATE_HOME": "s"}, {"peers": "p"}, f"{state}", "give --state-dir, or set HOME"),
            ({"XDG_STATE_HOME": "/s"}, {}, f"{peers}", "give --peers, or set HOME"),
        ):
            said = f"HOME is not set, so below the current folder: {places}"
            self.assertEqual(without_home(self.resolve(environ, thrum="/t.sock", **options)), (said, mend))
        for environ in (HOME, {"XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}):
            self.assertEqual(without_home(self.resolve(environ)), ("", ""))
        self.assertEqual(without_home(self.resolve({}, state_dir="s", peers="p")), ("", ""))

    def test_folder_that_is_gone(self) -> None:
        """A relative path in a working folder that was removed is the operator's to mend."""
        gone = self.run_user / "gone"
        gone.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(gone)
        os.rmdir(os.getcwd())
        self.resolve(HOME)
        with self.assertRaisesRegex(ConfigurationError, "my.key begins in the current folder, which is gone"):
            self.resolve(HOME, key="my.key")
        self.assertRaises(ConfigurationError, self.resolve, {})

    def test_state_dir_is_the_hum_folder(self) -> None:
        """The given state dir itself holds key and socket; the peers file is configuration and stays where it is."""
        paths = self.resolve({**HOME, "XDG_STATE_HOME": "/s"}, state_dir="/var/lib/hum")
        self.assertEqual(paths.state_dir, Path("/var/lib/hum"))
        self.assertEqual(paths.key, Path("/var/lib/hum/humd.key"))
        self.assertEqual(paths.thrum, Path("/var/lib/hum/thrum.sock"))
        self.assertEqual(paths.peers_file, Path("/home/op/.config/hum/peers.json"))

    def test_options_win(self) -> None:
        """Each option decides its own path, and a relative one is meant from the working folder."""
        paths = self.resolve({**HOME, "HUM_THRUM_SOCK": "/env.sock"}, key="k", peers="/p", thrum="/t/../x.sock")
        self.assertEqual(paths.key, Path.cwd() / "k")
        self.assertEqual((paths.peers_file, paths.thrum), (Path("/p"), Path("/x.sock")))


class ThrumTests(PathsCase):
    def test_order(self) -> None:
        """Option, HUM_THRUM_SOCK, HUM_SOCKET, XDG_RUNTIME_DIR, our /run/user folder, state dir: the first counts."""
        mine = self.run_user / str(os.getuid())
        mine.mkdir()
        environ = {**HOME, "HUM_THRUM_SOCK": "/1.sock", "HUM_SOCKET": "/2.sock", "XDG_RUNTIME_DIR": "/3"}
        self.assertEqual(self.resolve(environ, thrum="/0.sock").thrum, Path("/0.sock"))
        seen = []
        for name in ("HUM_THRUM_SOCK", "HUM_SOCKET", "XDG_RUNTIME_DIR"):
            seen.append(str(self.resolve(environ).thrum))
            del environ[name]
        self.assertEqual(seen, ["/1.sock", "/2.sock", "/3/hum/thrum.sock"])
        self.assertEqual(self.resolve(environ).thrum, mine / "hum" / "thrum.sock")
        mine.rmdir()
        self.assertEqual(self.resolve(environ).thrum, Path("/home/op/.local/state/hum/thrum.sock"))

    def test_run_user_of_somebody_else(self) -> None:
        """A /run/user folder that is not ours, or is no folder, is never used."""
        stranger = os.getuid() + 1
        (self.run_user / str(stranger)).mkdir()
        expected = Path("/home/op/.local/state/hum/thrum.sock")
        self.assertEqual(Paths.resolve(HOME, stranger, run_user=self.run_user).thrum, expected)
        (self.run_user / str(os.getuid())).symlink_to("/")
        self.assertEqual(self.resolve(HOME).thrum, expected)

    def test_control(self) -> None:
        """The control socket stands beside the thrum socket, 8 bytes longer."""
        paths = self.resolve(HOME, thrum="/t/thrum.sock")
        self.assertEqual(paths.control, Path("/t/thrum.sock.control"))

    def test_too_long(self) -> None:
        """What can be bound, the control socket too, is taken; one more byte is an error that names the mend."""
        with tempfile.TemporaryDirectory(prefix="hum-", dir="/tmp") as folder:
            longest = self.resolve(HOME, thrum=f"{folder}/".ljust(MAX_THRUM, "x"))
            for path in (longest.thrum, longest.control):
                with socket.socket(socket.AF_UNIX) as server:
                    server.bind(str(path))
        self.assertEqual(len(str(self.resolve(HOME, thrum="/" + "x" * (MAX_THRUM - 1)).thrum)), MAX_THRUM)
        for long in ("/" + "x" * MAX_THRUM, "/" + "é" * 50):
            error = self.assertRaises(ThrumPathTooLong, self.resolve, HOME, thrum=long)
            self.assertIsInstance(error, ConfigurationError)
            self.assertIn("--thrum", str(error))
            self.assertEqual(error.length, len(os.fsencode(long)))

    def test_too_long_by_default(self) -> None:
        """The same holds for a path that nobody gave."""
        self.assertRaises(ThrumPathTooLong, self.resolve, {"HOME": "/" + "x" * 90})
