"""The options of ``twistd humd``, and the service that they make."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from typing import Any

from twisted.application.service import Application, IServiceMaker
from twisted.internet import reactor
from twisted.logger import ILogObserver, Logger
from twisted.plugin import getPlugins
from twisted.python.components import Componentized
from twisted.trial.unittest import SynchronousTestCase

from ensemble import __version__
from ensemble.daemon.startup import Program
from ensemble.daemon.tap import MAX_ADVERTISE, MAX_LISTEN, STEADY, Options, makeService
from ensemble.mesh import Limits
from ensemble.protocols import Level


class TapTestCase(SynchronousTestCase):
    """Parses options, with an environment and streams of its own."""

    def setUp(self) -> None:
        self.patch(reactor, "seconds", reactor.seconds)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.home = tempfile.mkdtemp(prefix="humd-", dir="/tmp")
        self.addCleanup(os.rmdir, self.home)
        self.patch(os, "environ", {"HOME": self.home, "XDG_RUNTIME_DIR": self.home})

    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def service(self, *words: str, **twistd: Any) -> Program:
        options = self.parse(*words)
        if twistd:
            options.parent = twistd  # type: ignore[assignment]
        service = makeService(options)
        assert isinstance(service, Program)
        self.addCleanup(service._launch.succeeded)
        return service

    def refused(self, *words: str, status: int = 2) -> str:
        """The one line of a refusal."""
        error = self.assertRaises(SystemExit, lambda: makeService(self.parse(*words)))
        self.assertEqual(error.code, status)
        (line,) = self.err.getvalue().splitlines()
        self.err.truncate(0)
        self.err.seek(0)
        return line


class OptionTests(TapTestCase):
    """What may be said."""

    def test_defaults(self) -> None:
        """With nothing said, everything has a value: proven, known, 4 MiB, text, no listener, XDG places."""
        settings = self.service()._settings
        self.assertEqual((settings.auth, settings.admit), ("proven", "known"))
        self.assertEqual((settings.listen, settings.advertise, settings.max_tone), ((), (), 4 * 1024 * 1024))
        self.assertEqual(str(settings.paths.state_dir), f"{self.home}/.local/state/hum")
        self.assertEqual(str(settings.paths.thrum), f"{self.home}/hum/thrum.sock")
        self.assertEqual(settings.home, self.home)
        self.assertIs(reactor.seconds, STEADY)

    def test_all(self) -> None:
        """Every option reaches the settings; those that may be repeated keep their order."""
        settings = self.service(
            *("--peers", "/p.json", "--key", "/k", "--state-dir", "/s", "--thrum", "/t"),
            *("--listen", "tcp:1:interface=127.0.0.1", "--listen", "tcp6:2"),
            *("--advertise", "tcp:a:1", "--advertise", "onion:" + "a" * 56 + ".onion:2"),
            *("--auth", "signed", "--admit", "any", "--max-tone", "65536", "--log-format", "json"),
        )._settings
        paths = settings.paths
        found = [str(path) for path in (paths.peers_file, paths.key, paths.state_dir, paths.thrum)]
        self.assertEqual(found, ["/p.json", "/k", "/s", "/t"])
        self.assertEqual(settings.listen, ("tcp:1:interface=127.0.0.1", "tcp6:2"))
        self.assertEqual(settings.advertise[0], "tcp:a:1")
        self.assertEqual((settings.level, settings.admit_any, settings.max_tone), (Level.SIGNED, True, 65536))
        for edge in (4096, 67108864):
            self.assertEqual(self.parse("--max-tone", str(edge))["max-tone"], edge)

    def test_relative_paths(self) -> None:
        """A relative path means what it meant to who typed it, wherever the daemon goes later."""
        self.assertEqual(str(self.service("--key", "k")._settings.paths.key), os.path.abspath("k"))

    def test_limits(self) -> None:
        """Limits add up, and ``help`` lists them all with unit, range and meaning."""
        settings = self.service("--limit", "pending_links=9", "--limit", "peer_hold_bytes=65536")._settings
        self.assertEqual(settings.limits, Limits(pending_links=9, peer_hold_bytes=65536))
        error = self.assertRaises(SystemExit, self.parse, "--limit", "help")
        self.assertEqual(error.code, 0)
        for one in Limits.about():
            self.assertIn(f"{one.name}={one.default}\n    {one.unit}, {one.least} to {one.most}: ", self.out.getvalue())

    def test_commands_in_the_log(self) -> None:
        """A command that the log tells to run leads to this daemon, where ``ensemble`` alone would look elsewhere."""
        folder = os.path.join(self.home, "elsewhere")
        for words, told in (
            ((), "`ensemble peers`"),
            (("--state-dir", folder), f"`ensemble peers --state-dir {folder}`"),
        ):
            service = self.service(*words, nodaemon=True)
            self.assertEqual(service._settings.told("see `ensemble peers`"), f"see {told}")
            assert service._observer is not None
            Logger(observer=service._observer).info("{cause}", cause="see `ensemble peers`")
            self.assertIn(f"see {told}", self.out.getvalue())

    def test_version(self) -> None:
        """``--version`` says ours and that of thrum."""
        error = self.assertRaises(SystemExit, self.parse, "--version")
        self.assertEqual((error.code, self.out.getvalue()), (0, f"humd {__version__} (thrum 0.8.0)\n"))

    def test_nobody_reads(self) -> None:
        """What was asked for and nobody reads is no error that is told; a full disk, or no output, is one."""
        for words in (["--limit", "help"], ["--version"], ["--help"]):
            reader, writer = os.pipe()
            os.close(reader)
            with open(writer, "w", encoding="utf-8") as out:
                self.patch(sys, "stdout", out)
                self.assertEqual(self.assertRaises(SystemExit, self.parse, *words).code, 141)
            self.assertEqual(self.err.getvalue(), "")
            if os.path.exists("/dev/full"):
                with open("/dev/full", "w", encoding="utf-8") as out:
                    self.patch(sys, "stdout", out)
                    told = self.refused(*words, status=1)
                self.assertEqual(told, "twistd humd: cannot write standard output: No space left on device")
            self.patch(sys, "stdout", None)
            self.assertIn("cannot write standard output: ", self.refused(*words, status=1))

    def test_refusals(self) -> None:
        """Each mistake is one line that names the option and what would do, with status 2."""
        for words, told in (
            (["--wire"], "--wire"),
            (["--key"], "--key"),
            (["--state-dir", ""], "--state-dir is empty: leave it out, or name the place"),
            (["--thrum", ""], "--thrum is empty"),
            (["word"], "'word'"),
            (["--auth", "no"], "open, signed, proven"),
            (["--admit", "no"], "known, any"),
            (["--log-format", "xml"], "text, json"),
            (["--max-tone", "1"], "4096"),
            (["--max-tone", "9" * 30], "67108864"),
            (["--max-tone", "many"], "4096"),
            (["--max-tone", "4095"], "4096"),
            (["--max-tone", "\u0664" * 4], "4096"),
            (["--max-tone", "67108864", "--limit", "unfinished_lines_bytes=16777216"], "raise that, too"),
            (["--limit", "thrum_max_tone_bytes=67108865"], "raise that, too"),
            (["--limit", "pending_link=4"], "there is pending_links"),
            (["--limit", "pending_links=0"], "is 1 to 65536 links, not 0; twistd humd --limit help lists them"),
            (["--listen", "udp:1"], "only tcp, "),
            (["--listen", "tcp:"], "a port is missing"),
            (["--listen", "tcp:x"], "--listen tcp:x: a port is a number up to 65535"),
            (["--listen", "tcp:70000"], "--listen tcp:70000: a port is a number up to 65535"),
            (["--listen", "tcp:interface=127.0.0.1:port=65536"], "up to 65535; for instance --listen tls:14731"),
            (["--listen", "tcp:1:2:3:4:5"], "tcp:1:2:3:4:5"),
            (["--listen", "tcp:1:colour=red"], "colour"),
            (["--listen", "tcp6:1:interface=::1"], r"or tcp6:14730:interface=\:\:1 ("),
            (["--advertise", "nowhere"], "--advertise nowhere: 'nowhere' is not <scheme>:<value>, for instance "),
            (["--listen", "tcp:1:interface=x\\"], "no endpoint of Twisted's is written so"),
            (["--listen", "tcp:0"] * (MAX_LISTEN + 1), f"{MAX_LISTEN} times"),
            (["--advertise", "tcp:a:1"] * (MAX_ADVERTISE + 1), f"{MAX_ADVERTISE} times"),
        ):
            self.assertIn(told, self.refused(*words))

    def test_impossible_socket(self) -> None:
        """A thrum path that no kernel takes is one line and status 1, wherever it came from."""
        self.assertIn("--thrum", self.refused("--thrum", "/" + "x" * 120, status=1))


class PluginTests(TapTestCase):
    """What ``twistd`` sees."""

    def test_twistd_finds_us(self) -> None:
        """``twistd`` lists ``humd``, and its module is this one."""
        (plugin,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "humd"]
        self.assertIs(plugin.options, Options)
        self.assertIs(plugin.makeService, makeService)

    def test_brings_its_log(self) -> None:
        """The application gets our observer, which is how ``twistd`` is told of it."""
        application: Any = Application("humd")
        self.service("--log-format", "json").setServiceParent(application)
        self.assertIsNotNone(application.getComponent(ILogObserver))
        self.assertIsInstance(application, Componentized)

    def test_leaves_the_log_to_twistd(self) -> None:
        """With ``--syslog`` or ``--logger`` the log is ``twistd``'s; JSON does not go with that."""
        application: Any = Application("humd")
        self.service(syslog=True, nodaemon=True).setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))
        options = self.parse("--log-format", "json")
        options.parent = {"logger": "x", "nodaemon": True}  # type: ignore[assignment]
        self.assertEqual(self.assertRaises(SystemExit, makeService, options).code, 1)
        self.assertIn("--syslog", self.err.getvalue())
