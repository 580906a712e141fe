"""
What the delivery core asks of its owner, and what the owner hands back when it could not do it.

An output is a named tuple: one is made for each forwarded tone.  ``context`` is the core's own; the owner keeps it with
the line and returns the whole output to `Routes.delivery_failed<ensemble.conversations.Routes.delivery_failed>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ensemble.identity import HumdId
from ensemble.tone import Envelope

if TYPE_CHECKING:
    from ensemble.conversations.ask import Ask

Side: TypeAlias = str | HumdId
"""Somebody who asks or answers: a local client by its id, or a peer."""


class Asking(NamedTuple):
    """
    Context of a tone that asks.

    :ivar ask: None where nothing could be remembered: a tone without rid, sid and callId, or one nobody answers.
    :ivar asker: who is told when the tone cannot be handed over.
    :ivar joined: True where ``ask`` was in progress before: it goes on whatever happens to this tone.
    """

    ask: Ask | None
    asker: Side
    envelope: Envelope
    joined: bool


class Closing(NamedTuple):
    """Context of the reply that ends an ask."""

    ask: Ask


Context: TypeAlias = "Ask | Asking | Closing | None"
"""A bare `Ask` is the context of a reply that does not end it; None that of our own errors."""


class ToClient(NamedTuple):
    """Deliver ``line`` to a local client."""

    client_id: str
    line: bytes
    droppable: bool
    context: Context


class ToPeer(NamedTuple):
    """Send ``line``, stamped already, to a peer."""

    peer: HumdId
    line: bytes
    droppable: bool
    context: Context


class Drop(NamedTuple):
    """A tone went no further; ``counter`` was increased.  For the debug log."""

    counter: str


class WaitingChanged(NamedTuple):
    """`Routes.waiting_on<ensemble.conversations.Routes.waiting_on>` says something new of ``peer``: ask it."""

    peer: HumdId


class Notice(NamedTuple):
    """Something for the log: a hello that was not taken as it stands."""

    client_id: str
    text: str


Output: TypeAlias = ToClient | ToPeer | Drop | WaitingChanged | Notice

COUNTERS: Final[dict[str, str]] = {
    "asks.crowded": "remembered asks that were forgotten because all askers together held too much",
    "asks.evicted": "remembered asks that made room for a newer one of the same asker",
    "asks.expired": "remembered asks that were forgotten after their time",
    "errors.lost": "errors of ours that could not be handed over, for good",
    "errors.told": "errors of ours that were handed over",
    "errors.untold": "errors of ours for a peer's tone that had neither rid nor sid nor callId to answer by",
    "orphans.evicted": "prompts without an asker, still running, that were forgotten because there are too many",
    "replies.broken": "replies that could not be handed over: who waited was told",
    "replies.orphaned": "replies to somebody who is gone, or was told already that the answer broke",
    "replies.unmatched": "replies that nobody here asked for",
    "tones.dropped": "tones of the never-answered list that could not be handed over",
    "tones.expired": "tones past their dusk",
    "tones.ignored": "tones that want no answer and concern nobody here",
    "tones.unhandled": "gossip, kad and wane-sync tones of peers: nothing here handles them yet",
}
"""Every counter of the core, and what it counts."""
