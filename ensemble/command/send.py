"""
``ensemble send``: tones to a peer, as any local program would send them.

Without ``--wait`` it is done when our humd has said what becomes of the tone: a humd takes what a program says in
order, and echoes each rid, so behind each tone goes a ``ping`` without a receiver, and what is wrong with the tone
comes before the echo of that.  With it the whole reply is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from itertools import chain
from typing import Any, BinaryIO, Final
from uuid import uuid4

from ensemble.command.here import Here
from ensemble.command.naming import find_peer
from ensemble.command.outcome import FAILED, OK, BadUsage, CommandFailed
from ensemble.command.reply import Reader, tell_error
from ensemble.command.thrum_socket import ThrumClosed, ThrumSocket
from ensemble.errors import EnsembleError
from ensemble.identity import HumdId
from ensemble.tone import ENDS, NEVER_ANSWERED, BadDocument, RidMinter, envelope_of, read_document

MAX_STDIN: Final = 16 * 1024 * 1024  # bytes of one document


def send(here: Here) -> int:
    """``send``: one tone from the command line, or those on standard input."""
    options = here.options
    peer = find_peer(here, options.peer)
    tones = from_stdin(here.stdin) if options.tone == "-" else iter([_object(options.tone, "the tone")])
    minter = RidMinter(lambda: int(time.time() * 1000))
    first = next(tones, None)
    if first is None:
        raise BadUsage("there was no tone on standard input")
    status = OK
    with closing(ThrumSocket(here.paths().thrum, options.timeout)) as wire:
        exchange = Exchange(here, wire, options.timeout, minter)
        for tone in chain((first,), tones):
            said = dress(tone, peer, minter)
            if options.wait and said["chi"] in NEVER_ANSWERED:
                raise BadUsage(f"nothing ever answers a {said['chi']}: leave --wait out")
            status = (exchange.ask(said) if options.wait else exchange.tell(said)) or status
    return status


def from_stdin(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """
    One JSON object, over as many lines as it likes, or one on each line; lines are read as they come.

    :raises BadUsage: it is neither.
    """
    number, first = 0, b""
    while not first.strip():
        first = stream.readline(MAX_STDIN)
        number += 1
        if not first:
            return
    try:
        yield _object(first, f"line {number}")
    except BadUsage:
        # Not a whole object by itself: then it must be the beginning of one.
        whole = first + stream.read(MAX_STDIN - len(first) + 1)
        if len(whole) > MAX_STDIN:
            raise BadUsage(f"what came on standard input is larger than {MAX_STDIN} bytes") from None
        yield _object(whole, "standard input")
        return
    while line := stream.readline(MAX_STDIN):
        number += 1
        if line.strip():
            yield _object(line, f"line {number}")


def dress(tone: dict[str, Any], peer: HumdId, minter: RidMinter) -> dict[str, Any]:
    """
    The tone as it is sent: with ``to``, and with what an answer is found by.

    :raises BadUsage: it is no tone, or names another receiver.
    """
    said = dict(tone)
    if said.get("to") is not None and HumdId.try_parse(said["to"]) != peer:
        raise BadUsage(f"the tone's own `to` is {said['to']!r}, and you named {peer.short}: leave one out")
    said["to"] = peer.full
    if said.get("rid") is None:
        said["rid"] = minter()
    for chi, key, kind in (("prompt", "sid", "hum"), ("tool-call", "callId", "call")):
        if said.get("chi") == chi and said.get(key) is None:
            said[key] = f"{kind}-{uuid4().hex[:12]}"
    try:
        envelope_of(said)
    except EnsembleError as error:
        raise BadUsage(f'{error}; for example \'{{"chi": "prompt", "modelId": "echo", "text": "hi"}}\'') from None
    return said


class SendTimeout(CommandFailed):
    """Nothing came for too long."""


class Exchange:
    """What goes over one connection, and what comes back for it."""

    def __init__(self, here: Here, wire: ThrumSocket, seconds: float, minter: RidMinter) -> None:
        self._here, self._wire, self._seconds, self._minter = here, wire, seconds, minter
        self._sent: dict[str, str] = {}  # key of an answer: rid of the tone
        self._failed: set[str] = set()  # rids
        self._stray: Mapping[str, Any] | None = None  # an error that says of nothing what it is about

    def tell(self, said: dict[str, Any]) -> int:
        """
        Send, and wait until the humd has queued it for the peer, or refused it.

        :raises CommandFailed: it did neither, in time.
        """
        rid = self._minter()
        self._send(said, {"chi": "ping", "rid": rid})
        while (tone := self._receive()) is not None:
            if tone.get("chi") == "echo" and tone.get("rid") == rid:
                break
            self._judge(tone)
        else:
            raise CommandFailed("send.timeout", f"the humd did not take the tone within {self._seconds:g} s")
        if said["rid"] not in self._failed:
            self._say_sent(said)
        return FAILED if self._failed else OK

    def ask(self, said: dict[str, Any]) -> int:
        """
        Send, and show all that answers.  Whoever does not wait for its end has a worker work no longer.

        :raises CommandFailed: nothing came for too long.
        """
        self._send(said)
        try:
            return self._show(said)
        except (KeyboardInterrupt, BrokenPipeError, SendTimeout):
            if said["chi"] == "prompt":
                with suppress(ThrumClosed):
                    self._wire.send({"chi": "cancel", "sid": said["sid"], "to": said["to"], "rid": self._minter()})
            raise

    def _show(self, said: dict[str, Any]) -> int:
        keys, last = set(_keys(said).values()), ENDS.get(said["chi"])
        reader = Reader(self._here.screen)
        while True:
            tone = self._receive()
            if tone is None:
                reader.end()
                raise SendTimeout("send.timeout", f"no answer for {self._seconds:g} s; --timeout S waits longer")
            chi = tone.get("chi")
            if chi == "echo" or not keys & set(_keys(tone).values()):
                self._judge(tone)
                continue
            reader.tone(tone)
            if last is None or chi in last or (chi == "error" and tone.get("rid") == said["rid"]):
                return reader.end()

    def _say_sent(self, said: dict[str, Any]) -> None:
        screen = self._here.screen
        if screen.json:
            screen.document({"ok": True, "sent": True, **_keys(said), "to": said["to"]})
        else:
            keys = ", ".join(f"{key} {value}" for key, value in _keys(said).items())
            screen.line(f"sent {said['chi']} to {said['to']} ({keys})")

    def _send(self, said: dict[str, Any], *behind: dict[str, Any]) -> None:
        self._wire.send(said, *behind)
        self._failed.discard(said["rid"])  # a rid of somebody's own may come again
        self._sent.update(dict.fromkeys(_keys(said).values(), said["rid"]))

    def _receive(self) -> dict[str, Any] | None:
        try:
            return self._wire.receive(time.monotonic() + self._seconds)
        except ThrumClosed:
            if self._stray is None:
                raise
            qualifier = str(self._stray.get("qualifier") or "error")
            raise CommandFailed(qualifier, f"{qualifier}: {self._stray.get('message')}") from None

    def _judge(self, tone: Mapping[str, Any]) -> None:
        if tone.get("chi") != "error":
            return
        keys = set(_keys(tone).values())
        ours = {self._sent[key] for key in keys if key in self._sent}
        if ours:
            self._failed |= ours
            tell_error(self._here.screen, tone)
        elif not keys:
            self._stray = tone


def _keys(tone: Mapping[str, Any]) -> dict[str, str]:
    return {key: tone[key] for key in ("rid", "sid", "callId") if isinstance(tone.get(key), str)}


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        value = read_document(text)
    except BadDocument as error:
        raise BadUsage(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadUsage(f"{what} must be a JSON object")
    return value
