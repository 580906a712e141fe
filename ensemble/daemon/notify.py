"""
Tell the service manager how we are: ``sd_notify(3)`` without libsystemd.

One datagram of ``NAME=value`` lines to the socket in ``$NOTIFY_SOCKET``; a name that begins with ``@`` is in the
abstract namespace.  Where nobody asked, or nobody listens, nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """What systemd is told with ``Type=notify`` or ``Type=notify-reload``."""

    def __init__(self, environ: Mapping[str, str], monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._monotonic_ns = monotonic_ns

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is done."""
        self._send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload began; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """We are going."""
        self._send("STOPPING=1", "STATUS=saying goodbye")

    def _send(self, *lines: str) -> None:
        address = self._address
        if not address.startswith(("/", "@")):
            return
        target = b"\0" + os.fsencode(address[1:]) if address.startswith("@") else os.fsencode(address)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), target)
        except OSError:
            pass  # whoever started us does not listen; that is theirs to notice
