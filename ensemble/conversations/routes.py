"""
Delivery: wire-0.8 section 6 as one sans-IO core.  ``docs/delivery.rst`` has the rules as this code keeps them.

The owner feeds it validated tones and losses and carries out the outputs, in order.  It promises:

- a reply reaches whoever asked *that* bee or peer, and nobody else;
- whoever asked is told when no answer can come: every ask that was accepted ends with one terminal tone, be it the
  answer or an error of ours;
- nobody makes it remember without bound.

Relaying is not part of it: a peer's tone for somebody else is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from ensemble.conversations.ask import Ask, Kind
from ensemble.conversations.asks import AskBook
from ensemble.conversations.outputs import (
    COUNTERS,
    Asking,
    Closing,
    Notice,
    Output,
    Side,
    ToClient,
    ToPeer,
    WaitingChanged,
)
from ensemble.conversations.owed import Owed
from ensemble.conversations.replies import Replies, match_keys
from ensemble.conversations.requests import Requests
from ensemble.conversations.telling import Teller
from ensemble.hives import Roster, read_hello
from ensemble.identity import HumdId
from ensemble.tone import (
    NEVER_ANSWERED,
    NEVER_ANSWERED_PEER,
    REPLIES,
    Envelope,
    Qualifier,
    decode_checked,
    is_expired,
    once,
    peek,
)


class Routes:
    """
    Who gets which tone.  No method raises on what a client or a peer may say.

    :ivar roster: the local bees; ``client_hello`` and ``client_left`` change it.
    :ivar counters: by the names of `COUNTERS<ensemble.conversations.COUNTERS>`.
    :ivar piece: for the middle of an answer, what `from_client` or `from_peer` would say; see `Replies.piece`.
    """

    def __init__(self, me: HumdId, roster: Roster, wall_ms: Callable[[], int], *, home: str = "/") -> None:
        """
        :param wall_ms: milliseconds since the epoch, for ``dusk``.
        :param home: where a worker works when the asker says nothing (``$HOME``).
        """
        self.me, self.roster = me, roster
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._my_id, self._wall_ms = me.full, wall_ms
        self._book = AskBook(self.counters)
        self._tell = Teller(me, self._book, self.counters)
        self._replies = Replies(self._tell)
        self.piece = self._replies.piece
        self._requests = Requests(self._tell, roster, home)
        self._owed = Owed()

    # questions

    def waiting_on(self, peer: HumdId) -> bool:
        """True while a local client waits for an answer of ``peer``: its silence is noticed sooner then."""
        return self._book.waits_for(peer)

    @property
    def open_asks(self) -> int:
        """Asks without an answer yet, orphans included."""
        return sum(served.open for served in self._book.servers.values())

    @property
    def asks_size(self) -> int:
        """Bytes that all asks in the tables take."""
        return self._book.size

    @property
    def known_asks(self) -> int:
        """All asks in the tables, also those that are only remembered."""
        return sum(len(served.asks) for served in self._book.servers.values())

    # tones

    def from_client(self, client_id: str, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """
        A validated tone of a local client.

        :param now: seconds, monotonic.
        """
        chi, to = envelope.chi, envelope.target
        elsewhere = to is not None and to != self._my_id and not self.me.is_named(to)
        if envelope.dusk is not None and is_expired(envelope.dusk, self._wall_ms()):
            out = self._expired_from_client(client_id, envelope, elsewhere)
        elif chi in REPLIES:
            # A route that is known counts more than what a bee writes into `to`: it may be a name.
            answer = self._replies.from_bee(client_id, envelope, line, now)
            if answer is not None:
                out = answer
            elif to is not None and elsewhere:
                out = self._requests.to_peer(client_id, to, envelope, line, now)
            else:
                out = [self._tell.drop("replies.unmatched")]
        elif to is not None and elsewhere:
            out = self._requests.to_peer(client_id, to, envelope, line, now)
        elif chi == "hello":
            out = self.client_hello(client_id, decode_checked(line))
        else:
            out = self._requests.from_client(client_id, envelope, line, now)
        return self._with_changes(out) if self._book.changed else out

    def from_peer(self, peer: HumdId, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """
        A validated tone of ``peer``, whose ``from`` is that peer's id.

        :param now: seconds, monotonic.
        """
        chi, to = envelope.chi, envelope.target
        line = once(line, envelope)
        if to is not None and to != self._my_id and not self.me.is_named(to):
            out = self._refuse(
                peer,
                envelope,
                Qualifier.ROUTE_UNKNOWN_PEER,
                "`to` is another humd and this one does not relay: link to that humd yourself",
            )
        elif envelope.dusk is not None and is_expired(envelope.dusk, self._wall_ms()):
            if chi in REPLIES:
                out = self._replies.expired_from_peer(peer, envelope)
            else:
                out = [self._tell.drop("tones.expired"), *self._refuse(peer, envelope, *_EXPIRED)]
        elif chi in REPLIES:
            out = self._replies.from_peer(peer, envelope, line, now)
        else:
            out = self._requests.from_peer(peer, envelope, line, now)
        return self._with_changes(out) if self._book.changed else out

    def garbled(self, side: Side, envelope: Envelope, cause: str) -> list[Output]:
        """
        A line of a local client or a peer is no tone: where it was a part of an answer, whoever waits for that is told.

        :param envelope: what could be read of it.
        """
        out = self._replies.garbled(side, envelope, cause) if envelope.chi in REPLIES else []
        return self._with_changes(out) if self._book.changed else out

    def client_hello(self, client_id: str, hello: Mapping[str, Any]) -> list[Output]:
        """A local client says what it is.  A hello without a name registers nothing."""
        read = read_hello(hello, client_id, self._wall_ms())
        out: list[Output] = [Notice(client_id, problem) for problem in read.problems]
        if read.manifest is not None:
            for other in self.roster.register(client_id, read.manifest):
                out.append(Notice(other, f"another program said hello with its hid {read.manifest.hid}: it counts now"))
        return out

    # losses

    def client_left(self, client_id: str) -> list[Output]:
        """A local client is gone: whoever waits for it is told, what it asked goes on without it."""
        self.roster.remove(client_id)
        out = self._lost(client_id, "the program that was to answer is gone: try again once it is back")
        return self._with_changes(out) if self._book.changed else out

    def peer_lost(self, peer: HumdId, reason: str) -> list[Output]:
        """The link to ``peer`` is lost, or was replaced: whoever waits for it is told, and why."""
        self._owed.take(peer)
        out = self._lost(peer, f"the link to the humd that was to answer is lost ({reason}): try again once it is back")
        return self._with_changes(out) if self._book.changed else out

    def delivery_failed(self, output: ToClient | ToPeer, qualifier: Qualifier, message: str) -> list[Output]:
        """
        An output could not be handed over: unknown peer, queue full, too large, client gone.

        A tone that asks fails to its asker.  A reply breaks the answer: whoever waits for it is told and gets nothing
        more of it, the local client that said it is told too, and a peer gets a ``cancel`` of the prompt.  What may be
        dropped is counted, but the local client that addressed it to a peer is told.  An error of ours that a peer has
        no room for is kept: `peer_has_room`.

        :param message: for people.
        """
        context = output.context
        if isinstance(context, Asking):
            out = self._asking_failed(context, output, qualifier, message)
        elif isinstance(context, (Ask, Closing)):
            out = self._reply_failed(context, output, qualifier, message)
        else:
            out = self._own_failed(output, qualifier)
        return self._with_changes(out) if self._book.changed else out

    def undelivered(self, peer: HumdId, line: bytes, qualifier: Qualifier, message: str) -> list[Output]:
        """
        As `delivery_failed`, where the owner has no more than the line: it was accepted for a link that never came.

        Nothing is told where the loss was told already.  To a peer that is not there a reply or an error is nothing.
        """
        said = peek(line)
        served = self._book.servers.get(peer)
        ask = None
        if served is not None and said.chi not in REPLIES:
            ask = match_keys(served, said)
        if ask is None or ask.asker is None:
            return [self._tell.drop("replies.broken" if said.chi in REPLIES else "tones.dropped")]
        context = Asking(ask, ask.asker, said, False)
        return self.delivery_failed(ToPeer(peer, line, False, context), qualifier, message)

    def peer_has_room(self, peer: HumdId) -> list[Output]:
        """The queue to ``peer`` drained: the errors that it had no room for, again."""
        return list(self._owed.take(peer))

    # inside

    def _expired_from_client(self, client_id: str, envelope: Envelope, elsewhere: bool) -> list[Output]:
        chi = envelope.chi
        if chi in REPLIES:
            out = self._replies.expired_from_bee(client_id, envelope)
            if out is not None:
                return out
        dropped: list[Output] = [self._tell.drop("tones.expired")]
        if elsewhere or not (chi in REPLIES or chi in NEVER_ANSWERED):
            dropped += self._tell.answer(client_id, envelope, *_EXPIRED)
        return dropped

    def _refuse(self, peer: HumdId, envelope: Envelope, qualifier: Qualifier, message: str) -> list[Output]:
        if envelope.chi in NEVER_ANSWERED_PEER:
            return [self._tell.drop("tones.ignored")]
        return self._tell.answer(peer, envelope, qualifier, message)

    def _lost(self, side: Side, message: str) -> list[Output]:
        book = self._book
        asked = book.askers.get(side)
        for ask in list(asked.asks) if asked is not None else ():
            book.let_go(ask)
        out: list[Output] = []
        served = book.servers.get(side)
        for ask in list(served.asks) if served is not None else ():
            if not isinstance(side, str):
                qualifier = Qualifier.PEER_LOST
            elif ask.kind is Kind.PROMPT:
                qualifier = Qualifier.WORKER_LOST
            else:
                qualifier = Qualifier.BEE_LOST
            out += self._tell.fail(ask, qualifier, message, server_gone=True)
        return out

    def _asking_failed(
        self, context: Asking, output: ToClient | ToPeer, qualifier: Qualifier, message: str
    ) -> list[Output]:
        ask, book, rid = context.ask, self._book, context.envelope.rid
        if output.droppable:
            self.counters["tones.dropped"] += 1
        if ask is None:
            pass
        elif not ask.alive:
            return []  # the loss was told already, or there is nobody to tell
        elif not context.joined:
            if ask.kind is not Kind.PASSING:
                return self._tell.fail(ask, qualifier, message, server_gone=True)
            book.forget(ask)
        elif ask.open and ask.asker == context.asker and not book.part(ask, rid) and ask.rid == rid:
            book.let_go(ask)  # nothing else that this asker said is in progress: the error is the end of it
        return self._tell.answer(context.asker, context.envelope, qualifier, message)

    def _reply_failed(
        self, context: Ask | Closing, output: ToClient | ToPeer, qualifier: Qualifier, message: str
    ) -> list[Output]:
        if output.droppable:
            return [self._tell.drop("tones.dropped")]
        dropped = self._tell.drop("replies.broken")
        ask = context.ask if isinstance(context, Closing) else context
        asker, server = ask.asker, ask.server
        told: list[Output] = []
        if isinstance(context, Ask):
            if ask.open:
                told = self._tell.fail(ask, qualifier, message)
                if told and ask.kind is Kind.PROMPT and not isinstance(server, str):
                    told.append(self._tell.cancel(server, ask.sid))  # what it still says would come for nothing
        elif ask.alive and asker is not None:
            told = [self._tell.end(asker, ask, qualifier, message)]
        if told and isinstance(server, str) and server != asker:
            told += self._tell.answer(server, peek(output.line), qualifier, f"the asker did not get this: {message}")
        return [dropped, *told]

    def _own_failed(self, output: ToClient | ToPeer, qualifier: Qualifier) -> list[Output]:
        if output.droppable:
            return [self._tell.drop("tones.dropped")]
        if isinstance(output, ToPeer) and qualifier is Qualifier.QUEUE_FULL and self._owed.keep(output):
            return []
        return [self._tell.drop("errors.lost")]

    def _with_changes(self, out: list[Output]) -> list[Output]:
        changed = [WaitingChanged(peer) for peer in self._book.changed]
        self._book.changed.clear()
        return [*changed, *out]


_EXPIRED: Final = (Qualifier.TONE_EXPIRED, "the tone came after its dusk: send it again with a later one")
