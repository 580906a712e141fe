"""
Whether somebody accepts connections where a hint says so: each hint in a thread of its own.

On a C{tls} port the TLS handshake is done to its end, with our own certificate, and ended as TLS wants it.  A humd that
knows us sees us come and leave, which is nothing to it; a connection that only breaks off would be logged as a refusal.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from ensemble.identity import BadCertificate, BadHint, Hint, HumdKey, fingerprint, leaf_id

if TYPE_CHECKING:
    from ensemble.protocols import TlsSessions

SECONDS: Final = 3.0  # for one connect
SLACK: Final = 1.0  # seconds more, in which names are looked up: the system sets no limit to that
AT_ONCE: Final = 32  # threads
TRIED: Final = frozenset({"tcp", "tls"})  # the schemes that a TCP connect tells something about
_CHUNK: Final = 1 << 14

Connect: TypeAlias = Callable[[str, int, float], bytes]


@frozen
class Reached:
    """
    What came of one hint.

    :ivar trouble: why it could not be reached; empty where it was.
    :ivar found: the id of who is there, by its certificate; None where that says none, or could not be seen.
    :ivar pin: C{tls-fp:} of that certificate.
    """

    hint: str
    trouble: str = ""
    found: str | None = None
    pin: str = ""


def reach(hints: Sequence[str], key: HumdKey | None = None, connect: Connect | None = None) -> dict[str, Reached]:
    """
    Try all of them at once; the schemes that cannot be tried are left out.

    :param key: ours; without it no TLS is spoken.
    :param connect: to a host and port within so many seconds; raises C{OSError}; returns the certificate (DER) that
        is shown there, or nothing.
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
    until = time.monotonic() + (SECONDS + SLACK) * ceil(len(tried) / AT_ONCE)
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
        found[hint] = _try(hint, tries[hint.partition(":")[0]])


def _try(hint: str, connect: Connect) -> Reached:
    try:
        host, port = Hint.parse(hint).host_port()
        shown = connect(host, port, SECONDS)
    except TimeoutError:
        return Reached(hint, f"nothing answers within {SECONDS:g} s")
    except OSError as error:
        return Reached(hint, error.strerror.lower() if error.strerror else str(error))
    except (BadHint, UnicodeError) as error:
        return Reached(hint, str(error))
    try:
        leaf = leaf_id(shown)
    except BadCertificate:
        return Reached(hint)
    return Reached(hint, found=leaf.full if leaf is not None else None, pin=f"tls-fp:{fingerprint(shown)}")


def _connect(host: str, port: int, seconds: float) -> bytes:
    socket.create_connection((host, port), seconds).close()
    return b""


def _shake(sessions: TlsSessions, host: str, port: int, seconds: float) -> bytes:
    until = time.monotonic() + seconds
    session = sessions.dial(lambda _: True)  # whoever it is
    with socket.create_connection((host, port), seconds) as connection:
        while not session.shake():
            if session.broken:
                raise ConnectionError("it accepts connections, and does not speak our TLS")
            connection.sendall(session.outgoing())
            connection.settimeout(max(until - time.monotonic(), 0.001))
            data = connection.recv(_CHUNK)
            if not data:
                raise ConnectionError("it accepts connections, and ends them in the TLS handshake")
            session.receive(data)
        connection.sendall(session.outgoing() + session.close())
    return session.leaf() or b""
