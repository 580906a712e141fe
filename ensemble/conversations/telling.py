"""
Outputs, made in one place: lines stamped for peers, errors for whoever waits.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from ensemble.conversations.ask import Ask
from ensemble.conversations.asks import AskBook
from ensemble.conversations.outputs import Context, Drop, Output, Side, ToClient, ToPeer
from ensemble.identity import HumdId
from ensemble.tone import DROPPABLE, Chi, Envelope, Qualifier, encode, error_tone, stamp

_made: Final = tuple.__new__  # what a named tuple's own constructor does, at half its price


class Teller:
    """
    Turns what the rules decide into outputs.

    :ivar counters: those of `COUNTERS<ensemble.conversations.COUNTERS>`.
    """

    def __init__(self, me: HumdId, book: AskBook, counters: Counter[str]) -> None:
        self.me, self.book, self.counters = me, book, counters
        self._my_id = me.full

    def hand(self, side: Side, envelope: Envelope, line: bytes, context: Context) -> ToClient | ToPeer:
        """A line for ``side``: byte for byte where it is local, from us to it where it is a peer."""
        droppable = envelope.chi in DROPPABLE
        if isinstance(side, str):
            return _made(ToClient, (side, line, droppable, context))
        return _made(ToPeer, (side, stamp(line, envelope, self._my_id, side.full), droppable, context))

    def drop(self, counter: str) -> Drop:
        """Count a tone that goes no further."""
        self.counters[counter] += 1
        return Drop(counter)

    def error(
        self,
        side: Side,
        qualifier: Qualifier,
        message: str,
        rid: str | None,
        sid: str | None,
        call_id: str | None,
    ) -> Output:
        """
        An error with what the failed tone had.

        A peer that could not tell what it is about gets none.
        """
        tone = error_tone(qualifier, message, rid=rid or None, sid=sid or None, call_id=call_id or None)
        if isinstance(side, str):
            self.counters["errors.told"] += 1
            return ToClient(side, encode(tone), False, None)
        if not (rid or sid or call_id):
            return self.drop("errors.untold")
        self.counters["errors.told"] += 1
        return ToPeer(side, encode({**tone, "from": self._my_id, "to": side.full}), False, None)

    def answer(self, side: Side, envelope: Envelope, qualifier: Qualifier, message: str) -> list[Output]:
        """The error about a tone that goes no further, to whoever said it."""
        return [self.error(side, qualifier, message, envelope.rid, envelope.sid, envelope.call_id)]

    def cancel(self, peer: HumdId, sid: str | None) -> Output:
        """The asker of this prompt, one of ours, wants no more of the answer."""
        line = encode({"chi": Chi.CANCEL.value, "sid": sid, "from": self._my_id, "to": peer.full})
        return ToPeer(peer, line, False, None)

    def end(self, asker: Side, ask: Ask, qualifier: Qualifier, message: str) -> Output:
        """The error that ends ``ask``; of several prompts under one sid it has no rid, for that would end one only."""
        return self.error(asker, qualifier, message, None if ask.earlier else ask.rid, ask.sid, ask.call_id)

    def fail(self, ask: Ask, qualifier: Qualifier, message: str, server_gone: bool = False) -> list[Output]:
        """
        No answer comes, or none that is whole: whoever waits is told, once, and hears nothing more of it.

        :param server_gone: True where nobody works on it either.
        """
        asker, waits = ask.asker, ask.open
        if waits and ask.group is not None:
            ask.group[0] -= 1
            waits = ask.group[0] == 0
        if server_gone:
            self.book.forget(ask)
        else:
            self.book.let_go(ask)
        if asker is None or not waits:
            return []
        return [self.end(asker, ask, qualifier, message)]
