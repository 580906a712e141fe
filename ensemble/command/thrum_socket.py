"""
The thrum socket for a program that may block: tones in, tones out, with a deadline.

For our own short-lived command.  A Twisted program has ``ensemble.thrum.client``.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ensemble.command.control import unreachable
from ensemble.command.outcome import CommandFailed
from ensemble.identity import refuse_strangers
from ensemble.tone import MalformedTone, decode, encode

MAX_LINE: Final = 64 * 1024 * 1024  # bytes of one line that the daemon says
_CHUNK: Final = 1 << 16


class ThrumClosed(CommandFailed):
    """The daemon ended the connection."""

    def __init__(self, message: str) -> None:
        super().__init__("daemon.closed", message)


class ThrumSocket:
    """One connection.  Says no hello: what only sends need not be known as a bee."""

    def __init__(self, path: Path, seconds: float) -> None:
        """
        :param seconds: that connecting, and one `send`, may take.
        :raises NoDaemon: nobody answers there.
        """
        self._seconds = seconds
        self._buffer, self._searched = bytearray(), 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(seconds)
            self._socket.connect(str(path))
            refuse_strangers(self._socket, path)
        except OSError as error:
            self._socket.close()
            raise unreachable(path, error) from None

    def close(self) -> None:
        """It is not needed any more."""
        self._socket.close()

    def send(self, *tones: Mapping[str, Any]) -> None:
        """
        Write tones, all at once.

        :raises IllegalTone: one has no JSON form.
        :raises ThrumClosed: the daemon is gone, or does not read.
        """
        lines = b"".join(encode(tone) + b"\n" for tone in tones)
        self._socket.settimeout(self._seconds)
        try:
            self._socket.sendall(lines)
        except OSError as error:
            raise ThrumClosed(f"the humd did not take the tone: {error.strerror or error}") from None

    def receive(self, until: float) -> dict[str, Any] | None:
        """
        The next tone.  A line that is no tone is passed over.

        :param until: give up then, in the time of ``time.monotonic``.
        :returns: None where nothing came until then.
        :raises ThrumClosed: the connection is at its end.
        """
        while True:
            line = self._line()
            if line is None:
                left = until - time.monotonic()
                if left <= 0 or not self._read(left):
                    return None
            else:
                try:
                    return decode(line)
                except MalformedTone:
                    continue

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _read(self, seconds: float) -> bool:
        if len(self._buffer) > MAX_LINE:
            raise ThrumClosed("what answers is no humd: its line does not end")
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            return False
        except OSError as error:
            raise ThrumClosed(f"the connection to the humd broke: {error.strerror or error}") from None
        if not data:
            raise ThrumClosed("the humd closed the connection")
        self._buffer += data
        return True
