"""A new key between real daemons: rotated, finished, restarted, followed; and one that is revoked."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.command.test_end_to_end import Machine
from tests.daemon.process import Daemon


class RekeyEndToEndTests(SynchronousTestCase):
    """Alpha listens over TLS and changes its key; beta knows it, and says follow or not."""

    def begin(self, follow: bool) -> None:
        """Both run, and are linked."""
        self.alpha, self.beta = Machine(self), Machine(self)
        self.alpha.knows(self.beta, "beta", [])
        self.first = self.listening("tls:0:interface=127.0.0.1")
        hints = self.first.ask("status")["listening"]
        self.port = next(hint for hint in hints if hint.startswith("tls:")).rpartition(":")[2]
        self.beta.folder.write_peers(
            {"humd_id": self.alpha.id.full, "alias": "alpha", "hints": hints, "follow": follow}
        )
        self.other = self.beta.start()
        self.other.lines.wait_for("linked")
        self.first.lines.wait_for("linked")

    def listening(self, place: str) -> Daemon:
        return self.alpha.start("--listen", place)

    def again(self) -> Daemon:
        """Alpha, stopped and started at the same port."""
        self.first.stop()
        return self.listening(f"tls:{self.port}:interface=127.0.0.1")

    def test_follow(self) -> None:
        """Beta logs the new id at once, links with it after the restart, and then refuses the old one for good."""
        self.begin(follow=True)
        said = self.alpha.document("rotate")
        self.assertEqual((said["old"], said["told"], said["deaf"]), (self.alpha.id.full, [self.beta.id.full], []))
        new = said["new"]
        line = self.other.lines.wait_for("goes on as")
        self.assertIn(f"alpha ({self.alpha.id}) goes on as {new} and is followed", line)
        self.assertEqual(self.alpha.document("rotate")["new"], new)
        self.assertIn("restart the humd", self.alpha.run("rotate", "--finish"))
        self.assertIn("restart it first", self.alpha.run("rotate", expect=1))
        self.again()
        self.other.lines.wait_for(f"linked {new}")
        rows = {row["id"]: row for row in self.beta.document("peers")["peers"]}
        self.assertEqual((rows[new]["state"], rows[new]["alias"]), ("linked", "alpha"))
        self.assertEqual((rows[new]["level"], rows[new]["heir_of"]), ("proven", self.alpha.id.full))
        self.assertIn("new key", rows[self.alpha.id.full]["refused"])
        self.assertIn("sent", self.beta.run("send", "alpha", '{"chi":"log"}'))
        self.assertIn(f"`ensemble untrust {self.alpha.id.full}` ends", self.beta.run("untrust", new, expect=1))
        said = self.beta.run("trust", new[:17], expect=1)
        self.assertIn(f"{new} is the heir of {self.alpha.id.full} (alpha), which has the row", said)
        for line in said.partition("`")[2].partition("`")[0].split(" && "):
            self.beta.run(*line.split()[1:])
        self.assertEqual([row["id"] for row in self.beta.document("peers")["peers"]], [new])

    def test_away_and_dials(self) -> None:
        """Beta, which alpha cannot dial, was away while all of that happened: the certificate tells it."""
        self.begin(follow=True)
        self.other.stop()
        new = self.alpha.document("rotate")["new"]
        self.alpha.run("rotate", "--finish")
        self.again()
        other = self.beta.start()
        self.assertIn(f"goes on as {new} and is followed", other.lines.wait_for("goes on as"))
        other.lines.wait_for(f"linked {new}")

    def test_not_followed(self) -> None:
        """Beta says what to change and goes on with the old id; with the new one in its row it links."""
        self.begin(follow=False)
        new = self.alpha.document("rotate")["new"]
        self.assertIn("is not followed", self.other.lines.wait_for("goes on as"))
        self.alpha.run("rotate", "--finish")
        self.again()
        self.other.lines.wait_for("cannot link")
        self.beta.folder.write_peers({"humd_id": new, "hints": [f"tls:127.0.0.1:{self.port}"]})
        self.other.ask("reload")
        self.other.lines.wait_for(f"linked {new}")

    def test_revoke(self) -> None:
        """Beta ends the link, a third is told by the file, and alpha does not start with that key any more."""
        self.begin(follow=False)
        third = Machine(self)
        third.folder.write_peers({"humd_id": self.alpha.id.full})
        carried = third.start()
        self.assertIn("--yes", self.alpha.run("revoke", expect=2))
        said = self.alpha.document("revoke", "--yes")
        self.assertEqual(said["told"], [self.beta.id.full])
        self.other.lines.wait_for("its key was revoked")
        self.other.lines.wait_for(f"lost {self.alpha.id}")
        self.assertIn("refused from now on", third.run("revoke", "--yes", "--file", said["file"]))
        carried.lines.wait_for("its key was revoked")
        self.first.stop()
        daemon = Daemon(folder=self.alpha.folder)
        self.addCleanup(daemon.close)
        self.assertEqual(daemon.wait(), 1)
        self.assertIn("was revoked", "\n".join(daemon.errors.finish()))

    def test_away_and_listens(self) -> None:
        """Beta was away, and follows whoever comes with such a certificate."""
        self.alpha, self.beta = Machine(self), Machine(self)
        self.beta.folder.write_peers({"humd_id": self.alpha.id.full, "alias": "alpha", "follow": True})
        other = self.beta.start("--listen", "tls:0:interface=127.0.0.1")
        self.alpha.knows(self.beta, "beta", other.ask("status")["listening"])
        new = self.alpha.document("rotate")["new"]
        self.alpha.run("rotate", "--finish")
        self.alpha.start()
        self.assertIn(f"goes on as {new} and is followed", other.lines.wait_for("goes on as"))
        other.lines.wait_for(f"linked {new} over tls (proven)")
