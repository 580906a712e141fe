"""
Whether somebody accepts connections where a hint says so: each hint in a thread of its own.

On a ``tls`` port the TLS handshake is done to its end, with our own certificate, and ended as TLS wants it.  A humd
that knows us sees us come and leave, which is nothing to it; a connection that only breaks off would be logged as a
refusal.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Sequence
from errno import EADDRNOTAVAIL, EAFNOSUPPORT, ENETUNREACH
from functools import partial
from math import ceil
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import frozen

from ensemble.identity import NO_ZONE, BadCertificate, BadHint, Hint, HumdKey, fingerprint, leaf_id

if TYPE_CHECKING:
    from ensemble.protocols import TlsSessions

SECONDS: Final = 3.0  # for the connection, and as many for TLS on it
SLACK: Final = 1.0  # seconds more, in which names are looked up: the system sets no limit to that
AT_ONCE: Final = 32  # threads
TRIED: Final = frozenset({"tcp", "tls"})  # the schemes that a TCP connect tells something about
_CHUNK: Final = 1 << 14
_NO_WAY: Final = frozenset({EADDRNOTAVAIL, EAFNOSUPPORT, ENETUNREACH})  # from this machine

Place: TypeAlias = tuple[socket.AddressFamily, Any]
Connect: TypeAlias = Callable[[Sequence[Place]], bytes]


class _TooLate(ConnectionError):
    """There is a connection, and no end of the handshake."""


@frozen
class Reached:
    """
    What came of one hint.

    :ivar trouble: why it could not be reached; empty where it was.
    :ivar mend: what could be done about that; empty for the usual.
    :ivar found: the id of who is there, by its certificate; None where that says none, or could not be seen.
    :ivar pin: ``tls-fp:`` of that certificate.
    """

    hint: str
    trouble: str = ""
    mend: str = ""
    found: str | None = None
    pin: str = ""


def reach(hints: Sequence[str], key: HumdKey | None = None, connect: Connect | None = None) -> dict[str, Reached]:
    """
    Try all of them at once; the schemes that cannot be tried are left out.

    :param key: ours; without it no TLS is spoken.
    :param connect: to one of some addresses; raises ``OSError``; returns the certificate (DER) that is shown there, or
        nothing.
    """
    tried = [hint for hint in dict.fromkeys(hints) if hint.partition(":")[0] in TRIED]
    tries = dict.fromkeys(TRIED, connect if connect is not None else _connect)
    if key is not None and any(hint.startswith("tls:") for hint in tried):
        from ensemble.protocols import TlsSessions  # with Twisted behind it, which nothing else of the command needs

        tries["tls"] = partial(_shake, TlsSessions(key))
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for hint in tried:
        waiting.put(hint)
    # Daemon threads: one that is stuck in the resolver keeps nobody waiting, nor the process from ending.
    found: dict[str, Reached] = {}
    threads = [Thread(target=_work, args=(waiting, found, tries), daemon=True) for _ in tried[:AT_ONCE]]
    until = time.monotonic() + (2 * SECONDS + SLACK) * ceil(len(tried) / AT_ONCE)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    return {hint: found.get(hint) or Reached(hint, "its name cannot be looked up in time") for hint in tried}


def _work(waiting: queue.SimpleQueue[str], found: dict[str, Reached], tries: dict[str, Connect]) -> None:
    while True:
        try:
            hint = waiting.get_nowait()
        except queue.Empty:
            return
        looked_up = partial(found.__setitem__, hint, _silent(hint))
        found[hint] = _try(hint, tries[hint.partition(":")[0]], looked_up)


def _try(hint: str, connect: Connect, looked_up: Callable[[], None]) -> Reached:
    try:
        parsed = Hint.parse(hint)
        if mend := parsed.zone_mend:
            return Reached(hint, NO_ZONE, mend)
        places = _places(*parsed.host_port())
        looked_up()
        shown = connect(places)
    except TimeoutError:
        return _silent(hint)
    except OSError as error:
        return Reached(hint, error.strerror.lower() if error.strerror else str(error), _mend(error))
    except (BadHint, UnicodeError) as error:
        return Reached(hint, str(error))
    try:
        leaf = leaf_id(shown)
    except BadCertificate:
        return Reached(hint)
    return Reached(hint, found=leaf.full if leaf is not None else None, pin=f"tls-fp:{fingerprint(shown)}")


def _silent(hint: str) -> Reached:
    return Reached(hint, f"nothing answers within {SECONDS:g} s")


def _mend(error: OSError) -> str:
    if isinstance(error, _TooLate):
        return "is it a humd, and do large packets reach it, and come back? (its path MTU)"
    if isinstance(error, socket.gaierror):
        return "is the name right, and does the resolver of this machine answer?"
    if error.errno in _NO_WAY:
        return "has this machine a network that leads there?"
    return ""


def _places(host: str, port: int) -> list[Place]:
    return [(family, address) for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _open(places: Sequence[Place]) -> socket.socket:
    """
    To the first that takes it; each has its share of the time.

    :raises OSError: of the first of them to which this machine has a way, else of the first.
    """
    until = time.monotonic() + SECONDS
    errors = []
    for left, (family, address) in zip(range(len(places), 0, -1), places, strict=True):
        connection = None
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(max((until - time.monotonic()) / left, 0.001))
            connection.connect(address)
        except OSError as error:
            errors.append(error)
            if connection is not None:
                connection.close()
        else:
            return connection
    raise next((each for each in errors if each.errno not in _NO_WAY), (*errors, OSError("it has no address"))[0])


def _connect(places: Sequence[Place]) -> bytes:
    _open(places).close()
    return b""


def _shake(sessions: TlsSessions, places: Sequence[Place]) -> bytes:
    session = sessions.dial(lambda _: True)  # whoever it is
    with _open(places) as connection:
        until = time.monotonic() + SECONDS
        while not session.shake():
            if session.broken:
                raise ConnectionError("it accepts connections, and does not speak our TLS")
            connection.sendall(session.outgoing())
            connection.settimeout(max(until - time.monotonic(), 0.001))
            try:
                data = connection.recv(_CHUNK)
            except TimeoutError:
                raise _TooLate(f"it accepts connections, and no TLS within {SECONDS:g} s") from None
            if not data:
                raise ConnectionError("it accepts connections, and ends them in the TLS handshake")
            session.receive(data)
        connection.sendall(session.outgoing() + session.close())
    return session.leaf() or b""
