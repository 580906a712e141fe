"""What wires ask of the socket below them: no delay, keep-alive, and who is at the other end."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionClosed, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, ISystemHandle, ITCPTransport, IUNIXTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from ensemble.interfaces import Arrived

# For peers that cannot be pinged: a dead one is noticed after 60 + 4 * 15 s, not after the system's two hours.
# KEEPALIVE is what macOS calls KEEPIDLE; where a name is missing, that stays the system's.
KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))

# Of struct tcp_info in linux/tcp.h, since Linux 4.1: tcpi_last_ack_recv, in ms, and tcpi_bytes_acked (RFC 4898).
_TCP_INFO: Final = struct.Struct("=56xI60xQ")

# How a connection ended, where nothing says more; Twisted has more than one text for each.
CLOSED: Final = "closed cleanly"
ABORTED: Final = "aborted"
CUT_OFF: Final = "cut off"
UNREACHABLE: Final = "unreachable, or refused on the way"
_ENDS: Final = ((ConnectionDone, CLOSED), (ConnectionAborted, ABORTED), (ConnectionLost, CUT_OFF))  # aborted: lost, too
_SAYS_NO_MORE: Final = ("", *CONNECTION_DONE.args, *CONNECTION_LOST.args)


def in_short(failure: Failure) -> str:
    """What ended a connection, in the words of the system, else in ours, where Twisted has put its own around them."""
    error = failure.value
    if isinstance(error, ConnectError | ConnectionClosed) and error.args and error.args[0] not in _SAYS_NO_MORE:
        # A Failure is what Twisted has where the system says of a dial only that it is over, as for a word of a router.
        return UNREACHABLE if isinstance(error.args[0], Failure) else str(error.args[0])
    ours = next((words for kind, words in _ENDS if isinstance(error, kind)), "")
    return ours or failure.getErrorMessage().removesuffix(".")


def set_no_delay(transport: Any) -> None:
    """Have small writes leave at once (mesh 2.2).  Nothing where it is no TCP."""
    if _is_tcp(transport):
        try:
            transport.setTcpNoDelay(True)
        except OSError:
            pass  # the connection is gone already; connectionLost follows


def send_of(transport: object) -> Callable[[bytes], int] | None:
    """
    To send at once, and not when the reactor next looks at the socket, saves it two system calls and a turn.

    :returns: ``send`` of the socket; None where the transport is not the socket's own.  A wrapper such as TLS hands out
        the methods of what is below it, and what is written there would leave in clear.
    """
    return transport.getHandle().send if isinstance(transport, Connection) else None


def has_unsent(transport: object) -> bool:
    """Whether the transport holds what somebody wrote before us, which a ``send`` of ours would overtake."""
    return isinstance(transport, Connection) and bool(transport.dataBuffer or transport._tempDataBuffer)


def peer_of(transport: Any) -> str:
    """The host at the other end; empty where it has none, as a process."""
    try:
        return host_of(transport.getPeer())
    except NotImplementedError:
        return ""


def set_keep_alive(transport: Any, on: bool) -> None:
    """Have the system probe a silent peer, or no longer.  Nothing where it is no TCP."""
    if not _is_tcp(transport):
        return
    try:
        transport.setTcpKeepAlive(on)
        handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
        if on and isinstance(handle, socket.socket):  # below TLS there is one too, but out of reach
            for name, value in KEEP_ALIVE:
                option = getattr(socket, name, None)
                if option is not None:
                    handle.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        pass  # as above


def arrived(transport: object) -> Arrived | None:
    """
    What of ours the other end's system has acknowledged.

    :returns: None where nobody can tell: the system is not Linux, or the transport not the socket's own.
    """
    if sys.platform != "linux" or not (isinstance(transport, Connection) and _is_tcp(transport)):
        return None
    try:
        handle = transport.getHandle()
        ago, size = _TCP_INFO.unpack_from(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
        (waiting,) = struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)))  # then: too little, if any
    except (OSError, ValueError, struct.error):  # it is closed, or an old system
        return None
    return Arrived(size, waiting, ago / 1000)


def host_of(address: IAddress) -> str:
    """
    The host of a remote address; an IPv4 address that came in as an IPv6 one is itself again.

    :returns: empty where the address has none (a Unix socket, a test).
    """
    host = str(getattr(address, "host", ""))
    if ":" not in host:
        return host
    try:
        ip = ip_address(host)
    except ValueError:
        return host
    return str(ip.ipv4_mapped) if isinstance(ip, IPv6Address) and ip.ipv4_mapped else str(ip)


def _is_tcp(transport: object) -> bool:
    # A Unix socket's class inherits the promise of a TCP one and cannot keep it.
    return ITCPTransport.providedBy(transport) and not IUNIXTransport.providedBy(transport)
