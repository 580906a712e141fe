"""`Block`: what many outboxes are to write, joined once and sent one system call right behind the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ensemble.protocols.turn import Turn

if TYPE_CHECKING:
    from ensemble.protocols.outbox import Outbox

MAX_WRITE_LINES: Final = 64  # per write; larger ones make the allocator trim and regrow its heap every turn
MAX_WRITE_BYTES: Final = 64 * 1024  # per write; a single longer line goes alone


class Block(list[bytes]):
    """
    Lines that wait at the end of many outboxes at once, joined once for all of them.

    It grows while nothing else is queued behind it anywhere and nobody has written it; then it is closed.  Outboxes
    that have nothing else to write, and a socket, leave the writing to the block; where all do, they stay in it, and
    the next turn finds it empty and open.

    :ivar open: more may be added.
    :ivar outboxes: those that leave the writing to the block.
    :ivar elsewhere: there are others in it.
    """

    __slots__ = ("_joined", "_size", "_turn", "elsewhere", "open", "outboxes")

    def __init__(self, line: bytes, turn: Turn) -> None:
        super().__init__((line,))
        self._size = len(line) + 1
        self._joined: bytes | None = None
        self._turn = turn
        self.open = True
        self.elsewhere = False
        self.outboxes: list[Outbox] = []
        turn.add(self)

    def add(self, line: bytes) -> bool:
        """:returns: False where it is closed, or would be too much for one write."""
        size = self._size + len(line) + 1
        if not self.open or size > MAX_WRITE_BYTES or len(self) >= MAX_WRITE_LINES:
            return False
        if not self:
            self._turn.add(self)
        self.append(line)
        self._size = size
        return True

    def joined(self) -> bytes:
        """What a stream is sent, once no more is added."""
        if self._joined is None:
            self._joined = b"\n".join((*self, b""))
        return self._joined

    def flush(self) -> None:
        """
        Send it to those who leave that to the block; calls nobody back.

        Two loops, because a system call evicts what the processor had at hand: behind each, Python runs at a fraction
        of its speed.  So between two of them there is next to none.
        """
        data = self.joined()
        size = len(data)
        ready = []
        for outbox in self.outboxes:
            if outbox._block is self:
                wire = outbox._wire
                if wire.send_now is None or outbox._full:
                    outbox.settle()
                else:
                    wire.sent += size
                    ready.append((wire.send_now, outbox))
        for send, outbox in ready:
            try:
                taken = send(data)
            except OSError:
                taken = 0  # no room, or an end: the transport finds that out by itself
            if taken != size:
                outbox._wire.sent -= size - taken
                outbox._leave()
                outbox.push(data[taken:-1], whatever=True)  # as one line: where one was cut, its end must come
        self.open = self.open and not self.elsewhere
        if self.open:
            self.clear()
            self._size, self._joined = 0, None
        else:
            for _, outbox in ready:
                if outbox._block is self:
                    outbox._leave()
