"""
The interfaces that cross rooms.

A *line* is one encoded tone, ``bytes`` without its LF.  Nothing here blocks; all of it is called in the reactor
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from ensemble.errors import RemoteWireError
    from ensemble.identity import HumdAddr, HumdId
    from ensemble.tone import Envelope


class Arrived(NamedTuple):
    """
    What of our bytes, TLS and all, has arrived at the system of the other end, though maybe not at the program there.

    :ivar size: so many, since the connection was made.
    :ivar waiting: so many have left this process and not arrived.
    :ivar ago: seconds since we last heard of any.
    """

    size: int
    waiting: int
    ago: float


class IWireSink(Interface):
    """
    Who is told what happens on a wire.  No method may raise.

    Everything comes from the reactor, never from inside a call to the wire; but ``wire_full`` may come from inside
    `IWire.write`.
    """

    def lines_received(lines: list[bytes]) -> None:
        """
        One or more whole lines, in order, none empty.  The list is the sink's to keep.

        A sink that pauses, closes or aborts the wire in the middle of a list still has the rest of that list in its
        hands: it handles it, holds it or drops it as it sees fit.
        """

    def bytes_trickled() -> None:
        """Bytes arrived that completed no line (of a line that is younger than the wire's own deadline)."""

    def line_refused(error: RemoteWireError) -> None:
        """
        The peer broke framing (a line too long, or unfinished too long; too many bytes in total).

        Nothing more is delivered but ``wire_lost``.  The wire can still be written to; closing it is the sink's part.
        """

    def wire_full() -> None:
        """Stop writing: the transport's own buffer is full."""

    def wire_drained() -> None:
        """
        The transport's buffer drained: go on writing.

        Told only after ``wire_full``, so it means that the peer's side took what it had refused for a while: a sign of
        life.  (A buffer that was never full drains into the system's own, which a dead peer's does too.)
        """

    def wire_lost(reason: str, clean: bool) -> None:
        """
        The wire is gone, for whatever reason; nothing is called after this.

        :param clean: False where it was cut or reset: what we wrote last may not have been read.
        """


class IWire(Interface):
    """
    One connection that carries lines both ways; knows nothing of who is at the other end.

    Made by a transport or a listener; delivers nothing before `start`.
    """

    kind: str = Attribute("``memory``, ``tcp``, ``tls``, ...: the scheme of the hint that leads here")
    dialled: bool = Attribute("True where we opened it")
    peer: HumdAddr | None = Attribute("whom we dialled (or, in memory, who is at the other end); None when accepted")
    address: str = Attribute("the remote address for people and per-address limits: host without port")
    binding: str = Attribute("the channel binding of wire-0.8 section 2: ``none``, ``tls-<hex>``, ``quic-<hex>``")
    leaf: HumdId | None = Attribute(
        "whose key the other end's certificate proved, where there is one: no other is there"
    )
    began: float | None = Attribute(
        "seconds on our clock when it was connected, where TLS came first; None means just now"
    )
    secure: bool = Attribute("True where what is read is known to come from whom the handshake proved")
    max_line: int = Attribute("bytes before the LF that are accepted; settable, counts from the next bytes on")
    received: int = Attribute("bytes received so far, LFs included")
    broken: bool = Attribute("True once it was lost because the other end broke what lies below the lines, as TLS")
    standing: int = Attribute("whose it is, where memory is short: settable, a stranger's until somebody knows more")
    stuffing: int = Attribute("bytes received so far that are in no line: what TLS adds beyond the least that it must")
    sent: int = Attribute("bytes written so far, LFs included; they may not have left yet")
    send_now: Callable[[bytes], int] | None = Attribute(
        "takes bytes as they are and says how many, as ``socket.send`` does; None where only `write` will do, as while "
        "something waits to leave.  Whoever calls it adds to ``sent`` and hands on to `write` what it did not take"
    )

    def start(sink: IWireSink) -> None:
        """Begin to deliver to ``sink``; exactly once."""

    def write(lines: Sequence[bytes]) -> None:
        """Send the lines, in order, as one segment.  Never raises; after a loss it does nothing."""

    def limit_total(limit: int | None) -> None:
        """
        Refuse more than so many bytes in total, counted from the wire's first byte up to the end of each line and of
        what is unfinished; None lifts the limit.

        While it is in force ``lines_received`` gets one line at a time.  So who calls this before `start`, and lifts
        it inside the ``lines_received`` that completes a handshake, need not count: what follows that line, in the
        same chunk or later, belongs to the link, and comes as whole lists again.
        """

    def keep_alive(on: bool) -> None:
        """Have the system below probe a silent peer (for peers that cannot be pinged); nothing where it cannot."""

    def arrived() -> Arrived | None:
        """What of ours has arrived at the other end's system; None where nobody can tell."""

    def pause() -> None:
        """
        Stop reading (idempotent); nothing more is delivered, not even what has arrived.

        Who does not read may not notice that the other end is gone, either.
        """

    def resume() -> None:
        """Read again (idempotent); what had arrived comes first, in a later turn."""

    def close() -> None:
        """Orderly: what was written still leaves; nothing more is delivered but ``wire_lost``."""

    def abort() -> None:
        """At once: what was not sent is lost; nothing more is delivered but ``wire_lost``."""


class IClient(Interface):
    """One local program on the thrum socket, as the node sees it."""

    client_id: str = Attribute("unique for the life of the process (UUIDv4 text)")
    congested: bool = Attribute("True while more than half of its queue is full: pause whoever writes to it")

    def deliver(line: bytes, droppable: bool = False, final: bool = False) -> bool:
        """
        Queue one line for the program.

        :param droppable: the line may be dropped under pressure, oldest first.
        :param final: nobody can be told that it was not taken; where there is no room for that either, the program is
            disconnected.
        :returns: False when it was not taken (queue full, or the client is gone).
        """

    def pause() -> None:
        """Stop reading from the program (idempotent)."""

    def resume() -> None:
        """Read again (idempotent)."""


class INode(Interface):
    """What the thrum socket needs of the node behind it.  No method raises."""

    def client_joined(client: IClient) -> None:
        """A program connected; nothing is known of it."""

    def client_said(client: IClient, envelope: Envelope, line: bytes) -> None:
        """One validated tone from a program, already echoed; it may be past its ``dusk``."""

    def client_garbled(client: IClient, envelope: Envelope, cause: str) -> None:
        """A line from a program is no tone, for ``cause``; ``envelope`` is what could still be read of it."""

    def client_has_room(client: IClient) -> None:
        """A queue that was congested is at most half full again."""

    def client_left(client: IClient) -> None:
        """The program is gone; nothing more is delivered to it."""
