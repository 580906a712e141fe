"""
Why something failed, in one word that a program can act on.

An ``error`` tone carries ``qualifier`` for programs and ``message`` for people (wire-0.8 section 4).  A qualifier is
never renamed and never reused for something else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from ensemble.tone.chi import Chi


class Qualifier(StrEnum):
    """Every ``qualifier`` that a humd writes."""

    ROUTE_UNTARGETED = "route.untargeted"
    ROUTE_UNKNOWN_PEER = "route.unknown-peer"
    ROUTE_SEND_FAILED = "route.send-failed"
    ROUTE_NO_BEE = "route.no-bee"
    PROMPT_NO_WORKER = "prompt.no-worker"
    SID_IN_USE = "sid.in-use"
    FROM_FORGED = "from.forged"
    QUEUE_FULL = "queue.full"
    TONE_TOO_LARGE = "tone.too-large"
    TONE_MALFORMED = "tone.malformed"
    TONE_EXPIRED = "tone.expired"
    PEER_LOST = "peer.lost"
    WORKER_LOST = "worker.lost"
    BEE_LOST = "bee.lost"
    NOT_SUPPORTED = "not.supported"


MEANING: Final[dict[Qualifier, str]] = {
    Qualifier.ROUTE_UNTARGETED: "The tone has no ``to``, or one that is no humd id.",
    Qualifier.ROUTE_UNKNOWN_PEER: "There is no link to the humd in ``to``.",
    Qualifier.ROUTE_SEND_FAILED: "There is a link, and the tone could not be written to it.",
    Qualifier.ROUTE_NO_BEE: "No local program takes this tone.",
    Qualifier.PROMPT_NO_WORKER: "No connected worker lists the ``modelId`` of the prompt.",
    Qualifier.SID_IN_USE: "The ``sid``, ``callId`` or ``rid`` is in progress and belongs to somebody else.",
    Qualifier.FROM_FORGED: "``from`` names a humd that is not the one at the other end of the link.",
    Qualifier.QUEUE_FULL: "The receiver does not read as fast as others write; the tone was not queued.",
    Qualifier.TONE_TOO_LARGE: "The line is longer than the receiver accepts.",
    Qualifier.TONE_MALFORMED: "The line is not a tone: bad JSON, a wrong envelope type, or a field is missing.",
    Qualifier.TONE_EXPIRED: "The tone was past its ``dusk`` before it arrived.",
    Qualifier.PEER_LOST: "The link to the humd that was to answer is gone.",
    Qualifier.WORKER_LOST: "The worker that was to answer is gone.",
    Qualifier.BEE_LOST: "The bee that was to answer is gone.",
    Qualifier.NOT_SUPPORTED: "This humd does not do that.",
}


def error_tone(
    qualifier: Qualifier,
    message: str,
    *,
    rid: str | None = None,
    sid: str | None = None,
    call_id: str | None = None,
) -> dict[str, Any]:
    """
    The ``error`` tone that tells whoever waits.

    :param message: for people: what went wrong and how to mend it.
    :param rid: of the failed tone, as ``sid`` and ``call_id``; what it did not have is left out.
    """
    failed = {"chi": Chi.ERROR.value, "rid": rid, "sid": sid, "callId": call_id}
    tone = {name: text for name, text in failed.items() if text is not None}
    return {**tone, "qualifier": qualifier.value, "message": message}
