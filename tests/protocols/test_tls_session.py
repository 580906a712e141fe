"""The core of a TLS connection, without a socket: two ends, and the bytes between them cut anywhere."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any
from unittest import SkipTest
from weakref import ref

from hypothesis import given, settings, strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from ensemble.errors import ConfigurationError
from ensemble.identity import certificate_of
from ensemble.protocols.tls_sessions import RECORD, TlsSession, TlsSessions
from tests.protocols.tls_peers import ALICE, BOB, Credential, Sessions
from tests.protocols.tls_sealing import ALERT, CLOSE_NOTIFY, SealingSession

ALICES, BOBS = TlsSessions(ALICE), TlsSessions(BOB)
HEADER = 5  # bytes of a record (RFC 8446 5.1)


def library_of(ssl: Any) -> Any:
    """For what an openssl.cnf may say, and old pyOpenSSL has no name for."""
    return ssl._lib


def everybody(_: bytes) -> bool:
    return True


def carry(data: bytes, there: TlsSession, step: int = 2**16) -> bytes:
    """What ``there`` reads of these bytes, in pieces of ``step``."""
    read = b""
    for at in range(0, len(data), step):
        there.receive(data[at : at + step])
        while plain := there.read():
            read += plain
    return read


def shake(accepts: Callable[[bytes], bool] = everybody, step: int = 2**16) -> tuple[TlsSession, TlsSession]:
    """Alice dials Bob.  :returns: both ends, as far as they came; nothing is in flight, no ticket was read."""
    return shake_with(ALICES.dial(accepts), BOBS.accept(), step)


def shake_with(dialling: TlsSession, listening: TlsSession, step: int = 2**16) -> tuple[TlsSession, TlsSession]:
    dialling.shake()
    for here, there in ((dialling, listening), (listening, dialling), (dialling, listening)):
        flight = here.outgoing()
        for at in range(0, len(flight), step):
            there.receive(flight[at : at + step])
            there.shake()
    return dialling, listening


class ShakingTests(SynchronousTestCase):
    def test_both_know(self) -> None:
        """Each has the other's leaf, and both the same secret for their proofs."""
        dialling, listening = shake()
        self.assertEqual((dialling.leaf(), listening.leaf()), (certificate_of(BOB), certificate_of(ALICE)))
        self.assertEqual(dialling.exported(), listening.exported())
        self.assertEqual((dialling.broken, listening.broken), ("", ""))

    def test_nothing_is_resumed(self) -> None:
        """Whoever offers the session of before is shown our certificate again, and shows its own."""
        stranger = Sessions(Credential.humd(ALICE))
        verified, flights = [], []
        for _ in range(2):
            client, listening = stranger._session(), BOBS.accept()
            client.set_connect_state()
            sent = 0
            for _ in range(3):
                with contextlib.suppress(SSL.WantReadError):
                    client.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    listening.receive(client.bio_read(2**16))
                    listening.shake()
                if flight := listening.outgoing():
                    client.bio_write(flight)
                    sent += len(flight)
            with contextlib.suppress(SSL.WantReadError):
                client.recv(1)  # and the tickets
            self.assertEqual((listening.leaf(), listening.broken), (certificate_of(ALICE), ""))
            stranger.resume = client.get_session()
            flights.append(sent)
            verified.append(len(stranger.verified))
        self.assertIsNotNone(stranger.resume)
        self.assertEqual((flights[1], verified[1]), (flights[0], 2 * verified[0]))

    def test_nothing_is_compressed(self) -> None:
        """Where OpenSSL could, certificates are not (RFC 8879): the bytes of a handshake bound what it costs."""
        fresh = TlsSessions(ALICE)  # of one in use pyOpenSSL tells nothing
        for context in (fresh._dialling, fresh._listening):
            self.assertEqual(context.set_options(0) >> 32 & 0b11, 0b11)

    def test_nothing_is_in_clear(self) -> None:
        """Where the OpenSSL of both ends was told to seal with what hides nothing (RFC 9150), neither end speaks."""
        dialler, listener, library = TlsSessions(ALICE), TlsSessions(BOB), library_of(SSL)
        for context in (dialler._dialling, listener._listening):
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
            if not library.SSL_CTX_set_ciphersuites(context._context, b"TLS_SHA256_SHA256"):
                library.ERR_clear_error()
                raise SkipTest("this OpenSSL has no such suite")
        dialling, listening = shake_with(dialler.dial(everybody), listener.accept())
        for session in (dialling, listening):
            self.assertIn("TLS_SHA256_SHA256, which is too weak: take it out", session.broken)
            self.assertEqual(session.seal(b"hello"), b"")

    def test_no_ed25519(self) -> None:
        """Where an openssl.cnf forbids what every humd has, both ends say what is missing and where to look."""
        dialler = TlsSessions(ALICE)
        library_of(SSL).SSL_CTX_set1_sigalgs_list(dialler._dialling._context, b"ECDSA+SHA256")
        for session in shake_with(dialler.dial(everybody), BOBS.accept()):
            self.assertIn("does an openssl.cnf, here or there, forbid", session.broken)

    def test_no_key_like_ours(self) -> None:
        """Where OpenSSL was told to want longer keys, a humd does not start, and says why; it is no bug."""

        class Strict(SSL.Context):
            def __init__(self, method: int) -> None:
                super().__init__(method)
                self.set_cipher_list(b"DEFAULT:@SECLEVEL=4")

        self.patch(SSL, "Context", Strict)
        error = self.assertRaises(ConfigurationError, TlsSessions, ALICE)
        self.assertRegex(str(error), "no TLS 1.3 .*too small.*@SECLEVEL=4")

    def test_no_name(self) -> None:
        """A dialler says the same name to everybody, as 0.7.0 does, so that whoever listens learns nothing of whom."""
        dialling = ALICES.dial(everybody)
        dialling.shake()
        self.assertIn(b"\x00\x00\x09localhost", dialling.outgoing())

    def test_in_pieces(self) -> None:
        """A handshake that comes byte by byte is the same."""
        dialling, listening = shake(step=1)
        self.assertEqual(dialling.exported(), listening.exported())

    def test_judged_once(self) -> None:
        """A dialler is asked about a leaf once, whatever OpenSSL finds wrong with it."""
        shown: list[bytes] = []

        def accepts(der: bytes) -> bool:
            shown.append(der)
            return True

        shake(accepts)
        self.assertEqual(shown, [certificate_of(BOB)])

    def test_refused(self) -> None:
        """Whose leaf is refused is told by an alert; it sees no leaf of ours, and nothing is sealed for it."""
        dialling, listening = shake(lambda der: False)
        self.assertIn("certificate verify failed", dialling.broken)
        self.assertIn("wants another key than ours", listening.broken)
        self.assertIsNone(listening.leaf())
        self.assertEqual((dialling.seal(b"hello"), dialling.close(), dialling.read()), (b"", b"", b""))

    def test_nothing_is_kept_of_a_session(self) -> None:
        """OpenSSL would remember each session for five minutes, though none is ever resumed."""
        for context in (BOBS._listening, BOBS._dialling, BOBS._settled):
            self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF)

    def test_idle(self) -> None:
        """OpenSSL keeps no buffers of a session in which nothing happens."""
        unused = TlsSessions(BOB)  # of others pyOpenSSL does not tell
        for context in (unused._listening, unused._dialling, unused._settled):
            self.assertTrue(context.set_mode(0) & SSL.MODE_RELEASE_BUFFERS)

    def test_tickets_count(self) -> None:
        """OpenSSL's messages behind the handshake are counted, those of the handshake are not."""
        dialling, listening = shake()
        self.assertEqual((dialling.messages, listening.messages), (0, 0))
        carry(listening.outgoing(), dialling)
        self.assertGreater(dialling.messages, 0)


class SpeakingTests(SynchronousTestCase):
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.integers(0, 3 * RECORD), max_size=4), st.integers(1, 2**15))
    def test_any_cut(self, sizes: list[int], step: int) -> None:
        """However what was sealed is cut on its way, the same bytes come out, in both directions."""
        dialling, listening = shake()
        for here, there in ((dialling, listening), (listening, dialling)):
            said = [bytes([number]) * size for number, size in enumerate(sizes)]
            records = b"".join(map(here.seal, said))
            self.assertEqual(carry(records, there, max(step, len(records) // 500)), b"".join(said))
            self.assertEqual((there.broken, there.ended), ("", False))

    def test_full_records(self) -> None:
        """What is long leaves in full records, and nothing makes none."""
        dialling, _ = shake()
        self.assertEqual(dialling.seal(b""), b"")
        left, sizes = dialling.seal(b"x" * (2 * RECORD + 1)), []
        while left:
            end = HEADER + int.from_bytes(left[3:HEADER], "big")
            sizes.append(end)
            left = left[end:]
        self.assertEqual(len(sizes), 3)
        self.assertGreater(min(sizes[:2]), RECORD)

    def test_short_records(self) -> None:
        """A peer that wants short records (RFC 6066 4), of which OpenSSL makes one at a time, gets every byte."""

        class Short(SSL.Connection):
            def send(self, data: Any, flags: int = 0) -> int:
                return super().send(bytes(data[:512]), flags)

        self.patch(SSL, "Connection", Short)
        dialling, listening = shake()
        said = bytes(range(256)) * 300
        self.assertEqual(carry(dialling.seal(said), listening), said)
        self.assertEqual(carry(listening.seal(b"x" * 513), dialling), b"x" * 513)

    def test_changed(self) -> None:
        """A byte that was changed breaks the session: what came before is read, both ends know, no more is said."""
        dialling, listening = shake()
        before, changed = dialling.seal(b"before"), bytearray(dialling.seal(b"changed"))
        changed[-1] ^= 1
        self.assertEqual(carry(before + changed + dialling.seal(b"after"), listening), b"before")
        self.assertIn("bad record mac", listening.broken)
        carry(listening.outgoing(), dialling)
        self.assertIn("bad record mac", dialling.broken)
        self.assertEqual((listening.seal(b"x"), dialling.seal(b"x")), (b"", b""))


class EndTests(SynchronousTestCase):
    def test_one_side_at_a_time(self) -> None:
        """Who ends says it once and nothing more, and still reads what the other says until that ends too."""
        dialling, listening = shake()
        goodbye = dialling.seal(b"goodbye") + dialling.close()
        self.assertEqual((dialling.seal(b"more"), dialling.close()), (b"", b""))
        self.assertEqual(carry(goodbye, listening), b"goodbye")
        self.assertTrue(listening.ended)
        self.assertEqual(carry(listening.seal(b"late") + listening.close(), dialling), b"late")
        self.assertEqual((dialling.ended, dialling.broken, listening.broken), (True, "", ""))

    def test_behind_a_user_canceled(self) -> None:
        """An end may begin with a user_canceled (RFC 8446 6.1), and is no less an end."""
        far, near = SealingSession(Sessions(Credential.humd(ALICE)), listens=False), BOBS.accept()
        near.receive(far.shake())
        near.shake()
        near.receive(far.receive(near.outgoing()))
        self.assertTrue(near.shake())
        assert far.sealer is not None
        said = far.sealer.seal(b"last") + far.sealer.seal(b"\x01\x5a", ALERT) + far.sealer.seal(CLOSE_NOTIFY, ALERT)
        self.assertEqual(carry(said, near), b"last")
        self.assertEqual((near.ended, near.broken), (True, ""))

    def test_in_the_handshake(self) -> None:
        """A handshake that is not over has nothing to end."""
        dialling = ALICES.dial(everybody)
        dialling.shake()
        self.assertEqual((dialling.close(), dialling.seal(b"early")), (b"", b""))

    def test_leaves_nothing(self) -> None:
        """An end that nobody holds is gone at once, and the tens of kilobytes of OpenSSL with it."""
        dialling, listening = shake()
        ends = ref(dialling), ref(dialling._connection), ref(listening), ref(listening._connection)
        gc.disable()
        self.addCleanup(gc.enable)
        del dialling, listening
        self.assertEqual([end() for end in ends], [None] * 4)
