"""A server that says one thing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.local_server import running


@contextmanager
def server_saying(text: str, ahead_s: float = 0) -> Iterator[str]:
    """The address of a server that answers everything with a text, and whose clock is ahead."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def date_time_string(self, *_: object) -> str:
            return formatdate(time.time() + ahead_s, usegmt=True)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with running(HTTPServer(("127.0.0.1", 0), Handler), poll_s=0.02) as server:
        yield f"http://127.0.0.1:{server.server_port}"
