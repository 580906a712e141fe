"""
The limit: bare blocking sockets, prebuilt bytes, lines split and counted, no codec at all.

``recv | send PORT N | echo | rtt PORT N | relay OUT | fan PORT PEERS N PER_WRITE | drain PEERS N HELLOS | hold N |
crowd PORT N``.  A listener prints ``READY PORT``; whoever measures ends with one line of JSON.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

from bench.measure import percentiles, perform, raise_descriptor_limit, resident, say, tell, tell_rate
from bench.tones import BLOCK, GOSSIP_LINE, LINE, TURN, crowd_hello

CHUNK = 65536  # bytes asked for in one read, as in Twisted


def listener(backlog: int = 1) -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    say(f"READY {listening.getsockname()[1]}")
    return listening


def accept() -> socket.socket:
    connection, _ = listener().accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def recv() -> None:
    connection = accept()
    count, rest, began = 0, b"", 0.0
    while data := connection.recv(CHUNK):
        if not began:
            began = time.perf_counter()
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        count += len(lines)
    tell_rate(count, began)


def send(port: int, count: int) -> None:
    connection = dial(port)
    for _ in range(count // TURN):
        connection.sendall(BLOCK)
    connection.sendall((LINE + b"\n") * (count % TURN))


def relay(out: int) -> None:
    incoming, outgoing, rest = accept(), dial(out), b""
    while data := incoming.recv(CHUNK):
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        outgoing.sendall(b"\n".join(lines) + b"\n" if lines else b"")


def echo() -> None:
    connection = accept()
    while data := connection.recv(CHUNK):
        connection.sendall(data)


def rtt(port: int, count: int) -> None:
    connection, line = dial(port), LINE + b"\n"
    trips: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        connection.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += connection.recv(CHUNK)
        trips.append(time.perf_counter() - began)
    tell(percentiles(trips))


def fan(port: int, peers: int, count: int, per_write: int) -> None:
    """Write ``count`` tones of gossip to each of ``peers`` sockets, ``per_write`` in each call."""
    connections = [dial(port) for _ in range(peers)]
    block = (GOSSIP_LINE + b"\n") * per_write
    for _ in range(count // per_write):
        for connection in connections:
            connection.sendall(block)


def drain(peers: int, count: int, hellos: int) -> None:
    """
    Accept ``peers`` connections and read until ``count`` tones came on each: one receiver for whoever fans out.

    :param hellos: 1: be the peers `bench.tones.crowd_id` of version 0.7.0, and take the first lines for their hellos.
    """
    raise_descriptor_limit(peers + 64)
    listening, selector = listener(peers), selectors.DefaultSelector()
    for number in range(peers):
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hellos:
            connection.sendall(crowd_hello(number))
            while connection.recv(1) != b"\n":
                pass
        selector.register(connection, selectors.EVENT_READ, connection)
    left, began = peers * count, 0.0
    buffer = bytearray(CHUNK * 4)
    while left > 0:
        if not selector.get_map():
            raise SystemExit(f"the senders left {left} tones before the end")
        for key, _ in selector.select():
            size = key.data.recv_into(buffer)
            if not size:
                selector.unregister(key.data)
                continue
            began = began or time.perf_counter()
            left -= buffer.count(b"\n", 0, size)
    tell_rate(peers * count, began)


def hold(count: int) -> None:
    """Accept ``count`` connections, keep them, and say what they cost once asked on stdin."""
    raise_descriptor_limit(count + 64)
    listening = listener(1024)
    before = resident()
    kept = [listening.accept()[0] for _ in range(count)]
    sys.stdin.readline()
    tell({"links": len(kept), "bytes": resident() - before})


def crowd(port: int, count: int) -> None:
    """Open ``count`` connections and keep them until stdin ends."""
    raise_descriptor_limit(count + 64)
    kept = [dial(port) for _ in range(count)]
    tell({"links": len(kept)})
    sys.stdin.read()


if __name__ == "__main__":
    perform((recv, send, echo, rtt, relay, fan, drain, hold, crowd), sys.argv[1:])
