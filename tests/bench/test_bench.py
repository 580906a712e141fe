"""The bench runs end to end; whether its figures are good is not asked here."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from bench import runs
from bench.__main__ import WEIGHING, main
from bench.contests import CONTESTS, Size
from bench.harness import Against, Contest, Crew, Outcome, Program, SideFailed, hold_contest
from bench.report import table
from bench.sides.tls import HELD
from bench.tones import LINE, TONE
from ensemble.tone import decode

ROOT = Path(__file__).resolve().parents[2]


def bench(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *argv], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


class SmokeTests(SynchronousTestCase):
    """Every subcommand in its own processes, with tiny counts."""

    def document(self, what: str) -> dict[str, Any]:
        if what in WEIGHING and sys.platform != "linux":
            raise SkipTest("only Linux tells what processes weigh")
        done = bench(what, "--smoke", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        document: dict[str, Any] = json.loads(done.stdout)
        self.assertEqual((document["bench"], document["rounds"]), (what, 1))
        for contest in document["contests"]:
            self.assertTrue(contest["ratios"])
            for ratio in contest["ratios"].values():
                self.assertEqual(len(ratio["raw"]), 1)
                self.assertGreater(ratio["median"], 0)
        return document

    def test_wire(self) -> None:
        """``wire`` measures the link, ``route`` and a relay beside both references."""
        wire, relay = self.document("wire")["contests"]
        self.assertEqual(set(wire["programs"]), {"wire", "route", "sockets", "asyncio+json"})
        self.assertEqual(set(relay["programs"]), {"relay", "sockets", "asyncio+json"})
        self.assertEqual(wire["tone_bytes"], 300)

    def test_rtt(self) -> None:
        """``rtt`` gives the middle and the tail of the round trips."""
        (rtt,) = self.document("rtt")["contests"]
        for program in rtt["programs"].values():
            self.assertLessEqual(program["raw"][0]["p50"], program["raw"][0]["p99"])

    def test_fanout(self) -> None:
        """``fanout`` counts every tone at every peer, 64 a turn and one a turn."""
        for contest, tones in zip(self.document("fanout")["contests"], (640, 320), strict=True):
            for program in contest["programs"].values():
                self.assertEqual(program["raw"][0]["n"], contest["peers"] * tones)

    def test_idle(self) -> None:
        """``idle`` holds as many links as it says."""
        (idle,) = self.document("idle")["contests"]
        self.assertEqual(idle["programs"]["link"]["raw"][0]["links"], idle["links"])

    def test_daemon(self) -> None:
        """``daemon`` carries every chunk from a worker over two daemons to the asker."""
        (daemon,) = self.document("daemon")["contests"]
        self.assertEqual(daemon["programs"]["daemon"]["raw"][0]["n"], daemon["tones"])

    def test_tls(self) -> None:
        """``tls`` carries every tone under the flood too, which was there, and makes as many links as it says."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2 * HELD:
            self.skipTest(f"needs {2 * HELD} descriptors, may have {hard}")
        tls, handshakes, many, idle, flood = self.document("tls")["contests"]
        self.assertEqual(set(tls["programs"]), {"tls", "wire"})
        for contest in (handshakes, many):
            for program in contest["programs"].values():
                self.assertEqual(program["raw"][0]["n"], contest["handshakes"])
        self.assertEqual(idle["programs"]["link"]["raw"][0]["links"], idle["links"])
        flooded = flood["programs"]["flooded"]["raw"][0]
        self.assertEqual(flooded["n"], flood["tones"])
        self.assertGreater(flooded["offered"], 0)
        self.assertEqual(flood["programs"]["trickled"]["raw"][0]["n"], flood["tones"])


class ReferenceTests(SynchronousTestCase):
    """The programs that we are compared with do the work that they are said to do."""

    def test_asyncio_json_answers(self) -> None:
        """The asyncio program echoes a tone with all that is in it."""
        with Crew() as crew:
            port = crew.python(runs.ASYNCIO, "echo").ready()
            answer = subprocess.run(
                [sys.executable, "-c", _ASK, str(port)], input=LINE, capture_output=True, timeout=60, check=True
            ).stdout
        self.assertEqual(json.loads(answer), dict(TONE))

    def test_the_tone(self) -> None:
        """The measured tone is a tone: 300 bytes, with a payload of two more levels."""
        self.assertEqual(decode(LINE), dict(TONE))
        self.assertEqual(len(LINE), 300)
        self.assertEqual(TONE["payload"]["meta"]["attempt"], 2)


_ASK = """
import socket, sys
line = sys.stdin.buffer.read() + b"\\n"
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as asker:
    asker.sendall(line)
    sys.stdout.buffer.write(asker.makefile("rb").readline())
"""


class HarnessTests(SynchronousTestCase):
    """Rounds, ratios and ends."""

    def contest(self, figures: dict[str, list[float]], against: Against) -> Contest:
        left = {name: list(values) for name, values in figures.items()}
        programs = tuple(
            Program(name, "", lambda crew, name=name: {"rate": left[name].pop(0)}, "rate")  # type: ignore[misc]
            for name in figures
        )
        return Contest("made up", "tones/s", programs, (against,))

    def outcome(self) -> Outcome:
        figures = {"a": [1.0, 10.0, 40.0, 90.0], "b": [1.0, 10.0, 20.0, 30.0]}
        return hold_contest(self.contest(figures, Against("a", "b", goal=2.0, stretch=3.0)), 3, lambda _: None)

    def test_ratio_of_the_same_round(self) -> None:
        """A ratio is taken within its round, the warm-up counts nowhere, and then comes the median."""
        document = self.outcome().to_json()
        self.assertEqual(document["programs"]["a"]["median"], 40.0)
        ratio = document["ratios"]["a / b"]
        self.assertEqual(ratio["raw"], [1.0, 2.0, 3.0])
        self.assertEqual((ratio["median"], ratio["min"], ratio["max"]), (2.0, 1.0, 3.0))
        self.assertEqual((ratio["reached"], ratio["stretch_reached"]), (True, False))

    def test_table(self) -> None:
        """The table for people says whether a goal was reached."""
        self.assertIn("goal >= 2.00: reached, stretch >= 3.00: missed", table(self.outcome()))

    def test_at_most(self) -> None:
        """A figure that should be small reaches its goal from below."""
        against = Against("a", "b", goal=2.0, at_most=True)
        self.assertEqual([against.reached(value, against.goal) for value in (1.9, 2.1)], [True, False])

    def test_everything_has_its_contest(self) -> None:
        """With a peer given, every contest that can be compared with it is."""
        named = {
            what: any(
                "tokio-pump" in against.name for contest in build(Size(1, "/peer")) for against in contest.against
            )
            for what, (build, _) in CONTESTS.items()
        }
        self.assertEqual(
            named, {"wire": True, "rtt": True, "daemon": False, "fanout": False, "idle": False, "tls": False}
        )

    def test_side_that_fails(self) -> None:
        """A process that ends badly ends the measurement with what it said last."""
        with Crew() as crew:
            side = crew.start(sys.executable, "-c", "raise SystemExit('no such thing')")
            failed = self.assertRaises(SideFailed, side.result)
        self.assertIn("no such thing", str(failed))

    def test_an_asker_that_is_cut_off(self) -> None:
        """The asker of the daemons says why it has no figures."""
        with Crew() as crew, socket.socket(socket.AF_UNIX) as daemon:
            path = crew.folder() / "thrum.sock"
            daemon.bind(str(path))
            daemon.listen()
            asker = crew.python(runs.THRUM, "asker", path, "humd_" + "0" * 64)
            daemon.accept()[0].close()
            failed = self.assertRaises(SideFailed, asker.result)
            self.assertIn("the daemon ended it after 0 tones", str(failed))

    def test_partner_that_fails(self) -> None:
        """Whoever waits for one process learns at once that another has failed."""
        with Crew() as crew:
            patient = crew.start(sys.executable, "-c", "input()")
            crew.start(sys.executable, "-c", "raise SystemExit('the other one')")
            failed = self.assertRaises(SideFailed, patient.result)
        self.assertIn("the other one", str(failed))

    def test_interrupt(self) -> None:
        """Ctrl-C ends the bench with status 130 and leaves no process."""
        if sys.platform != "linux":
            raise SkipTest("only Linux tells whose children they are")
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "wire"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        process.stderr.readline()
        children: list[str] = []
        deadline = time.monotonic() + 60
        while not children and time.monotonic() < deadline:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn("stopped", complaint)
        self.assertNotIn("Traceback", complaint)
        self.assertTrue(children)
        self.assertEqual([child for child in children if Path("/proc", child).exists()], [])

    def test_bad_options(self) -> None:
        """Too few rounds, or a peer that is no program, is one clear line."""
        for argv, said in ((["--rounds", "3"], "at least 7"), (["--peer", "/nowhere"], "/nowhere")):
            done = bench("wire", *argv)
            self.assertEqual(done.returncode, 2)
            self.assertIn(said, done.stderr.splitlines()[-1])

    def test_elsewhere(self) -> None:
        """Where the system does not tell what a process weighs, that is one clear line, too."""
        self.patch(sys, "platform", "darwin")
        for what in WEIGHING:
            with redirect_stderr(StringIO()) as said:
                self.assertEqual(self.assertRaises(SystemExit, main, [what]).code, 2)
            self.assertIn("only Linux tells", said.getvalue().splitlines()[-1])
