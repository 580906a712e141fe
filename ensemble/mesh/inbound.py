"""Whose tone is it: wire-0.8 section 5, for every tone of a link before anything else sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.logger import LogLevel

from ensemble.identity import HumdId, Role
from ensemble.mesh.refusals import Refusals
from ensemble.tone import NEVER_ANSWERED_PEER, Envelope, MalformedTone, Qualifier, Salvaged, error_tone, salvage, stamp

REFUSED: Final = 2  # the work with a tone that is refused, and with its error, in lines that are only counted
# With a line that is no tone; in between it is its length that tells.
ANSWERED: Final = 4
SEARCHED: Final = 40  # for as long as salvage does
KEYS: Final = (b'"rid"', b'"sid"', b'"callId"')  # without one of them nobody waits for the line, or for its answer


class Inbound:
    """
    Lets a tone through, with its ``from`` made true, or refuses it with an error to the peer that sent it.

    Relaying is not done: a tone for somebody else is refused.
    """

    def __init__(self, me: HumdId, refusals: Refusals, answer: Callable[[HumdId, Mapping[str, Any]], None]) -> None:
        """:param answer: sends an error to a peer; lost where that is gone."""
        self._me, self._refusals, self._answer = me, refusals, answer

    def judge(self, peer: HumdId, envelope: Envelope, line: bytes) -> bytes | None:
        """
        :param envelope: of ``line``; its ``sender`` is corrected in place.
        :returns: the line, with a ``from`` that is true (gossip keeps its origin's), or None where it was refused.
        """
        if envelope.sender != peer.full and envelope.chi != "gossip-publish":
            claimed = HumdId.try_parse(envelope.sender)  # None: nothing, or a name, as 0.7.0 bees have
            if claimed is not None and claimed.role is Role.HUMD and not peer.is_meant_by(claimed):
                self.refuse(peer, envelope, Qualifier.FROM_FORGED, "`from` names another humd than this link's")
                return None
            line = stamp(line, envelope, peer.full, envelope.target)
            envelope.sender = peer.full
        to = envelope.target
        if to is not None and to != self._me.full and not self._me.is_named(to):
            message = "this humd does not relay, and `to` is not its id: link to the other humd yourself"
            self.refuse(peer, envelope, Qualifier.ROUTE_UNKNOWN_PEER, message)
            return None
        return line

    def malformed(self, peer: HumdId, line: bytes, error: MalformedTone) -> tuple[int, Salvaged | None]:
        """
        Count a line that is no tone; answered where its rid could be read.

        :returns: the work with it, 1 where it was only counted; and what could be read of it.
        """
        self._refusals.refused("tones.malformed", str(error), peer.full, level=LogLevel.debug)
        if not any(key in line for key in KEYS):
            return 1, None
        found = salvage(line)
        if found.rid is not None:
            self._tell(peer, found, Qualifier.TONE_MALFORMED, str(error))
        return min(ANSWERED + len(line) // 8, SEARCHED), found

    def refuse(self, peer: HumdId, envelope: Envelope, qualifier: Qualifier, message: str) -> None:
        """Count a refusal; answered unless the tone is of a kind that never is."""
        self._refusals.refused(f"tones.refused.{qualifier.value}", message, peer.full, level=LogLevel.debug)
        self._tell(peer, envelope, qualifier, message)

    def _tell(self, peer: HumdId, failed: Envelope | Salvaged, qualifier: Qualifier, message: str) -> None:
        if failed.chi not in NEVER_ANSWERED_PEER:
            tone = error_tone(qualifier, message, rid=failed.rid, sid=failed.sid, call_id=failed.call_id)
            self._answer(peer, tone)
