"""
How each program is started and what it said: every function here gives a ``run`` for one `bench.harness.Program`.

Every figure is taken by the process at the receiving end, and every process is fresh.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.harness import Crew, Side, SideFailed, free_port
from ensemble.command.control import NoDaemon, ask_daemon
from ensemble.identity.keyfile import load_or_mint

Run = Callable[[Crew], dict[str, float]]

ASYNCIO = "bench.asyncio_json"
SOCKETS = "bench.socket_pump"
STREAM = "bench.sides.stream"
MESH = "bench.sides.mesh"
THRUM = "bench.sides.thrum"
SOCKET = "thrum.sock"
TLS = "bench.sides.tls"
FLOOD = 10  # times what the machine can do
SWELL_SECONDS = 0.5  # of flood before the first tone
START_SECONDS = 30.0  # for a daemon to answer
QUEUE_BYTES = 64 * 1024 * 1024  # more than all the tones that one asker is sent


def _figures(side: Side, count: int | None = None) -> dict[str, float]:
    figures = side.result()
    if count is not None and figures.get("n") != count:
        raise SideFailed(f"{side.name}: got {figures.get('n')} of {count} tones\n{side.complaint()}")
    return {name: float(value) for name, value in figures.items()}


def pair(module: str, count: int, *over: str) -> Run:
    """``recv`` and ``send PORT N`` of one module."""

    def run(crew: Crew) -> dict[str, float]:
        receiver = crew.python(module, *over, "recv")
        crew.python(module, *over, "send", receiver.ready(), count)
        return _figures(receiver, count)

    return run


def rtt(module: str, count: int) -> Run:
    """``echo`` and ``rtt PORT N`` of one module."""

    def run(crew: Crew) -> dict[str, float]:
        port = crew.python(module, "echo").ready()
        return _figures(crew.python(module, "rtt", port, count))

    return run


def relay(module: str, count: int) -> Run:
    """Bare sockets at both ends, so that only the relay differs."""

    def run(crew: Crew) -> dict[str, float]:
        sink = crew.python(SOCKETS, "recv")
        relay = crew.python(module, "relay", sink.ready())
        crew.python(SOCKETS, "send", relay.ready(), count)
        return _figures(sink, count)

    return run


def hold(module: str, links: int, *over: str, crowd: str = SOCKETS) -> Run:
    """``hold N`` of one module, dialled by ``crowd PORT N`` of another: ``bench.sides.mesh`` needs its own."""

    def run(crew: Crew) -> dict[str, float]:
        holder = crew.python(module, *over, "hold", links)
        crew.python(crowd, *over, "crowd", holder.ready(), links).result()
        holder.tell("measure")
        figures = _figures(holder)
        if figures["links"] != links:
            raise SideFailed(f"{holder.name}: holds {figures['links']:.0f} of {links} links")
        return {**figures, "per_link": figures["bytes"] / links}

    return run


def tokio_pair(path: str, count: int) -> Run:
    def run(crew: Crew) -> dict[str, float]:
        port = str(free_port())
        receiver = crew.start(path, "recv", port)
        receiver.ready()
        crew.start(path, "send", port, str(count))
        return _figures(receiver, count)

    return run


def tokio_relay(path: str, count: int) -> Run:
    def run(crew: Crew) -> dict[str, float]:
        sink = crew.python(SOCKETS, "recv")
        port = str(free_port())
        crew.start(path, "relay", port, str(sink.ready())).ready()
        crew.python(SOCKETS, "send", port, count)
        return _figures(sink, count)

    return run


def tokio_rtt(path: str, count: int) -> Run:
    def run(crew: Crew) -> dict[str, float]:
        port = str(free_port())
        crew.start(path, "echo", port).ready()
        return _figures(crew.start(path, "rtt", port, str(count)))

    return run


def pump_fan(peers: int, count: int, per_turn: int) -> Run:
    def run(crew: Crew) -> dict[str, float]:
        receiver = crew.python(SOCKETS, "drain", peers, count, 0)
        crew.python(SOCKETS, "fan", receiver.ready(), peers, count, per_turn)
        return _figures(receiver, peers * count)

    return run


def fanout(peers: int, count: int, per_turn: int, named: bool = False) -> Run:
    """The receivers are bare sockets here too, playing unsigned 0.7.0 peers: only the sender differs."""

    def run(crew: Crew) -> dict[str, float]:
        receiver = crew.python(SOCKETS, "drain", peers, count, 1)
        crew.python(MESH, "fan", receiver.ready(), peers, count, per_turn, int(named))
        return _figures(receiver, peers * count)

    return run


def handshakes(count: int, at_once: int = 1) -> Run:
    """So many diallers link, say goodbye and link again, each one link after the other; the listener counts."""

    def run(crew: Crew) -> dict[str, float]:
        listener = crew.python(MESH, "tls", "welcome", count)
        crew.python(MESH, "tls", "greet", listener.ready(), count, at_once)
        return _figures(listener, count)

    return run


def bare_handshakes(count: int, at_once: int = 1) -> Run:
    """Nothing but OpenSSL: one after the other on blocking sockets, or so many under way at a time."""

    def run(crew: Crew) -> dict[str, float]:
        accept, shake, many = ("accept", "shake", count) if at_once == 1 else ("gather", "spread", at_once)
        listener = crew.python(TLS, accept, count)
        crew.python(TLS, shake, listener.ready(), many)
        return _figures(listener, count)

    return run


def _linked(crew: Crew, count: int) -> tuple[Side, int, Side]:
    """A receiver, its port, and a sender that is linked to it over TLS and waits for a word."""
    receiver = crew.python(MESH, "tls", "recv", count)
    port = receiver.ready()
    sender = crew.python(MESH, "tls", "later", port, count)
    sender.ready()
    return receiver, port, sender


def flooded(count: int, handshakes: int) -> Run:
    """
    Tones of a proven link over TLS, while strangers open ten times the handshakes that bare OpenSSL can do here.

    :param handshakes: bare ones that are made first, to know how many that are; none: it stays quiet.
    """

    def run(crew: Crew) -> dict[str, float]:
        able = bare_handshakes(handshakes)(crew)["rate"] if handshakes else 0.0
        receiver, port, sender = _linked(crew, count)
        told = {}
        if handshakes:
            flood = crew.python(TLS, "flood", port, int(FLOOD * able))
            for side in (flood, crew.python(TLS, "finish", port)):
                side.ready()
            time.sleep(SWELL_SECONDS)
        sender.tell("go")
        figures = _figures(receiver, count)
        if handshakes:
            flood.tell("enough")
            told = {"able": able, **_figures(flood)}
        return {**figures, **told}

    return run


def trickled(count: int, at_once: int) -> Run:
    """The same, while so many strangers send a ClientHello byte by byte."""

    def run(crew: Crew) -> dict[str, float]:
        receiver, port, sender = _linked(crew, count)
        crew.python(TLS, "trickle", port, at_once).ready()
        time.sleep(SWELL_SECONDS)
        sender.tell("go")
        return _figures(receiver, count)

    return run


def daemon(count: int) -> Run:
    """Two real ``twistd humd`` over TCP; a worker on one, an asker on the other."""

    def run(crew: Crew) -> dict[str, float]:
        asking, working = (crew.folder() / name for name in ("asking", "working"))
        ids = []
        for home in (asking, working):
            home.mkdir(mode=0o700)
            key, _ = load_or_mint(home / "key", os.urandom)
            ids.append(key.humd_id().full)
        hints = _start_humd(crew, working, {"humd_id": ids[0]}, "--listen", "tcp:0:interface=127.0.0.1")
        # On a busy machine the asker may read later than its daemon would wait, and be cut off: it may have all queued.
        _start_humd(crew, asking, {"humd_id": ids[1], "hints": hints}, "--limit", f"client_queue_bytes={QUEUE_BYTES}")
        crew.python(THRUM, "worker", working / SOCKET, count).ready()
        return _figures(crew.python(THRUM, "asker", asking / SOCKET, ids[1]), count)

    return run


def _start_humd(crew: Crew, home: Path, row: Mapping[str, object], *more: str) -> list[str]:
    """:returns: where it listens."""
    (home / "peers.json").write_text(json.dumps({"peers": [row]}))
    options = {"--state-dir": home, "--key": home / "key", "--peers": home / "peers.json", "--thrum": home / SOCKET}
    words = [str(part) for pair in options.items() for part in pair]
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
    crew.start(*twistd, "humd", *words, *more, talks=False)
    deadline = time.monotonic() + START_SECONDS
    while True:
        crew.check()
        try:
            hints: list[str] = ask_daemon(home / f"{SOCKET}.control", "status")["listening"]
            return hints
        except NoDaemon:
            if time.monotonic() > deadline:
                raise SideFailed(f"no daemon in {home} within {START_SECONDS:.0f} s") from None
        time.sleep(0.05)


def ceiling(per_link: float) -> Run:
    """Not a program: a number that another is held against."""
    return lambda crew: {"per_link": per_link}
