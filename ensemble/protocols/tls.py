"""
The TLS tier (mesh 5.6; RFC 8446): the lines of TCP inside TLS 1.3, and each end shows the certificate of its humd.

Theory of operation:

- *Who is there.*  No authority, name or date counts.  The dialler accepts a leaf whose Ed25519 key is the id that it
  wants, or whose fingerprint is a ``tls-fp:`` of the address; it looks while the handshake runs, before it shows its
  own certificate, so an impostor learns an address and no id.  OpenSSL verifies that the peer holds the leaf's key: the
  verify callback only judges the chain, the CertificateVerify is not in its hands.  The listener asks for a certificate
  and, once possession is proved, asks its owner whether that id may come.  Behind the leaf of either may be the
  successions that lead to its id (``docs/rekeying.rst``): who would be refused may be who we know under a new key.
- *When.*  An accepted connection stands on the `Porch` until it is its turn: a socket that is not read, and no TLS.
  ``built`` gets the wire when the handshake is complete and the leaf accepted, not before; so nothing of ours leaves
  earlier.  A connection has ``pending_seconds`` for all of that, which bytes do not extend.
- *Binding.*  ``tls-`` and 32 bytes of the exporter (RFC 8446 7.5), the same at both ends of this one session.
- *Keys.*  A peer may change its keys as often as the standard wants, not as often as it likes: OpenSSL has no ceiling
  for KeyUpdate, and each one that asks for an answer costs us 27 bytes that a peer which does not read leaves with us.
  While a message of TLS's own comes in pieces OpenSSL seals nothing: the wire is full until it is whole.
- *Records.*  Each is handed on as it is read, so that many small ones count for what they cost us; a pause holds back
  what one read of the socket gave, and the end behind it.  What we write goes to the socket as it does without TLS.
- *The end.*  Whoever ends says close_notify and waits for the other's, which is the answer to it; a connection that
  ends without was cut, and ends no line.
- *No resumption.*  There is no session cache and OpenSSL makes no tickets that hold a session; what it still sends
  after a handshake opens nothing.  Early data is never accepted.

Departs from 0.7.0 in that TLS 1.2 is refused, the handshake signature is verified, and the listener asks for a
certificate too (a client without one is for ``admits`` to judge).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ensemble.errors import LinkRefused
from ensemble.identity import BadCertificate, HumdAddr, HumdId, Succession, fingerprint, leaf_id
from ensemble.protocols.admission import SomebodyElse
from ensemble.protocols.budget import LineBudget
from ensemble.protocols.deadlines import DEADLINES, Deadlines
from ensemble.protocols.ndjson import DEFAULT_MAX_LINE
from ensemble.protocols.porch import Porch
from ensemble.protocols.sockets import in_short
from ensemble.protocols.stream import StreamWire
from ensemble.protocols.succeeds import chain_behind
from ensemble.protocols.tls_sessions import LEAST_RECORD, KeyUpdates, TlsSession, TlsSessions, TooManyKeyUpdates

HANDSHAKE_BYTES: Final = 12 * 1024  # of the peer's until then: OpenSSL decodes and keeps every certificate of a chain

Admits = Callable[["HumdId | None", Sequence[Succession]], "str | None"]
"""
Asked with the id of an accepted leaf, None where there is none, and the successions that it says lead to it, which may
be what lets it in: None does, else why not.
"""

Told = Callable[[str, str, str], None]
"""Told of a handshake that failed: the counter, the cause for people, the address."""


class TlsWire(StreamWire):
    """
    One connection inside TLS; its transport is what is below TLS.

    :ivar leaf: whose Ed25519 key the other end's certificate shows, possession proved; None where there is no
        certificate, or one with another kind of key.  A hello on this wire must not claim another id.
    :ivar refused: makes the error, with its mend, where a leaf was not accepted; else None.
    :ivar began: seconds on our clock when it was connected: the deadline of a pending link counts from here.
    """

    __slots__ = (
        "_admits",
        "_came",
        "_deadline",
        "_failed",
        "_refusal",
        "_session",
        "_sessions",
        "_unsealed",
        "_updates",
        "began",
        "binding",
        "broken",
        "leaf",
        "refused",
        "stuffing",
    )

    secure = True
    send_now = None  # what is written there would leave in clear

    def __init__(
        self,
        clock: IReactorTime,
        built: Callable[[StreamWire], None],
        failed: Told,
        sessions: TlsSessions,
        *,
        peer: HumdAddr | None = None,
        admits: Admits | None = None,
        porch: Porch | None = None,
        budget: LineBudget | None = None,
        max_line: int = DEFAULT_MAX_LINE,
        deadlines: Deadlines = DEADLINES,
    ) -> None:
        """
        :param failed: called where ``built`` never will be, but not after ``abort``.
        :param peer: whom we dialled; None for a connection that was accepted.
        :param admits: for an accepted one; None lets everybody in.
        :param porch: where an accepted one waits; None for one that we dialled.
        """
        dialled = peer is not None
        super().__init__(
            clock,
            built,
            kind="tls",
            peer=peer,
            dialled=dialled,
            budget=budget,
            max_line=max_line,
            porch=porch,
            deadlines=deadlines,
        )
        self.leaf: HumdId | None = None
        self.binding, self.began, self._came, self.stuffing, self.broken = "none", 0.0, 0, 0, False
        self._admits = admits
        self._failed: Told | None = failed  # while the handshake runs
        self._refusal = ""  # why the leaf was not accepted
        self.refused: Callable[[str], LinkRefused] | None = None
        self._deadline: IDelayedCall | None = None
        self._updates: KeyUpdates | None = None  # once there were any: many links are idle
        self._unsealed: bytes | None = None  # written while a message of TLS's own is in pieces; else None
        self._sessions = sessions
        self._session: TlsSession | None = None  # none yet, or not any more

    @property
    def shaking(self) -> bool:
        """True until the TLS handshake is over."""
        return self._failed is not None

    def connectionMade(self) -> None:
        """TCP is connected; where we dialled TLS begins, else it does when it is our turn."""
        self._take_transport()
        self.began = self._clock.seconds()
        if self.dialled:
            self._session = self._sessions.dial(self.accepts)
            self._shake(self._session)
        else:
            self._deadline = self._clock.callLater(self._deadlines.pending_seconds, self._late)
            self._enter(self._begin)

    def _begin(self) -> None:
        """TLS on an accepted connection."""
        self._session = self._sessions.accept()
        self.transport.resumeProducing()

    def _handle(self, data: bytes) -> None:
        session = self._session
        if session is None:
            return  # aborted; some transports still deliver
        if self.shaking:
            self._shake_with(session, data)
        else:
            session.receive(data)
            self.stuffing += len(data)
            self._read(session)

    def accepts(self, der: bytes) -> bool:
        """As a dialler: is this the certificate of whom we want?  Asked while the handshake runs."""
        assert self.peer is not None
        shown = fingerprint(der)
        pins = [hint.value.lower() for hint in self.peer.of("tls-fp")]
        try:
            leaf = leaf_id(der)
        except BadCertificate as error:
            self._refusal = str(error)
            return shown in pins  # one may name what we cannot read
        if leaf == self.peer.id:
            self.leaf = leaf
        if leaf == self.peer.id or shown in pins:  # of a pinned one the key need not be a humd's (mesh 5.6)
            return True
        shows = f"it shows the certificate tls-fp:{shown}"
        wanted = f"wanted is the key of {self.peer.id.full}" + "".join(f" or tls-fp:{pin}" for pin in pins)
        if leaf is None:
            self._refusal = f"it is no humd of protocol 0.8, perhaps a web server or a proxy: {shows}, {wanted}"
            trust = f"`ensemble trust {self.peer.id.full} tls-fp:{shown}`"
            mend = f"if its owner says that it changed (ensemble id shows it there): {trust}"
            self.refused = partial(LinkRefused, mend=mend)
        else:  # no pin helps: whoever has another key has another id
            self._refusal = f"{shows} of {leaf.full}, {wanted}"
            self.refused = partial(SomebodyElse, found=leaf, succeeds=self._chain(leaf))
        return False

    def abort(self) -> None:
        self._shaken()
        super().abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.newcomer is None or self._session is None:
            self._gone(reason)
        else:  # the end of a flood's handshakes costs as much as half of one
            self.newcomer.work(partial(self._gone, reason))

    # the handshake

    def _shake_with(self, session: TlsSession, data: bytes) -> None:
        """Go on with it, as far as it may go: of what comes behind its end there may be more."""
        if session.broken:
            return  # the connection ends; some transports still deliver
        room = HANDSHAKE_BYTES - self._came
        self._came += len(data)
        session.receive(data[:room])
        self._shake(session)
        if len(data) < room or session.broken:
            return
        if self.shaking:
            self._give_up("tls.long", f"{HANDSHAKE_BYTES} bytes, and no end of its TLS handshake")
        elif len(data) > room:
            session.receive(data[room:])
            self._read(session)

    def _shake(self, session: TlsSession) -> None:
        """Go on with it."""
        if not session.shake():
            self._put(session.outgoing())
            if session.broken:
                self.transport.loseConnection()
            return
        refusal = self._look_at(session.leaf())
        if refusal is not None:
            self._give_up("tls.leaf", refusal)
        if self._session is not session:  # whoever was asked about the leaf may have aborted us, too
            return
        self.binding = f"tls-{session.exported().hex()}"
        self._shaken()
        if self.dialled:  # at once: the other end has half a millisecond to work at it, while which we make our hello
            self._put(session.outgoing())
        self._ready()  # the other end has but tickets to send: they go with what it says in there
        self._read(session)  # more may have come with the end of the peer's handshake

    def _look_at(self, der: bytes | None) -> str | None:
        """:returns: why it is not accepted."""
        if self.dialled:
            # It was accepted before, or we would not be here; but who is there is not left to one callback alone.
            return None if der is not None and self.accepts(der) else self._refusal or "it shows no certificate"
        try:
            self.leaf = None if der is None else leaf_id(der)
        except BadCertificate as error:
            return str(error)
        return None if self._admits is None else self._admits(self.leaf, self._chain(self.leaf))

    def _chain(self, leaf: HumdId | None) -> Sequence[Succession]:
        """What whoever showed this leaf says of who it was before."""
        return () if leaf is None or self._session is None else chain_behind(self._session.behind(), leaf)

    def _late(self) -> None:
        self._deadline = None
        self._give_up("tls.late", f"no TLS handshake within {self._deadlines.pending_seconds} s")

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
        return failed

    # the session

    def _read(self, session: TlsSession) -> None:
        """Hand on what came; whoever gets it may end the wire."""
        while self._session is session and (data := session.read()):
            self.stuffing -= len(data) + LEAST_RECORD
            super()._handle(data)
        if session.messages and self._session is session:
            self._count(session)
        if (session.amid or self._unsealed is not None) and self._session is session:
            self._stall(session)
        if (session.ended or session.broken) and not self._held and self._session is session:
            self._over(session)

    def _redelivered(self) -> None:
        super()._redelivered()
        if self._session is not None:
            self._read(self._session)  # what was held back may have been the last

    def _count(self, session: TlsSession) -> None:
        """There were messages of TLS's own."""
        self._updates = self._updates or KeyUpdates()
        if self._updates.more(session.messages, self._clock.seconds()):
            session.messages = 0
            self._put(session.outgoing())
        else:
            self._refuse(TooManyKeyUpdates())
            self.abort()

    def _stall(self, session: TlsSession) -> None:
        """A message of TLS's own is in pieces, or was: nothing can be sealed before it is whole."""
        if self._unsealed is None:
            if not self._full:
                super().pauseProducing()
            self._unsealed = b""
        elif not session.amid:
            self._put(session.seal(self._unsealed))
            self._unsealed = None
            if self._closed:
                self._end()
            elif not self._buffered:
                super()._drained()

    def pauseProducing(self) -> None:
        if self._unsealed is None:
            super().pauseProducing()

    def _drained(self) -> None:
        if self._unsealed is None:
            super()._drained()

    def _over(self, session: TlsSession) -> None:
        """The peer ended the session, or broke it."""
        self._put(session.close() or session.outgoing())
        if not self._closed:
            self.transport.unregisterProducer()  # a transport with a producer does not close
        self.transport.loseConnection()
        if self._deadline is None and self._plug is None:  # else nothing waits to leave
            self._deadline = self._clock.callLater(self._deadlines.connection_close_seconds, self._cut)

    def _cut(self) -> None:
        self._deadline = None
        self._abort()

    def _abort(self) -> None:
        self._session = None
        super()._abort()

    def _send(self, data: bytes) -> None:
        if self._unsealed is not None:
            self._unsealed += data  # little, for we are full
        elif self._session is not None:
            self._put(self._session.seal(data))

    def _use(self, plug: Callable[[bytes], int] | None) -> None:
        self._plug = plug

    def _put(self, records: bytes) -> None:
        if records:
            super()._send(records)

    def _end(self) -> None:
        session = self._session
        if session is None or self.shaking:
            self.abort()
            return
        self._put(session.close())
        if session.ended:
            self.transport.loseConnection()
        else:
            self.transport.resumeProducing()  # until it said the same, or we are tired of it

    def _gone(self, reason: Failure) -> None:
        self._part()
        session, self._session = self._session, None
        failed = self._shaken()
        if failed is not None:
            cause = f"the connection ended in the TLS handshake: {in_short(reason)}"
            if self.dialled:
                cause += "; is it a tcp: port, or does the other humd have too many newcomers?"
        if session is not None and session.broken:
            self.broken = True
            cause = f"the TLS handshake failed: {session.broken}"
            reason = Failure(ConnectionLost(f"TLS failed: {session.broken}"))
        elif session is not None and session.ended:
            reason = connectionDone  # as it is without TLS, whatever TCP says of an end that was read already
        elif session is not None and isinstance(reason.value, ConnectionDone):
            reason = Failure(CONNECTION_LOST)  # anybody on the way can end TCP
        super().connectionLost(reason)
        if failed is not None:
            if self._refusal:
                failed("tls.leaf", self._refusal, self.address)
            else:
                failed("tls.handshake", cause, self.address)
