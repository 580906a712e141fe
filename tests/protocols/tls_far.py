"""Who is at the other end of a socket that only pretends, and speaks TLS."""

from __future__ import annotations

from tests.protocols.tls_peers import Credential, Sessions
from tests.protocols.tls_sealing import HANDSHAKE, KEY_UPDATE, Sealer, SealingSession


class Far:
    """
    The other end: OpenSSL shakes hands and reads; what it says from then on it seals itself.

    :ivar going: what it sent, and nobody delivered yet.
    :ivar said: whole lines, then what is unfinished, all of it before its end.
    :ivar honest: so far nothing was wrong with what it sent.
    """

    def __init__(self, credential: Credential | None, listens: bool) -> None:
        self._session = SealingSession(Sessions(credential), listens)
        self.going, self.heard, self.said = bytearray(self._session.shake()), b"", b""
        self.honest, self.ended = True, False
        self._rest = b""  # of a message that it sends in pieces; until that is whole nothing else may come

    @property
    def sealer(self) -> Sealer | None:
        """Of what it says; None until the handshake is complete."""
        return self._session.sealer

    def hear(self, data: bytes) -> None:
        self.going += self._session.receive(data)
        self.heard += b"".join(self._session.read())

    def say(self, data: bytes, size: int) -> None:
        self.whole()
        if self.sealer is not None and not self.ended:
            self.said += data
            size = max(size, len(data) // 50 + 1)
            for at in range(0, len(data), size):
                self.going += self.sealer.seal(data[at : at + size])

    def tls(self, content: bytes, kind: int) -> None:
        """A record of TLS's own."""
        self.whole()
        if self.sealer is not None and not self.ended:
            self.going += self.sealer.seal(content, kind)

    def update(self, size: int) -> None:
        """The next bytes of a KeyUpdate, in a record of their own."""
        if self.sealer is not None and not self.ended:
            left = self._rest or KEY_UPDATE
            self.going += self.sealer.seal(left[:size], HANDSHAKE)
            self._rest = left[size:]
            if not self._rest:
                self.sealer.next_key()

    def whole(self) -> None:
        """No message is in pieces."""
        if self._rest:
            self.update(len(self._rest))
