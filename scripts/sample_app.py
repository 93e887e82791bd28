#!/usr/bin/env python3
"""A small application that pays for what it uses: an echo service that records how many sessions are open.

Before it serves it asks whether as many as it will need may be used.

It is its own client, too: sessions come and go on a fixed pattern, over real TCP connections on loopback. Each count
is recorded through the agent's local socket and then printed as a JSON line {"wall": seconds, "count": n}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time

from agent import usage

PATTERN = (3, 8, 12, 5, 9, 2, 7)
"""How many sessions there shall be, in turn."""


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def main(socket: str, license_name: str, pause: float) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    open_now: set[asyncio.StreamWriter] = set()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        try:
            await echo(reader, writer)
        finally:
            open_now.discard(writer)

    with usage.connect(socket) as recorder:
        asked = recorder.ask_permission(license_name, max(PATTERN))
    if not asked:
        raise SystemExit(f"{license_name} may not be used: {asked.message}")
    server = await asyncio.start_server(session, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    clients: list[asyncio.StreamWriter] = []
    with usage.connect(socket) as recorder:

        def record() -> None:
            recorder.record(license_name, len(open_now))
            print(json.dumps({"wall": time.time(), "count": len(open_now)}), flush=True)

        turn = 0
        while not ended.is_set():
            wanted = PATTERN[turn % len(PATTERN)]
            while len(clients) < wanted:
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"hello\n")
                await reader.readline()
                clients.append(writer)
            while len(clients) > wanted:
                clients.pop().close()
            while len(open_now) != wanted:
                await asyncio.sleep(0.001)
            record()
            turn += 1
            try:
                await asyncio.wait_for(ended.wait(), pause)
            except TimeoutError:
                continue
        for writer in clients:
            writer.close()
        while open_now:
            await asyncio.sleep(0.001)
        record()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket", help="the agent's local socket, STATE_DIR/agent.sock")
    parser.add_argument("license", help="the licence that pays for a session")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two changes")
    args = parser.parse_args()
    asyncio.run(main(args.socket, args.license, args.pause))
