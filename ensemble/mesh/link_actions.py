"""
What `ensemble.mesh.peer_links.PeerLinks` asks of its owner.

Actions come in lists and are executed in that order, before another line of any link of this peer is handled.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from attrs import frozen

L = TypeVar("L", bound=Hashable)


class GoodbyeReason(StrEnum):
    """Why somebody says goodbye (wire-0.8 section 4).  ``DUPLICATE`` alone is not a loss."""

    SHUTDOWN = "shutdown"
    DUPLICATE = "duplicate"
    REMOVED = "removed"
    AUTH = "auth"
    LIMIT = "limit"

    @property
    def message(self) -> str:
        """The reason for people."""
        return _MESSAGES[self]


_MESSAGES = {
    GoodbyeReason.SHUTDOWN: "this humd is shutting down",
    GoodbyeReason.DUPLICATE: "another link to you is up",
    GoodbyeReason.REMOVED: "this humd no longer lists you as a peer",
    GoodbyeReason.AUTH: "this humd now wants more proof of who you are",
    GoodbyeReason.LIMIT: "a limit was passed",
}


@frozen
class Refuse(Generic[L]):
    """Close ``link``, which was never ours; the peer is told nothing."""

    link: L


@frozen
class CloseNow(Generic[L]):
    """Close ``link`` undrained; nothing more is read from it."""

    link: L


@frozen
class SayGoodbye(Generic[L]):
    """
    Queue our last line on ``link``, behind all that is queued: from now not even a pong is written there.

    :ivar message: for people, where there is more to say than the reason does.
    """

    link: L
    reason: GoodbyeReason
    message: str = ""


@frozen
class CloseDrained(Generic[L]):
    """Close ``link`` in order: what we wrote still leaves, and nothing that we want can come."""

    link: L


@frozen
class PauseReading(Generic[L]):
    """Handle no further line of ``link``, those that have arrived included."""

    link: L


@frozen
class ResumeReading(Generic[L]):
    """Handle the lines of ``link`` again, those that arrived meanwhile first."""

    link: L


@frozen
class WriteOn(Generic[L]):
    """Write tones to this link from now on.  None: to no link; hold them until a link or a `PeerLost` is told."""

    link: L | None


@frozen
class PeerUp(Generic[L]):
    """The peer is linked."""

    link: L


@frozen
class PeerLost:
    """
    What the peer owed us will not come: section 6.7 is told, tones that are held are dropped.

    It stands behind a ``WriteOn(None)``.  Where a link is left, ``WriteOn`` and `PeerUp` with it follow at once.
    """

    reason: str


@frozen
class TwoProcesses:
    """Links to this peer were replaced thrice in a minute: two processes may share its key."""


Action: TypeAlias = (
    Refuse[L]
    | CloseNow[L]
    | SayGoodbye[L]
    | CloseDrained[L]
    | PauseReading[L]
    | ResumeReading[L]
    | WriteOn[L]
    | PeerUp[L]
    | PeerLost
    | TwoProcesses
)
