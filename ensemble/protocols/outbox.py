"""
What waits to be written: one bounded queue per wire (wire-0.8 section 7), and one write per reactor turn.

A line is encoded once, by whoever pushes it; the queue only ever holds references.  The first push of a turn asks the
`Turn` for a flush at the turn's end, and the flush hands the wire everything that came meanwhile.  A flush that finds
the wire full stops; the wire's next `Outbox.drained` goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ensemble.protocols.block import MAX_WRITE_BYTES, MAX_WRITE_LINES, Block
from ensemble.protocols.turn import Turn

DEFAULT_OUTBOX_LIMIT: Final = 8 * 1024 * 1024  # bytes per destination
NOTE_EVERY: Final = 64 * 1024  # bytes by which a queue may have grown since its size was noted
_COMPACT_AT: Final = 1024  # sent entries at the head of the queue before the list is cut


class Writer(Protocol):
    """What an outbox wants of its `IWire`."""

    send_now: Callable[[bytes], int] | None
    sent: int

    def write(self, lines: Sequence[bytes]) -> None: ...


class Outbox:
    """
    The queue towards one wire.

    Only lines pushed as droppable are ever dropped, oldest first, and only when the queue is at its bound.  A line
    that finds the queue empty is always taken, so a single line may be longer than the bound.

    :ivar limit: the bound, in bytes.
    :ivar size: bytes queued, with an LF for each line; what the wire has taken does not count.
    :ivar dropped: droppable lines dropped so far.
    :ivar on_room: called when ``size`` has fallen to half the bound, after a push was refused or `want_room` was
        called; once for each such occasion, and never from inside `push` or `want_room`.
    """

    __slots__ = (
        "_base",
        "_block",
        "_closed",
        "_droppable",
        "_droppable_size",
        "_first",
        "_full",
        "_holes",
        "_lines",
        "_marked",
        "_note",
        "_noted",
        "_room_wanted",
        "_stuck",
        "_turn",
        "_unnoted",
        "_when_empty",
        "_wire",
        "dropped",
        "limit",
        "on_room",
        "size",
    )

    def __init__(
        self,
        wire: Writer,
        turn: Turn,
        limit: int = DEFAULT_OUTBOX_LIMIT,
        on_room: Callable[[], None] | None = None,
        note: Callable[[int], None] | None = None,
    ) -> None:
        """
        :param wire: is written at most 64 lines and 64 KiB at a time.  It may call `full` before it returns.
        :param limit: bytes.
        :param note: told of `size`, and of what a full wire has of a long line, where a flush leaves something, at
            each further 64 KiB, and of 0 when all of that is gone.  It may call `push` and `forget`.
        """
        self.size = 0
        self.dropped = 0
        self.on_room = on_room
        self._wire, self._turn, self.limit = wire, turn, limit
        self._lines: list[bytes | None] = []  # None: sent or dropped
        self._block: Block | None = None  # behind all of them, and not counted
        self._first = 0  # where the unsent ones begin
        self._base = 0  # the number of _lines[0]; numbers only ever grow while a droppable line waits
        self._droppable: deque[tuple[int, int]] | None = None  # number and size of each; most queues never see one
        self._droppable_size = 0
        self._holes = 0  # lines dropped since the queue was last compact
        self._note, self._noted = note, 0
        self._unnoted = limit if note is None else min(limit, NOTE_EVERY)  # a size above it is looked at with care
        self._full = False
        self._stuck = 0  # of a long line that the wire has not sent to its end: it is in memory all the same
        self._marked = False  # a flush is coming: at the turn's end or, while full, when the wire drains
        self._closed = False
        self._room_wanted = False
        self._when_empty: Callable[[], None] | None = None

    def push(self, line: bytes, droppable: bool = False, whatever: bool = False) -> bool:
        """
        Queue one line; it leaves at the end of this turn, or when the wire has room.

        :param whatever: it is taken even where the queue is at its bound: for a last line.
        :param droppable: it may be dropped under pressure, and then nobody is told.
        :returns: False when it was not taken: the queue is at its bound, or closed.  A droppable line is refused only
            by a closed queue; where it finds no room it is itself what is dropped.
        """
        if self._block is not None:
            self.settle()
        size = self.size + len(line) + 1
        if droppable or (size > self._unnoted and not whatever) or self._closed:
            taken = self._push_with_care(line, droppable)
            if self.size > self._unnoted:
                self._tell_size()
            return taken
        self.size = size
        self._lines.append(line)
        if not self._marked:
            self._marked = True
            self._turn.add(self)
        return True

    def add_block(self, block: Block) -> None:
        """
        Queue ``block``, which other outboxes share, behind everything; its lines are droppable.

        What is added to it while it is open is queued here as well, in this turn and, where it stays open, later.
        """
        self.settle()
        if not self._closed:
            self._block = block
            if self._marked or self._wire.send_now is None:
                block.elsewhere = True
                self._mark()
            else:
                block.outboxes.append(self)
        if self.size > self._unnoted:
            self._tell_size()  # last of all: whoever is told may have everything forgotten, and say a last line

    def settle(self) -> None:
        """From here on the lines of a block are as all others, and what is added to it is not queued here."""
        if self._block is not None:
            for line in self._leave():
                self._push_with_care(line, droppable=True)

    def want_room(self) -> None:
        """Have ``on_room`` called when the queue is at most half full; at the end of this turn where it is already."""
        self._room_wanted = True
        self._mark()

    def when_empty(self, callback: Callable[[], None]) -> None:
        """
        Have ``callback`` called once, when the wire has taken everything; at the end of this turn where it has.

        A later call replaces an earlier one; `close` forgets it.
        """
        self._when_empty = callback
        self._mark()

    def full(self) -> None:
        """The wire takes nothing more until `drained`."""
        self._full = self._marked = True

    def drained(self) -> None:
        """The wire has room again: go on at once."""
        self._full, self._stuck = False, 0
        self.flush()

    def flush(self) -> None:
        """Write what is queued, as far as the wire takes it."""
        if self._block is not None:
            if self.size or self._full:
                self.settle()
            else:
                self._wire.write(self._leave())
        while self.size and not self._full:
            before = self.size
            self._wire.write(self._batch())
            self._stuck = before - self.size
        if not self._full or self._stuck <= MAX_WRITE_BYTES:
            self._stuck = 0
        self._marked = self._full
        if self.size or self._stuck or self._noted:
            self._tell_size()
        if self._room_wanted and self.size * 2 <= self.limit and not self._closed:
            self._room_wanted = False
            if self.on_room is not None:
                self.on_room()
        if not self.size and self._when_empty is not None:
            callback, self._when_empty = self._when_empty, None
            callback()

    def forget(self) -> None:
        """Let go of what is queued."""
        if self._block is not None:
            self._leave()
        self._forget_all()
        self._stuck = 0
        self._tell_size()

    def close(self) -> None:
        """The wire is gone: forget what is queued and take nothing more."""
        self._closed = True
        self._when_empty = None
        self.forget()

    def _leave(self) -> Block:
        block, self._block = self._block, None
        assert block is not None
        block.open = False
        return block

    def _mark(self) -> None:
        if not self._marked and not self._closed:
            self._marked = True
            self._turn.add(self)

    def _push_with_care(self, line: bytes, droppable: bool) -> bool:
        if self._closed:
            return False
        weight = len(line) + 1
        over = self.size + weight - self.limit
        if over > 0 and self.size:
            if over > self._droppable_size:  # dropping all of them would not help
                if droppable:
                    self.dropped += 1
                else:
                    self._room_wanted = True
                return droppable
            self._drop(over)
        if droppable:
            if self._droppable is None:
                self._droppable = deque()
            self._droppable.append((self._base + len(self._lines), weight))
            self._droppable_size += weight
        self.size += weight
        self._lines.append(line)
        self._mark()
        return True

    def _tell_size(self) -> None:
        held = self.size + self._stuck
        if self._note is not None and self._noted != held:
            self._noted = held
            self._unnoted = min(self.limit, self.size + NOTE_EVERY)
            self._note(held)

    def _drop(self, over: int) -> None:
        """Drop at least ``over`` bytes of droppable lines, oldest first; there are as many."""
        while over > 0 and self._droppable:
            number, weight = self._droppable.popleft()
            self._lines[number - self._base] = None
            self._droppable_size -= weight
            self.size -= weight
            self.dropped += 1
            self._holes += 1
            over -= weight
        if self._holes >= _COMPACT_AT and self._holes * 2 >= len(self._lines):
            self._compact()

    def _compact(self) -> None:
        """Close the holes that drops leave: under lasting pressure the queue would be nothing else."""
        places: dict[int, int] = {}
        kept: list[bytes | None] = []
        for number, line in enumerate(self._lines, start=self._base):
            if line is not None:
                places[number] = len(kept)
                kept.append(line)
        self._droppable = deque((places[number], weight) for number, weight in self._droppable or ())
        self._lines = kept
        self._base = self._first = self._holes = 0

    def _batch(self) -> list[bytes]:
        """Take the next lines off the queue; there is at least one."""
        lines, at = self._lines, self._first
        batch = [line for line in lines[at : at + MAX_WRITE_LINES] if line is not None]
        if self.size <= MAX_WRITE_BYTES and len(lines) - at <= MAX_WRITE_LINES:
            self._forget_all()
            return batch
        size = sum(map(len, batch)) + len(batch)
        if size <= MAX_WRITE_BYTES and not self._holes:
            lines[at : at + len(batch)] = [None] * len(batch)
            self.size -= size
            self._sent_up_to(at + len(batch))
            return batch
        batch = []
        room = MAX_WRITE_BYTES
        while at < len(lines) and len(batch) < MAX_WRITE_LINES:
            line = lines[at]
            if line is not None:
                room -= len(line) + 1
                if room < 0 and batch:
                    break
                batch.append(line)
                self.size -= len(line) + 1
                lines[at] = None
            at += 1
        self._sent_up_to(at)
        return batch

    def _sent_up_to(self, at: int) -> None:
        self._first = at
        while self._droppable and self._droppable[0][0] < self._base + at:
            self._droppable_size -= self._droppable.popleft()[1]
        if at >= _COMPACT_AT and at * 2 >= len(self._lines):
            del self._lines[:at]
            self._base += at
            self._first = 0

    def _forget_all(self) -> None:
        self._lines = []
        self._first = self.size = self._droppable_size = self._holes = 0
        self._droppable = None
