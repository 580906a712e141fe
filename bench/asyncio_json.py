"""
The obvious program: asyncio streams and the standard ``json`` module, a drain after every 64 tones.

``recv | send PORT N | echo | rtt PORT N | relay OUT | hold N``.  A listener prints ``READY PORT``; ``recv``, ``rtt``
and ``hold`` end with one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from bench.measure import percentiles, raise_descriptor_limit, resident, say, tell, tell_rate
from bench.tones import TONE, TURN

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def dumps(tone: Any) -> bytes:
    return json.dumps(tone).encode() + b"\n"


async def accept_one(talk: Talk) -> None:
    """Serve one connection to its end."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()
            done.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    say(f"READY {server.sockets[0].getsockname()[1]}")
    await done
    server.close()


async def recv(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    count = 0
    began = time.perf_counter()
    async for line in reader:
        if not count:
            began = time.perf_counter()
        if "to" in json.loads(line):
            count += 1
    tell_rate(count, began)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        writer.write(dumps(json.loads(line)))
        await writer.drain()


async def send(port: int, count: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for sent in range(1, count + 1):
        writer.write(dumps(TONE))
        if sent % TURN == 0:
            await writer.drain()
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def rtt(port: int, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    trips: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        writer.write(dumps(TONE))
        await writer.drain()
        json.loads(await reader.readline())
        trips.append(time.perf_counter() - began)
    tell(percentiles(trips))
    writer.close()


def relay(out: int) -> Talk:
    async def pass_on(reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        _, onward = await asyncio.open_connection("127.0.0.1", out)
        passed = 0
        async for line in reader:
            tone = json.loads(line)
            if isinstance(tone.get("to"), str):
                onward.write(dumps(tone))
                passed += 1
                if passed % TURN == 0:
                    await onward.drain()
        await onward.drain()
        onward.close()
        await onward.wait_closed()

    return pass_on


async def hold(count: int) -> None:
    """Accept ``count`` connections, keep them, and say what they cost once asked on stdin."""
    raise_descriptor_limit(count + 64)
    kept: list[asyncio.StreamWriter] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append(writer)
        await reader.readline()

    server = await asyncio.start_server(keep, "127.0.0.1", 0, backlog=1024)
    before = resident()
    say(f"READY {server.sockets[0].getsockname()[1]}")
    await asyncio.to_thread(sys.stdin.readline)
    while len(kept) < count:
        await asyncio.sleep(0.01)
    tell({"links": len(kept), "bytes": resident() - before})


def main(command: str, *rest: str) -> None:
    commands: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "recv": lambda: accept_one(recv),
        "echo": lambda: accept_one(echo),
        "relay": lambda out: accept_one(relay(out)),
        "send": send,
        "rtt": rtt,
        "hold": hold,
    }
    asyncio.run(commands[command](*map(int, rest)))


if __name__ == "__main__":
    main(*sys.argv[1:])
