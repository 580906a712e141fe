"""
The TLS tier (mesh 5.6; RFC 8446): the lines of TCP inside TLS 1.3, and each end shows the certificate of its humd.

Theory of operation:

- I{Who is there.}  No authority, name or date counts.  The dialler accepts a leaf whose Ed25519 key is the id that it
  wants, or whose fingerprint is a C{tls-fp:} of the address; it looks while the handshake runs, before it shows its own
  certificate, so an impostor learns an address and no id.  OpenSSL verifies that the peer holds the leaf's key: the
  verify callback only judges the chain, the CertificateVerify is not in its hands.  The listener asks for a certificate
  and, once possession is proved, asks its owner whether that id may come.
- I{When.}  An accepted connection stands on the L{Porch} until it is its turn: a socket that is not read, and no TLS.
  C{built} gets the wire when the handshake is complete and the leaf accepted, not before; so nothing of ours leaves
  earlier.  A connection has L{HANDSHAKE_SECONDS} for all of that, which bytes do not extend.
- I{Binding.}  C{tls-} and 32 bytes of the exporter (RFC 8446 7.5), the same at both ends of this one session.
- I{Keys.}  A peer may change its keys as often as the standard wants, not as often as it likes: OpenSSL has no ceiling
  for KeyUpdate, and each one that asks for an answer costs us 27 bytes that a peer which does not read leaves with us.
- I{No resumption.}  There is no session cache and OpenSSL makes no tickets that hold a session; what it still sends
  after a handshake opens nothing.  Early data is never accepted.

Departs from 0.7.0 in that TLS 1.2 is refused, the handshake signature is verified, and the listener asks for a
certificate too (a client without one is for C{admits} to judge).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from OpenSSL import SSL, crypto
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ensemble.errors import LinkRefused
from ensemble.identity import BadCertificate, HumdAddr, HumdId, fingerprint, leaf_id
from ensemble.protocols.admission import SomebodyElse
from ensemble.protocols.budget import LineBudget
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE
from ensemble.protocols.porch import Porch
from ensemble.protocols.sockets import host_of
from ensemble.protocols.stream import StreamWire
from ensemble.protocols.tls_sessions import KeyUpdates, TooManyKeyUpdates, in_words

HANDSHAKE_SECONDS: Final = 10.0  # from accept to the end of the TLS handshake; a dial has its own deadline
EXPORTER_LABEL: Final = b"EXPORTER-hum-ensemble"
EXPORTER_LENGTH: Final = 32  # bytes

Admits = Callable[["HumdId | None"], "str | None"]
"""Asked with the id of an accepted leaf, None where there is none: None lets it in, else why not."""

Told = Callable[[str, str, str], None]
"""Told of a handshake that failed: the counter, the cause for people, the address."""


@implementer(IHandshakeListener)
class TlsWire(StreamWire):
    """
    One connection inside TLS; its transport is Twisted's C{TLSMemoryBIOProtocol}, and the socket's until TLS begins.

    :ivar leaf: whose Ed25519 key the other end's certificate shows, possession proved; None where there is no
        certificate, or one with another kind of key.  A hello on this wire must not claim another id.
    :ivar refused: makes the error, with its mend, where a leaf was not accepted; else None.
    :ivar began: seconds on our clock when it was connected: the deadline of a pending link counts from here.
    """

    __slots__ = (
        "_admits",
        "_deadline",
        "_failed",
        "_inside",
        "_porch",
        "_refusal",
        "_shown",
        "_updates",
        "began",
        "binding",
        "leaf",
        "refused",
    )

    secure = True

    def __init__(
        self,
        clock: IReactorTime,
        built: Callable[[StreamWire], None],
        failed: Told,
        *,
        peer: HumdAddr | None = None,
        admits: Admits | None = None,
        porch: Porch | None = None,
        inside: Callable[[TlsWire], Protocol] | None = None,
        budget: LineBudget | None = None,
        max_line: int = DEFAULT_MAX_LINE,
    ) -> None:
        """
        :param failed: called where C{built} never will be, but not after C{abort}.
        :param peer: whom we dialled; None for a connection that was accepted.
        :param admits: for an accepted one; None lets everybody in.
        :param porch: where an accepted one waits; None where TLS began already.
        :param inside: makes the TLS for it.
        """
        super().__init__(
            clock, built, kind="tls", peer=peer, dialled=peer is not None, budget=budget, max_line=max_line
        )
        self.leaf: HumdId | None = None
        self.binding, self.began = "none", 0.0
        self._admits = admits
        self._failed: Told | None = failed  # while the handshake runs
        self._refusal = ""  # why the leaf was not accepted
        self.refused: Callable[[str], LinkRefused] | None = None
        self._shown: tuple[bytes, HumdId | None] | None = None  # the last leaf that was read, and whose it is
        self._deadline: IDelayedCall | None = None
        self._updates: KeyUpdates | None = None  # once there were any: many links are idle
        self._porch, self._inside = porch, inside

    @property
    def shaking(self) -> bool:
        """True until the TLS handshake is over."""
        return self._failed is not None

    def connectionMade(self) -> None:
        """TCP is connected; where we dialled TLS begins, else it does when it is our turn."""
        if self.dialled or self._inside is not None:
            self.began = self._clock.seconds()
            self.address = host_of(self.transport.getPeer())
        if self._inside is not None:
            assert self._porch is not None
            self._deadline = self._clock.callLater(HANDSHAKE_SECONDS, self._late)
            self.transport.pauseProducing()
            self._porch.enter(self, self.shake)

    def shake(self) -> None:
        """Begin TLS on an accepted connection."""
        socket, inside, self._inside = self.transport, self._inside, None
        assert inside is not None
        socket.protocol = inside(self)
        socket.protocol.makeConnection(socket)
        socket.resumeProducing()

    def shake_on(self, step: Callable[[], None]) -> None:
        """Do what a handshake, or the end of one, needs of us."""
        assert self._porch is not None
        self._porch.work(step)

    def accepts(self, der: bytes) -> bool:
        """As a dialler: is this the certificate of whom we want?  Asked while the handshake runs."""
        assert self.peer is not None
        shown = fingerprint(der)
        pins = [hint.value.lower() for hint in self.peer.of("tls-fp")]
        if shown in pins:
            return True
        try:
            leaf = self._leaf_of(der)
        except BadCertificate as error:
            self._refusal = str(error)
            return False
        if leaf == self.peer.id:
            return True
        wanted = f"the key of {self.peer.id.full}" + "".join(f" or tls-fp:{pin}" for pin in pins)
        owner = "" if leaf is None else f" of {leaf.full}"
        self._refusal = f"it shows the certificate tls-fp:{shown}{owner}, wanted is {wanted}"
        trust = f"`ensemble trust {self.peer.id.full} tls-fp:{shown}`"
        changed = f"if its owner says that it changed (ensemble id shows it there): {trust}"
        # No pin helps against a humd's leaf: whoever has another key has another id.
        self.refused = partial(LinkRefused, mend=changed) if leaf is None else partial(SomebodyElse, found=leaf)
        return False

    # IHandshakeListener

    def handshakeCompleted(self) -> None:
        """The peer holds the key of its leaf, if it showed one; the wire is made here."""
        connection = self.transport.getHandle()
        refusal = self._look_at(connection.get_peer_certificate())
        if refusal is not None:
            self._give_up("tls.leaf", refusal)
            return
        self.binding = f"tls-{connection.export_keying_material(EXPORTER_LABEL, EXPORTER_LENGTH).hex()}"
        self._shaken()
        super().connectionMade()

    def key_updated(self) -> None:
        """OpenSSL took or answered a message of its own; it is busy, so what follows waits for the next turn."""
        if self.shaking:
            return  # the handshake itself
        self._updates = self._updates or KeyUpdates()
        if not self._updates.one_more(self._clock.seconds()) and self._deadline is None:
            self._deadline = self._clock.callLater(0, self._too_many_updates)

    def abort(self) -> None:
        self._shaken()
        self._leave_porch()
        super().abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._leave_porch()
        failed = self._shaken()
        if failed is None and isinstance(reason.value, SSL.Error):
            reason = Failure(ConnectionLost(in_words(reason, "TLS")))
        super().connectionLost(reason)
        if failed is None:
            return
        if self._refusal:
            failed("tls.leaf", self._refusal, self.address)
        else:
            failed("tls.handshake", in_words(reason, "the TLS handshake"), self.address)

    def _leaf_of(self, der: bytes) -> HumdId | None:
        """As L{leaf_id}, once for the three times that OpenSSL and we ask in one handshake."""
        if self._shown is None or self._shown[0] != der:
            self._shown = der, leaf_id(der)
        return self._shown[1]

    def _look_at(self, certificate: Any) -> str | None:
        """:returns: why it is not accepted."""
        if certificate is not None:
            der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
            try:
                self.leaf = self._leaf_of(der)
            except BadCertificate as error:
                if not self.dialled:
                    return str(error)  # a pin may name what we cannot read
        if not self.dialled:
            return None if self._admits is None else self._admits(self.leaf)
        # It was accepted before, or we would not be here; but who is there is not left to one callback alone.
        return None if certificate is not None and self.accepts(der) else self._refusal or "it shows no certificate"

    def _late(self) -> None:
        self._deadline = None
        self._give_up("tls.late", f"no TLS handshake within {HANDSHAKE_SECONDS:g} s")

    def _too_many_updates(self) -> None:
        self._deadline = None
        self._refuse(TooManyKeyUpdates())
        self.abort()

    def _give_up(self, counter: str, cause: str) -> None:
        failed = self._shaken()
        self.abort()
        if failed is not None:
            failed(counter, cause, self.address)

    def _shaken(self) -> Told | None:
        """The handshake is over, one way or another."""
        failed, self._failed = self._failed, None
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
        self._shown = None
        return failed

    def _leave_porch(self) -> None:
        if self._porch is not None:
            self._porch.leave(self, self.shake)
