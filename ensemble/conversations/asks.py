"""
Who asked whom: the tables behind every rule of delivery.  They hold no lines and send nothing.

An ask has an *asker*, who waits, and a *server*, who answers; each is a local client or a peer.  It is found by
what its answer carries: with its server, by sid, callId or rid.  It is *open* until its terminal answer, then
*remembered* for a while, so that what comes late still finds its way.  An open prompt whose asker is gone is an
*orphan*: its worker goes on, and the next prompt for its sid from where it began takes it over.

A key belongs to the first ask that claims it while that ask is open.  Afterwards whoever asks anew may claim it, but a
sid only a prompt may take from somebody else.

Every table has a ceiling: asks per asker, and their keys; orphans in all; and bytes over all askers.  Where these are
reached, what has ended is forgotten, of the asker that holds most; what is open never is, so then an asker that holds
more than a little is refused.  Nothing here keeps a timer: what was remembered long enough goes when the next ask comes
or ends.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

from ensemble.conversations.ask import OVERHEAD, Ask, Asked, Kind, Served
from ensemble.conversations.outputs import Side
from ensemble.identity import HumdId
from ensemble.tone import Envelope

MAX_ASKS: Final = 4096  # per asker, open and remembered
MAX_KEYS: Final = 2 * 1024 * 1024  # bytes of sids, callIds and rids, per asker; and of all orphans
MAX_BYTES: Final = 64 * 1024 * 1024  # of all asks of all askers, orphans included
SHARE: Final = 64 * 1024  # bytes; an asker that holds less is not refused for what others hold
MAX_EARLIER: Final = 4  # prompts that joined an open one, and whose rids are still known
MAX_ORPHANS: Final = 4096  # in all; their askers are gone, so no asker's ceiling counts them
REMEMBERED: Final = 15 * 60.0  # seconds from the terminal answer on


class AskBook:
    """
    All asks.

    :ivar servers: by server; one without asks has no entry.
    :ivar askers: likewise by asker.
    :ivar serving: by sid, the latest prompt that a local worker was given.
    :ivar size: bytes of all asks, as they count against `MAX_BYTES`.
    :ivar changed: peers that somebody began or ceased to wait for; whoever reads it clears it.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self.servers: dict[Side, Served] = {}
        self.askers: dict[Side, Asked] = {}
        self.serving: dict[str | None, Ask] = {}
        self.orphans: OrderedDict[Ask, None] = OrderedDict()
        self.changed: dict[HumdId, None] = {}
        self.size = 0
        self._orphaned = 0  # bytes of their keys
        self._fading: OrderedDict[Ask, float] = OrderedDict()  # until when; the soonest first
        self._counters = counters

    # questions

    def waits_for(self, server: Side) -> bool:
        """True while an ask is open with ``server``."""
        served = self.servers.get(server)
        return served is not None and served.open > 0

    def load(self, server: Side) -> int:
        """How many prompts are open with ``server``."""
        served = self.servers.get(server)
        return 0 if served is None else served.prompts

    def holder(self, server: Side, kind: Kind, envelope: Envelope) -> Ask | None:
        """The open ask that has the key by which the answer to such an ask would come first."""
        served = self.servers.get(server)
        if served is None:
            return None
        if kind is Kind.PROMPT:
            held = served.sids.get(envelope.sid)
        elif envelope.call_id:
            held = served.calls.get(envelope.call_id)
        else:
            held = served.rids.get(envelope.rid)
        return held if held is not None and held.open else None

    def conversation(self, asker: Side, sid: str | None) -> Ask | None:
        """The prompt for ``sid`` that ``asker`` began, or may take over: open or remembered."""
        asked = self.askers.get(asker)
        found = asked.prompts.get(sid) if asked is not None else None
        if found is not None:
            # Ended, and somebody else goes on with this server under the same sid: it is theirs now.
            return found if self.servers[found.server].sids.get(sid) is found else None
        found = self.serving.get(sid)
        return found if found is not None and found.may_be_taken_by(asker) else None

    @property
    def crowded(self) -> bool:
        """True where all askers together hold as much as they may, though what has ended is forgotten."""
        return self.size >= MAX_BYTES

    # changes

    def has_room(self, asker: Side) -> bool:
        """False where ``asker`` has as many asks open as one may; else room is made for one more."""
        asked = self.askers.get(asker)
        return (asked is None or self._evict(asked, asks=MAX_ASKS)) and self.may_grow(asker)

    def may_grow(self, asker: Side) -> bool:
        """False where the keys of what ``asker`` has open take as much as they may; else room is made for some more."""
        asked = self.askers.get(asker)
        if asked is not None and not self._evict(asked, size=MAX_KEYS):
            return False
        if self.size >= MAX_BYTES:
            self._crowd_out()
        return self.size < MAX_BYTES or asked is None or asked.held < SHARE

    def open(self, asker: Side, server: Side, kind: Kind, envelope: Envelope, now: float) -> Ask | None:
        """
        Remember an ask under those keys of its tone that are free.  There must be room: `has_room`.

        With a local server only a prompt claims the sid.

        :returns: None where no key is left to find it by; nothing is remembered then.
        """
        self.sweep(now)
        rid, sid, call_id = envelope.rid, envelope.sid, envelope.call_id
        ask = Ask(asker, server, kind, rid, sid, call_id)
        served = self.servers.get(server)
        if served is None:
            served = self.servers[server] = Served()
        keyed = _claim(served.calls, call_id, ask)
        keyed = _claim(served.rids, rid, ask) or keyed
        if kind is Kind.PROMPT or not isinstance(server, str):
            keyed = _claim_sid(served.sids, sid, ask) or keyed
        if not keyed:
            if not served.asks:
                del self.servers[server]
            return None
        served.asks[ask] = None
        self.size += OVERHEAD
        if kind is Kind.PROMPT and isinstance(server, str):
            self.serving[sid] = ask
        if ask.open:
            self._count(ask, served, +1)
        self._enter(ask, asker)
        if kind is Kind.OTHER or kind is Kind.PASSING:
            self._fade(ask, now)
        return ask

    def join(self, ask: Ask, rid: str | None) -> None:
        """A further tone of the same asker belongs to an open ask: of a call its rid replaces the former one."""
        if rid == ask.rid:
            return
        rids = self.servers[ask.server].rids
        known = (*(earlier for earlier in ask.earlier if earlier != rid), ask.rid)
        kept = known[-MAX_EARLIER:] if ask.kind is Kind.PROMPT else ()
        for earlier in known:
            if earlier not in kept and rids.get(earlier) is ask:
                del rids[earlier]
        _claim(rids, rid, ask)
        ask.rid, ask.earlier = rid, kept
        self._measure(ask)

    def part(self, ask: Ask, rid: str | None) -> bool:
        """One tone of an open ask came to nothing.  True where others remain, and the ask with them."""
        if not rid or not ask.earlier:
            return False
        if rid == ask.rid:
            ask.rid, ask.earlier = ask.earlier[-1], ask.earlier[:-1]
        elif rid in ask.earlier:
            ask.earlier = tuple(earlier for earlier in ask.earlier if earlier != rid)
        else:
            return False
        rids = self.servers[ask.server].rids
        if rids.get(rid) is ask:
            del rids[rid]
        return True

    def close(self, ask: Ask, now: float) -> None:
        """The terminal answer came.  An orphan is forgotten, anything else remembered."""
        ask.open = False
        self._count(ask, self.servers[ask.server], -1)
        if ask.asker is None:
            self.forget(ask)
        else:
            self._fade(ask, now)
        self.sweep(now)

    def forget(self, ask: Ask) -> None:
        """Strike it from every table."""
        if not ask.alive:
            return
        ask.alive = False
        server = ask.server
        served = self.servers[server]
        if ask.open:
            ask.open = False
            self._count(ask, served, -1)
        del served.asks[ask]
        self.size -= OVERHEAD
        for table, key in (
            (served.calls, ask.call_id),
            (served.sids, ask.sid),
            *((served.rids, rid) for rid in (ask.rid, *ask.earlier)),
        ):
            if table.get(key) is ask:
                del table[key]
        if not served.asks:
            del self.servers[server]
        if self.serving.get(ask.sid) is ask:
            del self.serving[ask.sid]
        if ask in self.orphans:
            del self.orphans[ask]
            self._orphaned -= ask.size
            self._resize(ask, 0)
        self._fading.pop(ask, None)
        self._leave(ask)

    def let_go(self, ask: Ask) -> None:
        """Nobody waits any more: an open prompt of a local worker becomes an orphan, anything else is forgotten."""
        if not (ask.alive and ask.open and ask.kind is Kind.PROMPT and isinstance(ask.server, str)):
            self.forget(ask)
            return
        asker = ask.asker
        if asker is None:
            return
        self._leave(ask)
        ask.asker, ask.heir = None, None if isinstance(asker, str) else asker
        self.orphans[ask] = None
        self._resize(ask, ask.measure())
        self._orphaned += ask.size
        while len(self.orphans) > MAX_ORPHANS or self._orphaned > MAX_KEYS:
            self._counters["orphans.evicted"] += 1
            self.forget(next(iter(self.orphans)))

    def adopt(self, ask: Ask, asker: Side, rid: str | None) -> None:
        """An orphan is taken over by a prompt with ``rid``.  There must be room: `has_room`."""
        del self.orphans[ask]
        self._orphaned -= ask.size
        self._resize(ask, 0)
        rids = self.servers[ask.server].rids
        for former in (ask.rid, *ask.earlier):
            if rids.get(former) is ask:
                del rids[former]
        _claim(rids, rid, ask)
        ask.asker, ask.heir, ask.rid, ask.earlier = asker, None, rid, ()
        self._enter(ask, asker)

    def sweep(self, now: float) -> None:
        """Forget what was remembered long enough."""
        fading = self._fading
        while fading:
            ask = next(iter(fading))
            if fading[ask] > now:
                return
            self._counters["asks.expired"] += 1
            self.forget(ask)

    # inside

    def _enter(self, ask: Ask, asker: Side) -> None:
        asked = self.askers.get(asker)
        if asked is None:
            asked = self.askers[asker] = Asked()
        asked.asks[ask] = None
        if ask.kind is Kind.PROMPT:
            asked.prompts[ask.sid] = ask
        self._measure(ask)

    def _measure(self, ask: Ask) -> None:
        before = ask.size
        self._resize(ask, ask.measure())
        if ask.asker is not None:
            self.askers[ask.asker].size += ask.size - before

    def _resize(self, ask: Ask, size: int) -> None:
        self.size += size - ask.size
        ask.size = size

    def _evict(self, asked: Asked, asks: int = MAX_ASKS + 1, size: int = MAX_KEYS + 1) -> bool:
        """Have an asker's own remembered asks make room.  False where that is not enough."""
        while len(asked.asks) >= asks or asked.size >= size:
            if not asked.fading:
                return False
            self._counters["asks.evicted"] += 1
            self.forget(next(iter(asked.fading)))
        return True

    def _crowd_out(self) -> None:
        """Forget what has ended, the oldest of whoever holds most; and so much of it that this is seldom done."""
        enough = MAX_BYTES - MAX_BYTES // 16
        while self.size > enough and (crowd := [asked for asked in self.askers.values() if asked.ended]):
            for asked in sorted(crowd, key=lambda asked: asked.held, reverse=True):
                for ask in list(asked.ended)[: len(asked.ended) // 2 + 1]:
                    self._counters["asks.crowded"] += 1
                    self.forget(ask)
                if self.size <= enough:
                    return

    def _leave(self, ask: Ask) -> None:
        asker = ask.asker
        if asker is None:
            return
        asked = self.askers[asker]
        del asked.asks[ask]
        asked.size -= ask.size
        self._resize(ask, 0)
        asked.fading.pop(ask, None)
        asked.ended.pop(ask, None)
        if asked.prompts.get(ask.sid) is ask:
            del asked.prompts[ask.sid]
        if not asked.asks:
            del self.askers[asker]

    def _fade(self, ask: Ask, now: float) -> None:
        assert ask.asker is not None
        asked = self.askers[ask.asker]
        asked.fading[ask] = None
        asked.fading.move_to_end(ask)
        if not ask.open:
            asked.ended[ask] = None
        self._fading[ask] = now + REMEMBERED
        self._fading.move_to_end(ask)

    def _count(self, ask: Ask, served: Served, step: int) -> None:
        before = served.open
        served.open += step
        if ask.kind is Kind.PROMPT:
            served.prompts += step
        if not isinstance(ask.server, str) and (before == 0 or served.open == 0):
            self.changed[ask.server] = None


def _claim(table: dict[str | None, Ask], key: str | None, ask: Ask) -> bool:
    """Put ``ask`` under ``key``, if the key is there and no open ask has it."""
    if not key:
        return False
    held = table.get(key)
    if held is not None and held.open:
        return False
    table[key] = ask
    return True


def _claim_sid(table: dict[str | None, Ask], sid: str | None, ask: Ask) -> bool:
    """
    As `_claim`; but a prompt takes the sid from its asker's own calls, and only a prompt from somebody else.

    An open prompt of its own asker it has joined, or there is none: see `AskBook.holder`.
    """
    if not sid:
        return False
    held = table.get(sid)
    if held is not None:
        if held.asker == ask.asker:
            free = not held.open or ask.kind is Kind.PROMPT
        else:
            # Late words for one asker must not find the tone of another that merely mentions the sid.
            free = not held.open and ask.kind is Kind.PROMPT
        if not free:
            return False
    table[sid] = ask
    return True
