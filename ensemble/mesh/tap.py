"""A tap: a read-only view of the tones that arrive.  It pauses nobody (wire-0.8 section 7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ensemble.errors import EnsembleError
from ensemble.identity import HumdId
from ensemble.tone import decode_checked

TAP_TONES = 256  # tones held for a slow reader
TAP_BYTES = 16 * 1024 * 1024  # of all of them: tones may be of 4 MiB, and come from peers


class TapClosed(EnsembleError):
    """The tap was closed, by its owner or because the ensemble stopped."""


class Tap:
    """
    Tones as they arrive, each decoded only when it is taken.

    The reader that falls 256 tones behind, or 16 MiB, loses the oldest.
    Use it as an async iterator, which ends where it is closed, or call `get`; several readers share the tones.

    :ivar lost: how many, so far.
    """

    def __init__(self, closed: Callable[[Tap], None], peer: HumdId | None = None) -> None:
        """:param peer: only what comes over its link; None for all."""
        self._closed, self._peer = closed, peer
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._waiting: deque[Deferred[dict[str, Any]]] = deque()
        self._open = True
        self.lost = 0

    def put(self, peer: HumdId, line: bytes) -> None:
        """One validated line that came over the link of ``peer``; called by the ensemble."""
        if self._peer is not None and peer != self._peer:
            return
        if self._waiting:
            self._waiting.popleft().callback(decode_checked(line))
            return
        self._lines.append(line)
        self._size += len(line)
        while len(self._lines) > TAP_TONES or (self._size > TAP_BYTES and len(self._lines) > 1):
            self._take()
            self.lost += 1

    def get(self) -> Deferred[dict[str, Any]]:
        """
        The next tone.

        :returns: fires with the tone, or fails with `TapClosed`.  Cancelling takes no tone away.
        """
        waiting: Deferred[dict[str, Any]] = Deferred(self._forget)
        if self._lines:
            waiting.callback(decode_checked(self._take()))
        elif self._open:
            self._waiting.append(waiting)
        else:
            waiting.errback(TapClosed())
        return waiting

    def close(self) -> None:
        """No more tones (idempotent); what was already received can still be taken."""
        if not self._open:
            return
        self._open = False
        self._closed(self)
        while self._waiting:
            self._waiting.popleft().errback(TapClosed())

    def _take(self) -> bytes:
        line = self._lines.popleft()
        self._size -= len(line)
        return line

    def _forget(self, waiting: Deferred[dict[str, Any]]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def __aiter__(self) -> Tap:
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            return await self.get()
        except TapClosed:
            raise StopAsyncIteration from None
