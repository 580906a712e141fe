"""The whole command, as a process, between two real daemons that are linked."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ensemble.command.outcome import BROKEN_PIPE
from ensemble.identity import HumdId, load_or_mint
from tests.daemon.process import PATIENCE, Daemon, Folder

ECHO_BEE = Path(__file__).resolve().parent.parent.parent / "examples" / "echo_bee.py"
RUN = "import sys; from ensemble.command.main import main; sys.exit(main())"
PROMPT = '{"chi":"prompt","modelId":"echo","text":"two machines met"}'


class Machine:
    """One of the two: its folder, its daemon, its command."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.test, self.folder = test, Folder()
        test.addCleanup(self.folder.remove)
        key = self.folder.path / ".local/state/hum/humd.key"
        self.id: HumdId = load_or_mint(key)[0].humd_id()

    def knows(self, other: Machine, alias: str, hints: list[str]) -> None:
        """Write the row of the other."""
        self.folder.write_peers({"humd_id": other.id.full, "alias": alias, "hints": hints})
        self.folder.peers_file.chmod(0o600)

    def start(self, *options: str) -> Daemon:
        """Start the daemon, with no more options than these."""
        daemon = Daemon(*options, folder=self.folder)
        self.test.addCleanup(daemon.close)
        return daemon.ready()

    def begin(self, *words: str, program: tuple[str, ...] = ("-c", RUN)) -> subprocess.Popen[str]:
        """Start a command."""
        process = subprocess.Popen(
            [sys.executable, *program, *words],
            env=self.folder.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.test.addCleanup(process.communicate)
        self.test.addCleanup(process.kill)
        return process

    def run(self, *words: str, stdin: str = "", expect: int = 0) -> str:
        """A command from its begin to its end; what it said."""
        process = self.begin(*words)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        self.test.assertEqual(process.returncode, expect, f"{words}\n{out}\n{err}")
        if not expect:
            self.test.assertEqual(err, "")
        return out if not expect else err

    def document(self, *words: str) -> Any:
        """The same, for a command that says one JSON document."""
        return json.loads(self.run(*words, "--json"))


class EndToEndTests(SynchronousTestCase):
    """Alpha listens; beta dials it."""

    def setUp(self) -> None:
        self.alpha, self.beta = Machine(self), Machine(self)
        self.alpha.knows(self.beta, "beta", [])
        self.daemon = self.alpha.start("--listen", "tcp:0:interface=127.0.0.1")
        self.hints: list[str] = self.daemon.ask("status")["listening"]
        self.beta.knows(self.alpha, "alpha", self.hints)
        self.other = self.beta.start()
        for daemon in (self.daemon, self.other):
            daemon.lines.wait_for("linked")

    def test_about(self) -> None:
        """id, status and peers find the daemon by its defaults alone, tell what is so, and can forget a peer once."""
        said = self.alpha.document("id")
        self.assertEqual((said["id"], said["hints"]), (self.alpha.id.full, self.hints))
        self.assertEqual(self.alpha.run("id", "--bare"), f"{self.alpha.id}\n")
        status = self.alpha.document("status")
        self.assertEqual((status["pid"], status["links"]["up"]), (self.daemon.process.pid, 1))
        self.assertRegex(self.alpha.run("status"), r"links +1 up")
        (row,) = self.beta.document("peers")["peers"]
        self.assertEqual((row["alias"], row["state"], row["level"]), ("alpha", "linked", "proven"))
        self.assertRegex(self.beta.run("peers"), rf"alpha +{self.alpha.id.short} +linked +tcp +127.0.0.1 +proven")
        self.assertIn("Forgotten", self.beta.run("peers", "--forget", "alpha"))
        self.assertIs(self.beta.document("peers", "--forget", "alpha")["known"], False)

    def test_question_and_answer(self) -> None:
        """A question by alias is answered piece by piece; a tap there sees it; Ctrl-C ends the worker in silence."""
        bee = self.alpha.begin("--pause", "0", program=(str(ECHO_BEE),))
        assert bee.stdout is not None
        self.assertIn("serving", bee.stdout.readline())
        self.wait_for_worker()
        tap = self.alpha.begin("listen", "--chi", "prompt", "--peer", "beta", "--count", "1")
        assert tap.stderr is not None
        self.assertEqual(tap.stderr.readline(), "ensemble: listening\n")
        self.assertEqual(self.beta.run("send", "alpha", PROMPT, "--wait"), "two machines met\n")
        tones = [json.loads(line) for line in self.beta.run("send", "alpha", PROMPT, "--wait", "--json").splitlines()]
        deltas = [tone["delta"] for tone in tones if tone.get("chunkType") == "text_delta"]
        self.assertEqual((deltas, tones[-1]["chi"]), (["two", " machines", " met"], "finish"))
        seen, _ = tap.communicate(timeout=PATIENCE)
        tone = json.loads(seen)
        self.assertEqual((tone["text"], tone["from"]), ("two machines met", self.beta.id.full))
        self.assertEqual(tap.returncode, 0)
        bee.send_signal(signal.SIGINT)
        self.assertEqual((bee.communicate(timeout=PATIENCE), bee.returncode), (("", ""), 0))

    def wait_for_worker(self) -> None:
        # The bee has written its hello; each question gives the humd a turn in which to read it.
        deadline = time.monotonic() + PATIENCE
        while not any("echo" in bee["models"] for bee in self.daemon.ask("status")["clients"]):
            assert time.monotonic() < deadline, "no worker"

    def test_sending(self) -> None:
        """What fails on the way or at the other end is told at once, waiting or not; what does not arrives in order."""
        said = self.beta.run("send", "alpha", PROMPT, "--wait", "--json", expect=1)
        self.assertEqual(json.loads(said)["qualifier"], "prompt.no-worker")
        said = self.beta.run("send", "a" * 64, '{"chi":"pulse"}', expect=1)
        self.assertIn("route.unknown-peer", said)
        tones = "".join(f'{{"chi":"pulse","sid":"{number}"}}\n' for number in range(100))
        with self.daemon.control() as tap:
            tap.ask({"do": "tap", "chi": ["pulse"]})
            self.beta.run("send", self.alpha.id.digest.hex()[:8], "-", stdin=tones)
            arrived = [tap.hear() for _ in range(100)]
        self.assertEqual([each and each["tone"]["sid"] for each in arrived], [str(number) for number in range(100)])

    def test_doctor(self) -> None:
        """Between two healthy humds nothing must be mended, and the link's figures are fresh."""
        said = self.alpha.document("doctor")
        self.assertEqual((said["ok"], said["counts"]["fail"], said["counts"]["warn"]), (True, 0, 0), said)
        (peer,) = [each for each in said["checks"] if each["check"] == "peer"]
        self.assertRegex(
            peer["what"], r"^beta \(humd_[0-9a-f]{12}\): linked over tcp \(proven\), round trip .* ms, its clock"
        )

    def test_reader_that_stops(self) -> None:
        """Whoever listens for nobody ends at once, and not at the next tone."""
        tap = self.alpha.begin("listen")
        assert tap.stderr is not None and tap.stdout is not None
        self.assertEqual(tap.stderr.readline(), "ensemble: listening\n")
        tap.stdout.close()
        self.assertEqual((tap.wait(PATIENCE), tap.stderr.read()), (BROKEN_PIPE, ""))

    def test_daemon_that_stops(self) -> None:
        """A humd that stops is told to its listeners with status 3, and by the doctor of its peer with the cause."""
        tap = self.alpha.begin("listen")
        assert tap.stderr is not None
        self.assertEqual(tap.stderr.readline(), "ensemble: listening\n")
        self.daemon.stop()
        out, err = tap.communicate(timeout=PATIENCE)
        self.assertEqual((tap.returncode, out, err), (3, "", "ensemble: the humd went away\n"))
        self.other.lines.wait_for("lost")
        said = self.beta.begin("doctor")
        out, _ = said.communicate(timeout=PATIENCE)
        self.assertEqual(said.returncode, 1)
        self.assertRegex(out, rf"fail +peer +alpha .*{self.hints[0]} \(connection refused\)")
        self.assertRegex(self.alpha.run("status", expect=3), "no humd answers")
        self.assertRegex(self.alpha.begin("peers").communicate(timeout=PATIENCE)[0], "unknown")


class ElsewhereTests(SynchronousTestCase):
    """A humd beside the usual one, with everything elsewhere."""

    def test_line_from_the_log(self) -> None:
        """What its log says to run lets the peer into it, and not into the usual one; one option finds it."""
        alpha, beta = Machine(self), Machine(self)
        place = alpha.folder.path / "else where"
        options = ("--state-dir", place, "--peers", place / "p.json", "--thrum", alpha.folder.path / "t.sock")
        other = Daemon(*map(str, options), "--listen", "tls:0:interface=127.0.0.1", folder=alpha.folder)
        self.addCleanup(other.close)
        other.lines.wait_for("ready")
        alpha.start()
        status = alpha.document("status", "--state-dir", str(place))
        self.assertEqual((status["pid"], status["peers_file"]), (other.process.pid, str(place / "p.json")))
        beta.folder.write_peers({"humd_id": status["id"], "hints": status["listening"]})
        beta.start()
        line = other.lines.wait_for("to let it in").partition("`")[2].partition("`")[0]
        words = shlex.split(line)
        self.assertEqual(words, ["ensemble", "trust", "--state-dir", str(place), beta.id.full])
        alpha.run(*words[1:])
        other.lines.wait_for(f"linked {beta.id}")
        self.assertFalse(alpha.folder.peers_file.exists())

    def test_usual_one_in_its_place(self) -> None:
        """Where another state directory is meant the usual humd is not asked, also if it had the socket first."""
        alpha = Machine(self)
        place = str(alpha.folder.path / "else where")
        alpha.start()
        for command in (["status"], ["send", alpha.id.full, '{"chi":"perf-mark"}']):
            said = alpha.run(*command, "--state-dir", place, expect=3)
            self.assertIn(f"no humd answers on {place}/thrum.sock", said)
        late = Daemon("--state-dir", place, "--peers", f"{place}/p.json", folder=alpha.folder)
        self.addCleanup(late.close)
        self.assertNotEqual(late.process.wait(PATIENCE), 0)
        self.assertIn(f"no humd answers on {place}/thrum.sock", alpha.run("status", "--state-dir", place, expect=3))
        own = str(alpha.folder.path / ".local/state/hum")
        self.assertEqual(alpha.document("status", "--state-dir", own)["id"], alpha.id.full)
