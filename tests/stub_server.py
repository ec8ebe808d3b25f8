"""A tiny OpenAI-compatible server for tests of what surrounds the engine; end_to_end has a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.local_server import running

Answer = Callable[[dict[str, Any]], str | int]


class StubServer(ThreadingHTTPServer):
    """Answers with what ``answer`` says of the request's body: a text, or a status code to fail with."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.seen: list[dict[str, Any]] = []
        self.model = "stub"
        self.lost: list[str] = []  # paths at which nothing is

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: StubServer

    def do_GET(self) -> None:
        if self.path in self.server.lost:
            self._reply(404, {})
            return
        self._reply(200, {"object": "list", "data": [{"id": self.server.model, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        said = self.server.answer(body)
        if isinstance(said, int):
            self._reply(said, {"error": {"message": "refused by the stub", "type": "stub", "code": said}})
            return
        self._reply(
            200,
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "stub",
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
                ],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
            },
        )

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def stub_server(answer: Answer) -> Iterator[StubServer]:
    """A running stub on a free port of the loopback."""
    with running(StubServer(answer)) as server:
        yield server
