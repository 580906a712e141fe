"""Whether somebody accepts connections where a hint says so: each hint in a thread of its own."""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Sequence
from math import ceil
from threading import Thread
from typing import Final

from attrs import frozen

from ensemble.identity import BadHint, Hint

SECONDS: Final = 3.0  # for one connect
SLACK: Final = 1.0  # seconds more, in which names are looked up: the system sets no limit to that
AT_ONCE: Final = 32  # threads
TRIED: Final = frozenset({"tcp", "tls"})  # the schemes that a TCP connect tells something about


@frozen
class Reached:
    """
    What came of one hint.

    :ivar trouble: why it could not be reached; empty where it was.
    """

    hint: str
    trouble: str = ""


def reach(hints: Sequence[str], connect: Callable[[str, int, float], None] | None = None) -> dict[str, Reached]:
    """
    Try all of them at once; the schemes that cannot be tried are left out.

    :param connect: to a host and port within so many seconds; raises C{OSError}.
    """
    tries = connect if connect is not None else _connect
    tried = [hint for hint in dict.fromkeys(hints) if hint.partition(":")[0] in TRIED]
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


def _work(
    waiting: queue.SimpleQueue[str], found: dict[str, Reached], connect: Callable[[str, int, float], None]
) -> None:
    while True:
        try:
            hint = waiting.get_nowait()
        except queue.Empty:
            return
        found[hint] = _try(hint, connect)


def _try(hint: str, connect: Callable[[str, int, float], None]) -> Reached:
    try:
        host, port = Hint.parse(hint).host_port()
        connect(host, port, SECONDS)
    except TimeoutError:
        return Reached(hint, f"nothing answers within {SECONDS:g} s")
    except OSError as error:
        return Reached(hint, (error.strerror or str(error)).lower())
    except (BadHint, UnicodeError) as error:
        return Reached(hint, str(error))
    return Reached(hint)


def _connect(host: str, port: int, seconds: float) -> None:
    socket.create_connection((host, port), seconds).close()
