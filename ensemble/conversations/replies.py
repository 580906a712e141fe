"""
Replies: rules 2 and 6 of wire-0.8 section 6, and the reply half of rules 0 and 4.  The hot path.

A reply is matched with the asks of whoever says it, and of nobody else: a sid, callId or rid that somebody else was
asked under means nothing.  The order of the keys:

===================  ======================  ======================
reply                from a peer             from a local client
===================  ======================  ======================
``error``            rid, callId, sid        rid, callId, sid
``tool-result``      callId, sid, rid        callId, rid, sid
all others           callId, sid, rid        sid, callId, rid
===================  ======================  ======================

Sids and callIds are random, but two askers may count their rids from one.  So where the ask that a rid names and the
reply both have a callId or a sid, these have to agree; and an error whose callId or sid names an ask with that very rid
is about that one.  A peer's error with a rid that its ask never had goes on without it.
"""

from __future__ import annotations

from typing import Final

from ensemble.conversations.ask import Ask, Kind, Served
from ensemble.conversations.outputs import Closing, Context, Output, Side, ToClient, ToPeer
from ensemble.conversations.telling import Teller
from ensemble.identity import HumdId
from ensemble.tone import ABSENT, DROPPABLE, ENDS, REPLIES, Envelope, Qualifier, decode, encode, head, is_about

_TERMINAL: Final = frozenset[str]().union(*ENDS.values())
_PIECES: Final = REPLIES - _TERMINAL
MAX_HEADS: Final = 4  # kinds of pieces in one answer, nearly always


class Replies:
    """Finds out whose answer a reply is."""

    def __init__(self, teller: Teller) -> None:
        self._tell, self._book = teller, teller.book
        self._servers, self._my_id = teller.book.servers, teller.me.full

    def from_bee(self, client_id: str, envelope: Envelope, line: bytes, now: float) -> list[Output] | None:
        """A local client answers.  None where nobody asked it: the tone's own ``to`` counts then."""
        served = self._servers.get(client_id)
        ask = None if served is None else _match_bee(served, envelope)
        return None if ask is None else self._pass_on(ask, envelope, line, now)

    def from_peer(self, peer: HumdId, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """A peer answers.  What nobody asked *this peer* for is dropped."""
        served = self._servers.get(peer)
        ask = None if served is None else _match_peer(served, envelope)
        return [self._tell.drop("replies.unmatched")] if ask is None else self._pass_on(ask, envelope, line, now)

    def piece(self, server: Side, envelope: Envelope, line: bytes) -> ToClient | ToPeer | None:
        """
        The one output for a tone that is plainly a piece of an answer, as most tones of any humd are.

        None where that takes a closer look, as `from_bee` and `from_peer` have; with what leads to them they say the
        same of whatever is said here.
        """
        if envelope.chi not in _PIECES or envelope.dusk is not None or envelope.raw_call_id is not ABSENT:
            return None
        local = isinstance(server, str)
        if not (local or envelope.to == self._my_id):
            return None
        served = self._servers.get(server)
        ask = None if served is None else served.sids.get(envelope.sid)
        if ask is None or ask.asker is None:
            return None
        if not local and not line.startswith(ask.heads):
            begin = head(line, envelope)
            if begin is None:
                return None
            ask.heads = (begin, *ask.heads[: MAX_HEADS - 1])
        return self._tell.hand(ask.asker, envelope, line, ask)

    def expired_from_bee(self, client_id: str, envelope: Envelope) -> list[Output] | None:
        """A local client's reply is past its dusk.  None where nobody asked for it."""
        served = self._servers.get(client_id)
        ask = None if served is None else _match_bee(served, envelope)
        return None if ask is None else self._expire(ask, envelope)

    def expired_from_peer(self, peer: HumdId, envelope: Envelope) -> list[Output]:
        """A peer's reply is past its dusk."""
        served = self._servers.get(peer)
        ask = None if served is None else _match_peer(served, envelope)
        return [self._tell.drop("replies.unmatched")] if ask is None else self._expire(ask, envelope)

    def garbled(self, server: Side, envelope: Envelope, cause: str) -> list[Output]:
        """A reply is no tone: as one that cannot be handed over, for its asker would never miss it."""
        served, match = self._servers.get(server), _match_bee if isinstance(server, str) else _match_peer
        ask = None if served is None else match(served, envelope)
        if ask is None or not ask.open or envelope.chi in DROPPABLE:
            return []
        dropped = self._tell.drop("replies.broken")
        message = f"a part of the answer is no tone ({cause}): the program that answers has to be mended"
        return [dropped, *self._break(ask, envelope, Qualifier.TONE_MALFORMED, message)]

    def _pass_on(self, ask: Ask, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        asker = ask.asker
        context: Context = ask
        if envelope.chi == "error" and not isinstance(ask.server, str) and not _is_known(envelope.rid, ask):
            line = _without_rid(line)
        if ask.open and envelope.chi in _TERMINAL and self._ends(ask, envelope):
            if ask.group is None or ask.group[0] > 0:
                context = Closing(ask)  # of several servers the first that answers ends it for the asker
            if ask.group is not None:
                ask.group[0] = 0
            self._book.close(ask, now)
        if asker is None:
            return [self._tell.drop("replies.orphaned")]
        return [self._tell.hand(asker, envelope, line, context)]

    def _expire(self, ask: Ask, envelope: Envelope) -> list[Output]:
        """An answer with a hole in it is worse than none: the ask ends here, unless what is lost could be dropped."""
        dropped = self._tell.drop("tones.expired")
        if envelope.chi in DROPPABLE:
            return [dropped]
        return [
            dropped,
            *self._break(ask, envelope, Qualifier.TONE_EXPIRED, "a part of the answer came after its dusk"),
        ]

    def _break(self, ask: Ask, envelope: Envelope, qualifier: Qualifier, message: str) -> list[Output]:
        """A reply is lost.  Behind the last word on a prompt nobody works on it: an orphan would never end."""
        return self._tell.fail(ask, qualifier, message, server_gone=envelope.chi in ENDS["prompt"])

    def _ends(self, ask: Ask, envelope: Envelope) -> bool:
        """True where this terminal reply, matched to ``ask``, ends it."""
        chi, kind = envelope.chi, ask.kind
        if kind is Kind.OTHER:
            return True
        if chi == "finish":
            return kind is Kind.PROMPT
        if chi == "tool-result":
            return kind is Kind.CALL
        if kind is Kind.PROMPT:
            return not self._book.part(ask, envelope.rid)
        # An error with only a sid is about the prompt: a call of the same sid goes on.
        return envelope.rid == ask.rid is not None or envelope.call_id == ask.call_id is not None


def _is_known(rid: str | None, ask: Ask) -> bool:
    return not rid or rid in (ask.rid, *ask.earlier)


def _without_rid(line: bytes) -> bytes:
    """Whoever reads an error goes by its rid first, and may have asked somebody else under this one."""
    tone = decode(line)
    del tone["rid"]
    return encode(tone)


def match_keys(served: Served, envelope: Envelope) -> Ask | None:
    """Whose keys an error has, or the ask itself; of several with one rid that which has the callId or the sid, too."""
    named = served.calls.get(envelope.call_id) or served.sids.get(envelope.sid)
    if named is not None and _is_known(envelope.rid, named):
        return named
    return _by_rid(served, envelope) or named


def _match_bee(served: Served, envelope: Envelope) -> Ask | None:
    chi = envelope.chi
    if chi == "tool-result":
        return served.calls.get(envelope.call_id) or _by_rid(served, envelope) or served.sids.get(envelope.sid)
    if chi == "error":
        return match_keys(served, envelope)
    return served.sids.get(envelope.sid) or served.calls.get(envelope.call_id) or _by_rid(served, envelope)


def _match_peer(served: Served, envelope: Envelope) -> Ask | None:
    if envelope.chi == "error":
        return match_keys(served, envelope)
    if served.calls:
        found = served.calls.get(envelope.call_id)
        if found is not None:
            return found
    return served.sids.get(envelope.sid) or _by_rid(served, envelope)


def _by_rid(served: Served, envelope: Envelope) -> Ask | None:
    ask = served.rids.get(envelope.rid)
    return ask if ask is not None and is_about(envelope, ask.sid, ask.call_id) else None
