"""
How long anybody is waited for: what ``twistd humd --limit NAME=VALUE`` sets of it.

It lives with the wires, for all above them wait too; `Limits<ensemble.mesh.Limits>` has these fields and the other
limits.  The defaults are those of wire-0.8, where it names any.  Two humds need not have the same.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ensemble.protocols.limit import limit

PENDING_SECONDS: Final = 10  # section 2: at most; what is to be told of two links that cross counts on it
PAUSED_PINGS: Final = 5  # seconds: whoever has stopped reading us pings every three, which is all we hear of it

HOUR: Final = 3600


@frozen(kw_only=True)
class Deadlines:
    """
    In whole seconds.

    :raises ConfigurationError: a value is out of its range; the text names the range.
    """

    dial_seconds: int = limit(10, "seconds", 1, 60, "a dial: the name, the connection and TLS")
    pending_seconds: int = limit(
        PENDING_SECONDS,
        "seconds",
        1,
        PENDING_SECONDS,
        "a link, from connect or accept until it is up, TLS included (of a dial: its own)",
    )
    unfinished_line_seconds: int = limit(60, "seconds", 5, HOUR, "the rest of a line, while we read")
    connection_close_seconds: int = limit(5, "seconds", 1, 60, "a connection with an empty queue, to close")
    ping_after_seconds: int = limit(15, "seconds", 1, HOUR, "of a peer's silence, then it is pinged")
    gone_after_seconds: int = limit(30, "seconds", PAUSED_PINGS, HOUR, "of silence after the ping; then it is lost")
    waited_for_ping_after_seconds: int = limit(
        3, "seconds", 1, HOUR, "of its silence while somebody waits for an answer, then it is pinged"
    )
    waited_for_gone_after_seconds: int = limit(
        6, "seconds", PAUSED_PINGS, HOUR, "of silence after that ping; then it is lost"
    )
    stuck_ping_seconds: int = limit(60, "seconds", 5, HOUR, "a ping that cannot leave; then the peer is lost")
    throttled_seconds: int = limit(60, "seconds", 1, 60, "a peer that sent too fast is not read, at most")
    link_close_seconds: int = limit(30, "seconds", 1, HOUR, "a peer, to read what is queued when its link closes")
    client_pause_seconds: int = limit(
        5, "seconds", 1, 60, "a local program that writes to a full queue is not read; then it gets queue.full"
    )
    client_slow_seconds: int = limit(
        30, "seconds", 1, HOUR, "a local program whose queue is full, to read; then it is disconnected"
    )
    client_close_seconds: int = limit(5, "seconds", 1, 60, "a local program that we part from, to read what is queued")
    control_idle_seconds: int = limit(60, "seconds", 10, HOUR, "a request on the control socket, or its reader")
    probe_seconds: int = limit(3, "seconds", 1, 9, "the peers' answers to probe")  # the command waits ten


DEADLINES: Final = Deadlines()
"""What is waited where nobody says otherwise."""
