"""Two daemons over TLS, as an operator would set them up."""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ensemble.identity import certificate_of, fingerprint, load
from tests.daemon.process import Daemon

PLACE = "tls:0:interface=127.0.0.1"


class TlsDaemonTests(SynchronousTestCase):
    def daemon(self, place: str = PLACE) -> Daemon:
        daemon = Daemon("--listen", place)
        self.addCleanup(daemon.close)
        return daemon.ready()

    def test_linked(self) -> None:
        """The hints that one shows are enough for another to link with it over TLS, proven; strangers stay outside."""
        one, two = self.daemon(), self.daemon()
        status = two.ask("status")
        self.assertEqual(status["listening"][0].partition(":")[0], "tls")
        self.assertEqual(status["listening"][1], f"tls-fp:{status['fingerprint']}")
        self.assertEqual(status["fingerprint"], fingerprint(certificate_of(load(Path(status["key"])))))
        one_row, two_row = one.row(), two.row()
        one.folder.write_peers(two_row)
        one.signal(signal.SIGHUP)
        two.lines.wait_for("no row in peers.json")  # from its certificate, before its hello
        self.assertEqual(two.ask("status")["counters"].get("handshake.not-admitted", 0), 0)
        two.folder.write_peers({"humd_id": one_row["humd_id"]})
        two.signal(signal.SIGHUP)
        one.lines.wait_for(f"linked {two_row['humd_id']} over tls (proven)")
        two.lines.wait_for(f"linked {one_row['humd_id']} over tls (proven)")
        self.assertGreaterEqual(two.ask("status")["counters"]["tls.leaf"], 1)

    def test_wrong_wire(self) -> None:
        """A hint that names the other wire than its port speaks is a cause that is named."""
        secure, plain = self.daemon(), self.daemon("tcp:0:interface=127.0.0.1")
        for one, two, asked in ((secure, plain, "is it a tcp: port"), (plain, secure, "is it a tls: port?")):
            row = two.row()
            wire, _, place = row["hints"][0].partition(":")
            one.folder.write_peers({**row, "hints": [f"{'tls' if wire == 'tcp' else 'tcp'}:{place}"]})
            one.signal(signal.SIGHUP)
            self.assertIn("cannot link", one.lines.wait_for(asked))

    def test_changed_certificate(self) -> None:
        """Somebody else at the address of a peer is refused; log and row name both, and the mend."""
        one, two = self.daemon(), self.daemon()
        other = "humd_" + "ab" * 32
        (place, pin) = two.row()["hints"]
        one.folder.write_peers({"humd_id": other, "hints": [place, "tls-fp:" + "00" * 32], "alias": "two"})
        one.signal(signal.SIGHUP)
        line = one.lines.wait_for("it shows the certificate")
        mend = f"`ensemble untrust {other} && ensemble trust {two.row()['humd_id']} {place} --alias two`"
        for part in (other, pin, "tls-fp:" + "00" * 32, mend):
            self.assertIn(part, line)
        (row,) = one.ask("peers")["peers"]
        self.assertIn(mend, row["mend"])
        self.assertIn(mend, row["last_failure"])
