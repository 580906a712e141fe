"""
What is not a reply: rules 1, 3, 4 and 5 of wire-0.8 section 6.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ensemble.conversations.ask import Kind
from ensemble.conversations.asks import MAX_ASKS
from ensemble.conversations.outputs import Asking, Output, Side
from ensemble.conversations.prompt import DEFAULT_MODEL, for_worker
from ensemble.conversations.telling import Teller
from ensemble.hives import Roster
from ensemble.identity import BadHumdId, HumdId
from ensemble.tone import (
    ABSENT,
    LINK_CHI,
    MAX_TEXT,
    NEVER_ANSWERED,
    NEVER_ANSWERED_PEER,
    REPLIES,
    Chi,
    Envelope,
    Qualifier,
    decode_checked,
    encode,
    is_about,
)

KNOWN: Final = frozenset(chi.value for chi in Chi)
# From a sid's asker they go where the sid is served.  The first four act on a conversation, so nobody else's do.
OWNED: Final = frozenset({"cancel", "cleanup", "release-permit", "tendril-result"})
FOLLOWS_SID: Final = OWNED | {"curate", "petal-cell"}
# Not carried on behalf of a local client at all, and not handled for it here.
UNROUTED: Final = frozenset({"gossip-publish", "kad-find-node", "kad-find-node-resp"})
UNHANDLED: Final = frozenset({"peer-add", "peer-remove", "wane-sync", "attach", "detach"})

MAX_QUOTED: Final = 80  # characters

_KINDS: Final = {"prompt": Kind.PROMPT, "tool-call": Kind.CALL}


class _Refusal(NamedTuple):
    """Why a tone is not handed over."""

    qualifier: Qualifier
    message: str


_WITHOUT_SID: Final = _Refusal(
    Qualifier.TONE_MALFORMED, "a prompt needs a `sid`: choose one, every tone of the answer will carry it"
)
_SID_IN_USE: Final = _Refusal(
    Qualifier.SID_IN_USE, "somebody else's prompt with this sid is in progress: choose another sid, or wait"
)
_KEY_IN_USE: Final = _Refusal(
    Qualifier.SID_IN_USE, "another tone with this callId or rid still waits for its answer: choose a fresh one"
)
_FULL: Final = _Refusal(
    Qualifier.QUEUE_FULL,
    f"you have {MAX_ASKS} tones open that wait for an answer, or fewer with long keys: wait for some, or cancel some",
)
_CROWDED: Final = _Refusal(
    Qualifier.QUEUE_FULL, "all who ask this humd have too much open together: ask again later, or with shorter keys"
)


_UNNAMED: Final = _Refusal(
    Qualifier.TONE_MALFORMED, f"a `callId` must be a string of at most {MAX_TEXT} characters: the result goes by it"
)


class Requests:
    """Decides who is asked."""

    def __init__(self, teller: Teller, roster: Roster, home: str) -> None:
        self._tell, self._book, self._roster, self._home = teller, teller.book, roster, home

    # from a local client

    def from_client(self, client_id: str, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """A tone of a local client that is for us: rules 3 and 4."""
        chi = envelope.chi
        if chi == "prompt":
            return self._prompt(client_id, envelope, line, now)
        if chi == "tool-call":
            return self._tool_call(client_id, envelope, line, now)
        if chi in UNROUTED or chi in UNHANDLED:
            return self._not_supported(client_id, envelope)
        if chi in FOLLOWS_SID:
            ask = self._book.conversation(client_id, envelope.sid)
            if ask is not None:
                return self._ask(client_id, ask.server, Kind.PASSING, envelope, line, now)
            return self._no_conversation(client_id, envelope)
        if chi in NEVER_ANSWERED:
            return [self._tell.drop("tones.ignored")]
        return self._tell.answer(
            client_id,
            envelope,
            Qualifier.ROUTE_NO_BEE,
            f"nothing here takes a tone with chi {_quote(chi)}: put the humd id of the receiver into `to`",
        )

    def to_peer(self, client_id: str, to: str, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """A tone of a local client with the ``to`` of somebody else: rule 1."""
        chi = envelope.chi
        if chi in UNROUTED or chi in LINK_CHI:
            return self._not_supported(client_id, envelope)
        try:
            peer = HumdId.parse(to)
        except BadHumdId as error:
            return self._tell.answer(
                client_id,
                envelope,
                Qualifier.ROUTE_UNTARGETED,
                f"`to` is no humd id ({error}): leave it out, or put the full id of a peer there",
            )
        if chi in REPLIES or chi in NEVER_ANSWERED:
            context = Asking(None, client_id, envelope, False)
            return [self._tell.hand(peer, envelope, line, context)]
        kind = _KINDS.get(chi) or (Kind.PASSING if chi in KNOWN else Kind.OTHER)
        if kind is Kind.PROMPT and not envelope.sid:
            return self._tell.answer(client_id, envelope, *_WITHOUT_SID)
        return self._ask(client_id, peer, kind, envelope, line, now)

    # from a peer

    def from_peer(self, peer: HumdId, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """A tone of a peer that is for us and no reply: rules 3, 4 and 5."""
        chi = envelope.chi
        if chi == "prompt":
            return self._prompt(peer, envelope, line, now)
        if chi == "tool-call":
            return self._tool_call(peer, envelope, line, now)
        if chi in FOLLOWS_SID:
            ask = self._book.conversation(peer, envelope.sid)
            if ask is not None:
                return self._ask(peer, ask.server, Kind.PASSING, envelope, line, now)
            if chi in OWNED:
                return self._no_conversation(peer, envelope)
        if chi in LINK_CHI:
            return [self._tell.drop("tones.ignored")]
        if chi in UNROUTED or chi == "wane-sync":
            return [self._tell.drop("tones.unhandled")]
        return self._to_listeners(peer, envelope, line, now)

    def _to_listeners(self, peer: HumdId, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """Rule 5: every bee that lists the chi gets it.  Where several may answer, only the last that fails counts."""
        chi = envelope.chi
        bees = self._roster.listeners(chi)
        if chi in NEVER_ANSWERED_PEER:
            handed: list[Output] = [self._tell.hand(bee, envelope, line, None) for bee in bees]
            return handed or [self._tell.drop("tones.ignored")]
        kind = Kind.PASSING if chi in KNOWN else Kind.OTHER
        refusal = _Refusal(Qualifier.ROUTE_NO_BEE, f"no bee here lists the chi {_quote(chi)} in its hello")
        asking: dict[str, Asking] = {}
        for bee in bees:
            found = self._remember(peer, bee, kind, envelope, now)
            if isinstance(found, _Refusal):
                refusal = found
            else:
                asking[bee] = found
        if not asking:
            return self._tell.answer(peer, envelope, *refusal)
        asks = [context.ask for context in asking.values() if context.ask is not None and not context.joined]
        group = [len(asks)]
        for ask in asks:
            ask.group = group
        return [self._tell.hand(bee, envelope, line, context) for bee, context in asking.items()]

    # rule 3

    def _prompt(self, asker: Side, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        sid, book = envelope.sid, self._book
        if not sid:
            return self._tell.answer(asker, envelope, *_WITHOUT_SID)
        prompt = decode_checked(line)
        model = prompt.get("modelId")
        if model is None:
            model = DEFAULT_MODEL
        if not isinstance(model, str):
            return self._tell.answer(asker, envelope, Qualifier.TONE_MALFORMED, "`modelId` must be a string")
        workers = self._roster.workers(model)
        held = book.serving.get(sid)
        if held is not None and held.open:
            if held.asker != asker and not held.may_be_taken_by(asker):
                return self._tell.answer(asker, envelope, *_SID_IN_USE)
            if held.server not in workers:
                return self._tell.answer(
                    asker,
                    envelope,
                    Qualifier.SID_IN_USE,
                    f"this sid is in progress with a worker that does not serve {_quote(model)}: "
                    "wait until it has finished, or begin another sid",
                )
            if held.asker is None:
                if not book.has_room(asker):
                    return self._tell.answer(asker, envelope, *self._full())
                book.adopt(held, asker, envelope.rid)
            worker = held.server
        elif workers:
            worker = min(workers, key=book.load)  # of equals the first, which is the oldest
        else:
            return self._tell.answer(
                asker,
                envelope,
                Qualifier.PROMPT_NO_WORKER,
                f"no worker here serves the model {_quote(model)}: start one, or ask for another model",
            )
        return self._ask(
            asker, worker, Kind.PROMPT, envelope, encode(for_worker(prompt, self._roster, self._home)), now
        )

    # rule 4

    def _tool_call(self, asker: Side, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        call = decode_checked(line)
        tool = call.get("toolName") or call.get("name")
        server: Side | None = self._roster.forager(tool) if isinstance(tool, str) else None
        if server is None:
            server = self._other_end(asker, envelope.sid)
        if server is None:
            server = self._roster.without_catalogue("tool-call", but=asker)
        if server is None:
            message = "the call names no tool: put its name, a string, into `toolName`"
            if isinstance(tool, str):
                message = f"no bee here offers the tool {_quote(tool)}: start one that does, or put its humd into `to`"
            return self._tell.answer(asker, envelope, Qualifier.ROUTE_NO_BEE, message)
        return self._ask(asker, server, Kind.CALL, envelope, line, now)

    def _other_end(self, caller: Side, sid: str | None) -> Side | None:
        """Who declared a tool that no forager has: the asker of the conversation in which ``caller`` is the server."""
        served = self._book.servers.get(caller)
        ask = served.sids.get(sid) if served is not None else None
        return ask.asker if ask is not None and ask.kind is Kind.PROMPT else None

    # for all rules

    def _ask(self, asker: Side, server: Side, kind: Kind, envelope: Envelope, line: bytes, now: float) -> list[Output]:
        """Remember who asks whom, and hand the line over."""
        # A call without a name wants no result; one with a name that is none waits for what could not find it.
        named = envelope.rid or envelope.call_id is not None
        if kind is Kind.CALL and not named and envelope.raw_call_id not in (ABSENT, None):
            return self._tell.answer(asker, envelope, *_UNNAMED)
        found = self._remember(asker, server, kind, envelope, now)
        if isinstance(found, _Refusal):
            return self._tell.answer(asker, envelope, *found)
        return [self._tell.hand(server, envelope, line, found)]

    def _remember(self, asker: Side, server: Side, kind: Kind, envelope: Envelope, now: float) -> Asking | _Refusal:
        book, rid = self._book, envelope.rid
        if kind is Kind.PASSING:
            # Nobody waits for it: with a full book it goes unremembered, for it may be the cancel that makes room.
            ask = book.open(asker, server, kind, envelope, now) if book.has_room(asker) else None
            if ask is None and self._would_end_anothers(asker, server, envelope):
                return _KEY_IN_USE
            return Asking(ask, asker, envelope, False)
        held = book.holder(server, kind, envelope)
        if held is not None:
            # Found by its rid it has to be the one that the answer is about: see `replies`.
            joins = kind is Kind.PROMPT or envelope.call_id or is_about(envelope, held.sid, held.call_id)
            if held.asker == asker and held.kind is kind and joins:
                if rid and rid != held.rid and not book.may_grow(asker):
                    return self._full()
                if held.alive:  # it may have made room, where nobody knows whether it is ever answered
                    book.join(held, rid)
                    return Asking(held, asker, envelope, True)
            elif kind is not Kind.PROMPT:
                return _KEY_IN_USE
            elif held.asker != asker:
                return _SID_IN_USE
        if not book.has_room(asker):
            return self._full()
        return Asking(book.open(asker, server, kind, envelope, now), asker, envelope, False)

    def _would_end_anothers(self, asker: Side, server: Side, envelope: Envelope) -> bool:
        """An error about this tone, which nobody waits for, could only be read as one about somebody else's ask."""
        held = self._book.holder(server, Kind.PASSING, envelope)
        mine = self._book.conversation(asker, envelope.sid) is not None
        return held is not None and held.asker != asker and not mine

    def _full(self) -> _Refusal:
        return _CROWDED if self._book.crowded else _FULL

    def _no_conversation(self, asker: Side, envelope: Envelope) -> list[Output]:
        return self._tell.answer(
            asker,
            envelope,
            Qualifier.ROUTE_NO_BEE,
            f"{envelope.chi} follows a conversation, and none that you began has this sid here: it goes by the `sid` "
            "of your own prompt",
        )

    def _not_supported(self, client_id: str, envelope: Envelope) -> list[Output]:
        return self._tell.answer(
            client_id,
            envelope,
            Qualifier.NOT_SUPPORTED,
            f"this humd does not take {envelope.chi} from a local program; see its documentation for what it does",
        )


def _quote(text: object) -> str:
    """What a tone said, for a message to people: short, whatever it was."""
    shown = repr(text)
    return shown if len(shown) <= MAX_QUOTED else shown[:MAX_QUOTED] + "…"
