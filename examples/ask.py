"""
Ask a question, here or at another humd, and print the answer as it comes.

    python examples/ask.py [--thrum PATH] [--to HUMD_ID] [--model echo] QUESTION
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react
from twisted.python.failure import Failure

from ensemble.config import Paths
from ensemble.thrum.client import connect


async def ask(reactor: IReactorTime, arguments: argparse.Namespace) -> None:
    """One prompt; its chunks to standard output, its end to standard error."""
    path = Paths.resolve(os.environ, os.getuid(), thrum=arguments.thrum).thrum
    try:
        client = await connect(reactor, str(path))
    except ConnectError as error:
        raise SystemExit(f"ask: no humd answers on {path} ({error}); start one with `twistd humd`") from None
    client.hello("ask")
    prompt = {"chi": "prompt", "modelId": arguments.model, "text": arguments.question}
    if arguments.to:
        prompt["to"] = arguments.to
    asked, pieces = reactor.seconds(), 0
    async for tone in client.ask(prompt):
        if tone["chi"] == "chunk" and tone.get("chunkType") == "text_delta":
            pieces += 1
            print(tone.get("delta", ""), end="", flush=True)
        elif tone["chi"] == "error":
            client.close()
            says = f"{tone['from']} says " if "from" in tone else ""  # of another humd
            raise SystemExit(f"ask: {says}{tone.get('qualifier', 'error')}: {tone.get('message', '')}")
    print(flush=True)
    took = 1000 * (reactor.seconds() - asked)
    print(f"ask: {pieces} pieces in {took:.0f} ms", file=sys.stderr, flush=True)
    client.close()
    await client.gone


def main(reactor: Any, *words: str) -> Deferred[None]:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="ask a humd's worker")
    parser.add_argument("question")
    parser.add_argument("--thrum", help="the humd's socket; the default is the humd's own")
    parser.add_argument("--to", help="full id of the humd that is to answer; the default is this one")
    parser.add_argument("--model", default="echo", help="the model to ask (default: echo)")
    arguments = parser.parse_args(list(words))
    stopping: list[bool] = []
    reactor.addSystemEventTrigger("before", "shutdown", stopping.append, True)
    return ensureDeferred(ask(reactor, arguments)).addErrback(told, stopping)


def told(failure: Failure, stopping: list[bool]) -> None:
    """One line for what went wrong."""
    if stopping:  # by Ctrl-C, and then the connection is lost for no other reason
        raise SystemExit(130)
    print(failure.getErrorMessage(), file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    react(main, sys.argv[1:])
