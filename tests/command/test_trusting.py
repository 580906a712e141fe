"""``trust`` and ``untrust`` between real daemons: what the log says is pasted, and the link is there."""

from __future__ import annotations

import json
import queue
import re
import shlex
import socket
import ssl
from pathlib import Path
from threading import Thread

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from tests.command.calling import BETA
from tests.command.test_end_to_end import Machine
from tests.daemon.process import PATIENCE, Daemon
from tests.protocols.tls_peers import Credential

TLS = ("--listen", "tls:0:interface=127.0.0.1")


def command_in(line: str) -> list[str]:
    """The words of the ``ensemble trust`` that a line offers."""
    found = re.search("`ensemble (trust [^`]*)`", line)
    assert found is not None, line
    return shlex.split(found[1])


class TrustingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.alpha, self.beta = Machine(self), Machine(self)

    def start(self, machine: Machine, *options: str) -> Daemon:
        daemon = machine.start(*options)
        machine.folder.peers_file.parent.mkdir(parents=True, exist_ok=True)
        return daemon

    def test_two_machines(self) -> None:
        """
        One trusts the other with the words that this shows, is refused there, and is let in with the words of the
        refusal: linked over TLS.  Untrusted, the link goes.
        """
        listener, dialler = self.start(self.alpha, *TLS), self.start(self.beta)
        shown = self.alpha.run("id")
        (line,) = [each for each in shown.splitlines() if "ensemble trust" in each]
        said = self.beta.run(*shlex.split(line)[1:], "--alias", "alpha")
        self.assertIn("The humd has read it.", said)
        refusal = listener.lines.wait_for(f"ensemble trust {self.beta.id}")
        self.assertIn(f'{{"humd_id":"{self.beta.id}"}}', refusal)
        self.alpha.run(*command_in(refusal), "--wait")
        said = self.beta.run("trust", "alpha", "--wait")
        self.assertIn("Already in", said)
        self.assertIn("Linked over tls (proven).", said)
        self.assertRegex(self.beta.run("peers"), rf"alpha +{self.alpha.id.short} +linked +tls")
        before = len(dialler.lines.all)
        self.assertIs(self.alpha.document("untrust", str(self.beta.id))["daemon"], True)
        dialler.lines.wait_for("lost", before)
        self.assertEqual(self.alpha.document("peers")["peers"], [])

    def test_changed_pin(self) -> None:
        """A certificate that changed is refused; pasted, what the refusal offers ends it."""
        peer = PinnedPeer(self, Credential.ecdsa(), self.alpha.folder.path)
        daemon = self.start(self.alpha)
        self.alpha.run("trust", BETA.full, peer.hint, f"tls-fp:{'0' * 64}", "--alias", "old-peer")
        line = daemon.lines.wait_for("it shows the certificate")
        words = command_in(line)
        self.assertEqual(words, ["trust", BETA.full, peer.credential.pin])
        (row,) = self.alpha.document("peers")["peers"]
        self.assertIn(shlex.join(words), row["mend"])
        self.assertIn(shlex.join(words), self.alpha.run("peers"))
        (finding,) = [each for each in self.doctor() if each["check"] == "peer"]
        self.assertEqual((finding["grade"], finding["mend"]), ("fail", row["mend"]))
        self.assertTrue(peer.heard.empty())
        self.assertIn(f"-  tls-fp:{'0' * 64}\n  +  {peer.credential.pin}\n", self.alpha.run(*words))
        self.assertIn(b'"chi":"hello"', peer.heard.get(timeout=PATIENCE))

    def doctor(self) -> list[dict[str, str]]:
        out, _ = self.alpha.begin("doctor", "--json").communicate(timeout=PATIENCE)
        checks: list[dict[str, str]] = json.loads(out)["checks"]
        return checks


class PinnedPeer:
    """
    Somebody with a certificate that is not made of its key, as humds before 0.8 have.

    :ivar heard: what each connection said first.
    """

    def __init__(self, test: SynchronousTestCase, credential: Credential, folder: Path) -> None:
        self.credential, self.heard = credential, queue.Queue[bytes]()
        pem = folder / "peer.pem"
        key = credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(key + credential.certificate.public_bytes(Encoding.PEM))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.hint = f"tls:127.0.0.1:{self._server.getsockname()[1]}"
        thread = Thread(target=self._serve, daemon=True)
        thread.start()
        test.addCleanup(thread.join, PATIENCE)
        test.addCleanup(self._server.close)
        test.addCleanup(self._server.shutdown, socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(connection, server_side=True) as wrapped:
                    if said := wrapped.recv(1 << 16):
                        self.heard.put(said)
            except OSError:
                pass  # refused, as it should be
