"""
The numbers that the wire fixes, as they are written there.

Tests of behaviour mostly name a constant, so they would follow it wherever it goes: here is what keeps it in place.
"""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from ensemble.config import paths, peers
from ensemble.conversations import asks
from ensemble.daemon import control, descriptors, listeners, paced_port
from ensemble.identity import MAX_CHAIN, addr
from ensemble.mesh import Limits, allowance, chronicle, defaults, inbound, link_order, proof_memory, tap
from ensemble.protocols import (
    DEADLINES,
    PENDING_SECONDS,
    budget,
    handshake,
    hello,
    memory,
    names,
    ndjson,
    newcomer,
    share,
    tls,
    tls_sessions,
)
from ensemble.protocols.deadlines import PAUSED_PINGS
from ensemble.thrum import session
from ensemble.tone import MAX_DEPTH, MAX_TEXT, THRUM_VERSION

MIB = 1024 * 1024


class NumberTests(SynchronousTestCase):
    """A change of one of these is a change of the wire, or of what other humds were promised."""

    def test_hello(self) -> None:
        """What a hello may say, and how old a signed one may be."""
        self.assertEqual(THRUM_VERSION, "0.8.0")
        self.assertEqual((hello.HELLO_WINDOW_MS, hello.MAX_FEATURES), (60_000, 64))
        self.assertEqual(hello.MAX_HELLO, 12 * 1024)
        self.assertEqual((hello.MIN_MAX_TONE, hello.DEFAULT_MAX_TONE), (1024, 4 * MIB))
        self.assertEqual((proof_memory.MAX_STRANGERS, proof_memory.MAX_HELLOS), (65_536, 65_536))

    def test_pending(self) -> None:
        """What a link may take and cost before it is up, TLS included."""
        self.assertEqual((DEADLINES.pending_seconds, handshake.PENDING_BYTES), (10, 16 * 1024))
        self.assertEqual((newcomer.MOST_LINES, newcomer.MOST_PIECES), (128, 2048))
        self.assertEqual((PENDING_SECONDS, DEADLINES.dial_seconds), (10, 10))
        self.assertEqual((tls_sessions.EXPORTER_LABEL, tls_sessions.EXPORTER_LENGTH), (b"EXPORTER-hum-ensemble", 32))
        self.assertEqual((tls_sessions.KEY_UPDATES, tls_sessions.KEY_UPDATE_SECONDS), (64, 600.0))
        self.assertEqual((tls.HANDSHAKE_BYTES, tls_sessions.MESSAGE_BYTES), (12 * 1024, 32 * 1024))
        self.assertEqual((Limits().pending_links, Limits().address_pending_links), (256, 64))

    def test_one_link(self) -> None:
        """How long two links may be two."""
        self.assertEqual((defaults.CROSSED_SECONDS, defaults.SETTLE_SECONDS, defaults.MOVE_SECONDS), (15.0, 5.0, 10.0))
        self.assertEqual((defaults.WATCH_SECONDS, link_order.MOST_PAST), (10.0, 4096))
        self.assertEqual((defaults.REPLACED_OFTEN, defaults.REPLACED_SECONDS), (3, 60.0))

    def test_dialling(self) -> None:
        """When a peer is dialled again."""
        self.assertEqual((defaults.REDIAL_FIRST_SECONDS, defaults.REDIAL_LAST_SECONDS), (1.0, 60.0))
        self.assertEqual((defaults.STEADY_SECONDS, defaults.STAGGER_SECONDS), (60.0, 0.25))

    def test_liveness(self) -> None:
        """When silence is asked about, and when it is the end."""
        self.assertEqual((DEADLINES.ping_after_seconds, DEADLINES.gone_after_seconds), (15, 30))
        waited_for = (DEADLINES.waited_for_ping_after_seconds, DEADLINES.waited_for_gone_after_seconds)
        self.assertEqual(waited_for, (3, 6))
        self.assertEqual((DEADLINES.stuck_ping_seconds, DEADLINES.unfinished_line_seconds), (60, 60))
        self.assertEqual((defaults.PONGS_AT_ONCE, defaults.PONG_SECONDS), (10, 1.0))
        self.assertEqual(defaults.PING_SECONDS_PAUSED, 3.0)
        self.assertLess(defaults.PING_SECONDS_PAUSED, PAUSED_PINGS)  # whoever has paused is not taken for gone

    def test_lines(self) -> None:
        """How long, how deep and how many lines may be."""
        self.assertEqual((ndjson.DEFAULT_MAX_LINE, session.MAX_LINE), (4 * MIB, 16 * MIB))
        self.assertEqual(Limits().thrum_max_tone_bytes, 16 * MIB)
        self.assertEqual((MAX_DEPTH, MAX_TEXT), (127, 4096))
        self.assertEqual(Limits().unfinished_lines_bytes, 64 * MIB)

    def test_queues(self) -> None:
        """What waits for somebody who does not read."""
        limits = Limits()
        self.assertEqual((limits.peer_queue_bytes, limits.client_queue_bytes, limits.peer_hold_bytes), (8 * MIB,) * 3)
        self.assertEqual((DEADLINES.client_pause_seconds, tap.TAP_TONES), (5, 256))
        self.assertEqual((memory.IN_FLIGHT, memory.PARTITION_BUFFER), (256, 64))

    def test_asks(self) -> None:
        """What is remembered of those who ask."""
        self.assertEqual((asks.MAX_ASKS, asks.MAX_ORPHANS, asks.REMEMBERED), (4096, 4096, 900.0))
        self.assertEqual((asks.MAX_KEYS, asks.MAX_BYTES), (2 * MIB, 64 * MIB))

    def test_people(self) -> None:
        """What people see of it: the longest path of a socket."""
        longest = 99 if sys.platform == "linux" else 95
        self.assertEqual((paths.MAX_THRUM, paths.CONTROL_SUFFIX), (longest, ".control"))
        self.assertLessEqual(paths.MAX_THRUM + len(paths.CONTROL_SUFFIX), 107)  # of a Unix socket


class PageTests(SynchronousTestCase):
    """What ``docs`` names in prose: a change of one of these makes a page wrong."""

    def test_newcomers(self) -> None:
        """What connections from anybody may take."""
        limits = Limits()
        self.assertEqual((limits.handshake_percent, limits.accept_percent), (10, 5))
        self.assertEqual((share.FLOW_BYTES, share.FLOW_SECONDS, share.BURST_SECONDS), (256 * 1024, 1.0, 0.05))
        self.assertEqual((newcomer.FREE_READS, newcomer.TURN_LINES, newcomer.READ_BYTES), (6, 256, 64 * 1024))
        self.assertEqual((paced_port.ACCEPTS_AT_ONCE, listeners.BACKLOG), (20, 1024))
        self.assertEqual((descriptors.KEPT, descriptors.KEPT_FROM_DIALS), (64, 32))
        self.assertEqual(defaults.SETTLED_SECONDS, 2.0)
        self.assertEqual((tls_sessions.RSA_BITS, tls_sessions.RSA_EXPONENT), (4096, 2**32))

    def test_dials(self) -> None:
        """How many of ours there are at once."""
        self.assertEqual((defaults.PEER_DIALS, Limits().pending_dials), (8, 128))
        self.assertEqual((names.LOOK_UPS, names.PEER_LOOK_UPS, names.KEPT_LOOK_UPS), (8, 2, 2))
        self.assertEqual((names.MAX_ADDRESSES, names.LOOK_UP_SECONDS), (8, 60.0))

    def test_paces(self) -> None:
        """How fast a peer may send, and what all may hold."""
        limits = Limits()
        self.assertEqual((*limits.pace(known=True), *limits.pace(known=False)), (500_000, 1024 * MIB, 2_000, 2 * MIB))
        self.assertEqual((limits.burst_seconds, allowance.LEAST_PAUSE), (2, 0.1))
        self.assertEqual((allowance.MALFORMED_PER_SECOND, allowance.MALFORMED_AT_ONCE), (4000, 500))
        self.assertEqual((inbound.REFUSED, inbound.SEARCHED), (2, 40))
        self.assertEqual((limits.queues_bytes, list(budget.SHARES.values())), (256 * MIB, [25, 50, 25]))
        self.assertEqual((chronicle.LINES, chronicle.CROWD_LINES, chronicle.PER_SECOND), (12, 60, 1.0))

    def test_peers_file(self) -> None:
        """What a row may name, and how many rows count."""
        self.assertEqual((peers.MAX_ROWS, peers.MAX_FILE, peers.MAX_ALIAS), (16_384, 4 * MIB, 128))
        self.assertEqual((addr.MAX_HINTS, addr.MAX_HINT, addr.MAX_HOST), (32, 512, 253))

    def test_control(self) -> None:
        """What the control socket takes."""
        self.assertEqual((control.CONNECTIONS, control.TAPS), (16, 8))
        self.assertEqual((control.REQUEST_BYTES, control.QUEUE_BYTES), (64 * 1024, MIB))

    def test_keys(self) -> None:
        """How much is learned of the keys of others."""
        self.assertEqual((MAX_CHAIN, defaults.LINK_STATEMENTS, defaults.MAX_STATEMENTS), (8, 32, 16_384))
