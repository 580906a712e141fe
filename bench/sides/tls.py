"""
TLS without us: bare pyOpenSSL handshakes, and strangers who flood a port.

``accept N | shake PORT N | gather N | spread PORT AT_ONCE | flood PORT RATE | finish PORT | trickle PORT AT_ONCE``.
``accept`` and ``gather`` print ``READY PORT`` and end with one line of JSON; ``gather`` and ``spread`` have many
handshakes under way at a time.  ``flood``, ``finish`` and ``trickle`` print ``READY`` and go on until they are ended,
``flood`` with its line of JSON whenever it is asked on stdin.

The flood is meant to cost us more than it: the same prebuilt ClientHello each time, from sixteen addresses, and nothing
behind it, now and then garbage instead.  So is what trickles: a ClientHello that comes byte by byte, as fast as it is
taken.  All are as nice as can be, for the machine is to be ours: what is measured is what they make *us* do.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL

from bench.measure import be_nice, perform, raise_descriptor_limit, say, tell, tell_rate
from ensemble.identity import HumdKey, certificate_of

HELD: Final = 1000  # half-open connections of the flood at a time; the oldest is closed first
FINISHED: Final = 100  # likewise of those that finished their handshake
GARBAGE_EVERY: Final = 10
SLICE: Final = 0.01  # seconds: the flood keeps its rate over so long
# As if of 12,000 bytes, so that its end is far away.
SLOW_HELLO: Final = b"\x16\x03\x01\x2e\xe0\x01\0\x2e\xdc\x03\x03" + bytes(11_900)
WAIT: Final = 1  # seconds for one answer in a handshake under the flood


def context() -> SSL.Context:
    """As our own sessions: TLS 1.3 alone, no resumption, both ends show a certificate, and nobody judges it."""
    key = HumdKey.generate()
    made = SSL.Context(SSL.TLS_METHOD)
    made.set_min_proto_version(SSL.TLS1_3_VERSION)
    made.set_options(SSL.OP_NO_TICKET)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    made.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    made.use_certificate(x509.load_der_x509_certificate(certificate_of(key)))
    made.use_privatekey(Ed25519PrivateKey.from_private_bytes(key.seed))
    return made


def accept(count: int) -> None:
    """One handshake after the other; the clock runs from the end of the first to that of the last."""
    sessions = context()
    began = 0.0
    with socket.create_server(("127.0.0.1", 0)) as listening:
        say(f"READY {listening.getsockname()[1]}")
        for number in range(count + 1):
            end = SSL.Connection(sessions, listening.accept()[0])
            end.set_accept_state()
            end.do_handshake()
            end.close()
            if not number:
                began = time.perf_counter()
    tell_rate(count, began)


def shake(port: int, count: int) -> None:
    sessions = context()
    for _ in range(count + 1):
        _dial(sessions, socket.create_connection(("127.0.0.1", port))).close()


def gather(count: int) -> None:
    """As `accept`, with as many under way at a time as come."""
    sessions, selector = context(), selectors.DefaultSelector()
    done, began = 0, 0.0
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        selector.register(listening, selectors.EVENT_READ)
        say(f"READY {listening.getsockname()[1]}")
        while done <= count:
            for key, _ in selector.select():
                if key.data is None:
                    end = SSL.Connection(sessions, listening.accept()[0])
                    end.set_accept_state()
                    _begin(selector, end)
                elif _is_over(selector, key.data):
                    began = began or time.perf_counter()
                    done += 1
    tell({"n": count, "rate": (done - 1) / (time.perf_counter() - began)})


def spread(port: int, at_once: int) -> None:
    """As `shake`, with so many under way at a time, until it is ended."""
    sessions, selector = context(), selectors.DefaultSelector()

    def begin() -> None:
        over = True
        while over:  # at once, where the other end answers while the processor is somebody else's
            end = SSL.Connection(sessions, socket.create_connection(("127.0.0.1", port)))
            end.set_tlsext_host_name(b"localhost")
            end.set_connect_state()
            _begin(selector, end)
            over = _is_over(selector, end)

    for _ in range(at_once):
        begin()
    while True:
        for key, _ in selector.select():
            if _is_over(selector, key.data):
                begin()


def _begin(selector: selectors.BaseSelector, end: SSL.Connection) -> None:
    end.setblocking(False)
    selector.register(end, selectors.EVENT_READ, end)


def _is_over(selector: selectors.BaseSelector, end: SSL.Connection) -> bool:
    """Go on with a handshake."""
    try:
        end.do_handshake()
    except SSL.WantReadError:
        return False
    selector.unregister(end)
    end.close()
    return True


def _dial(sessions: SSL.Context, below: socket.socket) -> SSL.Connection:
    end = SSL.Connection(sessions, below)
    end.set_tlsext_host_name(b"localhost")
    end.set_connect_state()
    end.do_handshake()
    return end


def client_hello() -> bytes:
    """One that any server answers with its signature."""
    end = SSL.Connection(context(), None)
    end.set_connect_state()
    with suppress(SSL.WantReadError):
        end.do_handshake()
    return end.bio_read(65536)


def flood(port: int, rate: int) -> None:
    """Offer ``rate`` connections a second, as far as the machine lets us."""
    be_nice()
    raise_descriptor_limit(2 * HELD)
    held: deque[socket.socket] = deque()
    hello, garbage = client_hello(), os.urandom(300)
    offered, began = 0, time.perf_counter()
    say("READY")
    while True:
        due = int((time.perf_counter() - began) * rate)
        for number in range(offered, due):
            end = socket.socket()
            end.setblocking(False)
            end.bind((f"127.1.0.{number % 16 + 1}", 0))
            end.connect_ex(("127.0.0.1", port))
            with suppress(OSError):
                end.send(hello if number % GARBAGE_EVERY else garbage)
            held.append(end)
            if len(held) > HELD:
                held.popleft().close()
        offered = max(offered, due)
        if select.select([sys.stdin], [], [], SLICE)[0]:
            sys.stdin.readline()
            tell({"offered": offered / (time.perf_counter() - began)})
            return


def finish(port: int) -> None:
    """Complete handshakes one after the other, and say nothing on them."""
    be_nice()
    sessions = context()
    held: deque[SSL.Connection] = deque()
    say("READY")
    while True:
        try:
            below = socket.create_connection(("127.0.0.1", port), WAIT, ("127.1.1.1", 0))
            below.settimeout(None)  # OpenSSL wants a blocking one, so the system keeps the time
            below.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", WAIT, 0))
            held.append(_dial(sessions, below))
        except (OSError, SSL.Error):
            continue
        if len(held) > FINISHED:
            held.popleft().close()


def trickle(port: int, at_once: int) -> None:
    """Have so many connections send a ClientHello in segments of one byte, and begin again when one is cut off."""
    be_nice()
    selector = selectors.DefaultSelector()
    number = 0

    def begin() -> None:
        nonlocal number
        number += 1
        end = socket.create_connection(
            ("127.0.0.1", port), WAIT, (f"127.1.{number // 200 % 200}.{number % 200 + 1}", 0)
        )
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
        selector.register(end, selectors.EVENT_WRITE, iter(SLOW_HELLO))

    for _ in range(at_once):
        begin()
    say("READY")
    while True:
        for key, _ in selector.select():
            end, hello = cast(socket.socket, key.fileobj), key.data
            try:
                end.send(bytes((next(hello),)))
            except BlockingIOError:
                continue
            except (OSError, StopIteration):
                selector.unregister(end)
                end.close()
                with suppress(OSError):
                    begin()


if __name__ == "__main__":
    perform((accept, shake, gather, spread, flood, finish, trickle), sys.argv[1:])
