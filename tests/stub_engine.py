"""A constant-latency engine: streams, obeys schemas by name only, and counts what was cut off.

python -m tests.stub_engine --port 9000 --latency-ms 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Said = str | int
Says = Callable[[dict[str, Any]], Said]


class StubEngine:
    """Answers after ``latency_s`` with what ``says`` makes of a body: a text, or a status to fail with.

    A stream tells its first word at once and spreads the rest over ``latency_s``; with ``dies_after``
    words it breaks off.
    """

    def __init__(self, says: Says, latency_s: float = 0.0, name: str = "stub") -> None:
        self.says = says
        self.name = name
        self.latency_s = latency_s
        self.dies_after: int | None = None
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.finished = 0
        self.cancelled = 0
        self.url = ""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._models)
        app.router.add_post("/v1/chat/completions", self._complete)
        return app

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.name, "object": "model"}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append(body)
        self.headers.append(dict(request.headers))
        try:
            said = self.says(body)
            if isinstance(said, int):
                return web.json_response({"error": {"message": "refused by the stub"}}, status=said)
            reply = await (self._stream(request, said) if body.get("stream") else self._whole(said))
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        self.finished += 1
        return reply

    async def _whole(self, said: str) -> web.Response:
        await asyncio.sleep(self.latency_s)
        message = {"role": "assistant", "content": said}
        return web.json_response(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "stub",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": _USAGE,
            }
        )

    async def _stream(self, request: web.Request, said: str) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        words = said.split(" ")
        for number, word in enumerate(words):
            if number == self.dies_after:
                assert request.transport
                request.transport.abort()
                return reply
            if number:
                await asyncio.sleep(self.latency_s / len(words))
            delta = {"content": f" {word}" if number else word}
            await reply.write(_event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
        await reply.write(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        await reply.write(_event({"choices": [], "usage": _USAGE}))
        await reply.write(b"data: [DONE]\n\n")
        return reply


_USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk', **value})}\n\n".encode()


async def started(engine: StubEngine, port: int) -> web.AppRunner:
    runner = web.AppRunner(engine.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    bound = runner.addresses[0][1]
    engine.url = f"http://127.0.0.1:{bound}/v1"
    return runner


@contextmanager
def stub_engine(says: Says, latency_s: float = 0.0) -> Iterator[StubEngine]:
    """A running stub on a free port of the loopback, in a thread with an event loop of its own."""
    engine = StubEngine(says, latency_s)
    loop = asyncio.new_event_loop()
    runner = loop.run_until_complete(started(engine, 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=200)
    options = parser.parse_args()

    async def forever() -> None:
        engine = StubEngine(lambda _: "present", options.latency_ms / 1000)
        await started(engine, options.port)
        print(engine.url, flush=True)
        await asyncio.Event().wait()

    asyncio.run(forever())


if __name__ == "__main__":
    main()
