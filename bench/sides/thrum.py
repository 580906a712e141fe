"""
Two local programs on two daemons: a worker that answers a prompt with chunk tones, and the asker that counts them.

``worker SOCKET N | asker SOCKET WORKER_HUMD``.  The worker prints ``READY`` once it is registered; the asker ends with
one line of JSON.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory

from bench.measure import say, tell_rate
from bench.sides.stream import End
from bench.tones import TONE, TURN
from ensemble.interfaces import IWire
from ensemble.protocols import StreamWireFactory
from ensemble.tone import MalformedTone, decode, decode_each, encode

reactor = cast(Any, _reactor)

MODEL = "bench"
SID = str(TONE["sid"])
RETRY_SECONDS = 0.1  # the two daemons may not be linked yet
TRIES = 200


class Worker(End):
    """Offers 64 chunk tones a turn, without a rid, once it is prompted."""

    def __init__(self, wire: IWire, count: int) -> None:
        super().__init__(wire)
        self.count, self.left = count, 0
        self.tone: dict[str, Any] = {}

    def heard(self, lines: list[bytes]) -> None:
        for line in lines:
            tone = decode(line)
            if tone["chi"] == "echo" and tone.get("rid") == "hello":
                say("READY")
            elif tone["chi"] == "prompt":
                self.left = self.count
                self.tone = {"chi": "chunk", "sid": tone["sid"], "sentAt": TONE["sentAt"], "payload": TONE["payload"]}
                self.room()

    def room(self) -> None:
        if not self.left:
            return
        for _ in range(min(TURN, self.left)):
            self.push(encode(self.tone))
        self.left -= min(TURN, self.left)
        if self.left:
            reactor.callLater(0, self.more)
        else:
            self.push(encode({"chi": "finish", "sid": self.tone["sid"], "finishReason": "stop"}))


class Asker(End):
    """Asks until the other daemon is linked; the clock runs from the first chunk to the finish."""

    def __init__(self, wire: IWire, humd: str) -> None:
        super().__init__(wire)
        self.humd, self.tries, self.count, self.began = humd, 0, 0, 0.0
        self.done = False

    def ask(self) -> None:
        self.tries += 1
        prompt = {"chi": "prompt", "rid": f"ask-{self.tries}", "sid": SID, "modelId": MODEL, "text": "go"}
        self.push(encode({**prompt, "to": self.humd}))

    def heard(self, lines: list[bytes]) -> None:
        for tone in decode_each(lines):
            if isinstance(tone, MalformedTone):
                raise tone
            chi = tone["chi"]
            if chi == "chunk":
                self.began = self.began or time.perf_counter()
                self.count += 1
            elif chi == "finish":
                tell_rate(self.count, self.began)
                self.done = True
                self.wire.close()
            elif chi == "error":
                if self.tries >= TRIES:
                    sys.stderr.write(f"the prompt failed: {tone}\n")
                    self.wire.abort()
                else:
                    reactor.callLater(RETRY_SECONDS, self.ask)

    def wire_lost(self, reason: str, clean: bool) -> None:
        if not self.done:
            sys.stderr.write(f"the daemon ended it after {self.count} tones ({reason}): were they read too slowly?\n")
        super().wire_lost(reason, clean)


def attach(path: str, build: Callable[[IWire], None]) -> None:
    factory = cast(Factory, StreamWireFactory(reactor, build, kind="unix"))
    UNIXClientEndpoint(reactor, path).connect(factory)


def main(command: str, path: str, rest: str) -> None:
    def worker(wire: IWire) -> None:
        end = Worker(wire, int(rest))
        wire.start(end)
        hello = {"chi": "hello", "rid": "hello", "hive": "bench", "bee": ["worker"], "models": [MODEL]}
        end.push(encode({**hello, "protoVersion": "0.8.0"}))

    def asker(wire: IWire) -> None:
        end = Asker(wire, rest)
        wire.start(end)
        end.ask()

    attach(path, {"worker": worker, "asker": asker}[command])
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
