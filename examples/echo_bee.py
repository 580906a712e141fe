"""
A worker: answers every prompt with the prompt's own words, one piece after the other.

    python examples/echo_bee.py [--thrum PATH] [--model echo] [--pause 0.05]
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from ensemble.config import Paths
from ensemble.thrum.client import ThrumClient, connect


async def answer(reactor: IReactorTime, client: ThrumClient, prompt: dict[str, object], pause: float) -> None:
    """Stream the words of one prompt, then a finish with their number."""
    sid, text = prompt.get("sid"), prompt.get("content") or prompt.get("text") or ""
    words = str(text).split()
    client.send({"chi": "chunk", "sid": sid, "chunkType": "text_start", "blockIdx": 0})
    for at, word in enumerate(words):
        delta = word if at == 0 else f" {word}"
        client.send({"chi": "chunk", "sid": sid, "chunkType": "text_delta", "blockIdx": 0, "delta": delta})
        await deferLater(reactor, pause)
        await client.drained()
    client.send({"chi": "chunk", "sid": sid, "chunkType": "content_block_stop", "blockIdx": 0})
    usage = {"input_tokens": len(words), "output_tokens": len(words)}
    client.send({"chi": "finish", "sid": sid, "finishReason": "end_turn", "usage": usage})


async def work(reactor: IReactorTime, arguments: argparse.Namespace) -> None:
    """Join the humd and answer until it goes away."""
    path = Paths.resolve(os.environ, os.getuid(), thrum=arguments.thrum).thrum
    try:
        client = await connect(reactor, str(path))
    except ConnectError as error:
        raise SystemExit(f"no humd answers on {path} ({error}); start one with `twistd humd`") from None
    client.hello("echo-bee", bee=["worker"], models=[arguments.model])
    print(f"echo bee: serving model {arguments.model!r}", flush=True)
    async for tone in client.tones():
        if tone.get("chi") == "prompt":
            ensureDeferred(answer(reactor, client, tone, arguments.pause)).addErrback(
                lambda failure: print(f"echo bee: {failure.getErrorMessage()}", file=sys.stderr)
            )


def main(reactor: Any, *words: str) -> Deferred[None]:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="a worker that says the prompt back")
    parser.add_argument("--thrum", help="the humd's socket; the default is the humd's own")
    parser.add_argument("--model", default="echo", help="the model to serve (default: echo)")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between words (default: 0.05)")
    arguments = parser.parse_args(list(words))
    stopping: list[bool] = []
    reactor.addSystemEventTrigger("before", "shutdown", stopping.append, True)

    def ended(failure: Failure) -> None:
        if not stopping:  # by Ctrl-C, and then the connection is lost for no other reason
            sys.exit(f"echo bee: {failure.getErrorMessage()}")

    return ensureDeferred(work(reactor, arguments)).addErrback(ended)


if __name__ == "__main__":
    react(main, sys.argv[1:])
