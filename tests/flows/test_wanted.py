"""A run that its server takes for ended is not wanted any more; a server that is away says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows import wanted
from tests.local_server import running

pytestmark = pytest.mark.slow


class _Api(BaseHTTPRequestHandler):
    state: str
    status: int
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps({"state_type": self.state}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Api]]:
    handler = type("Api", (_Api,), {"state": "RUNNING", "status": 200, "asked": []})
    with running(HTTPServer(("127.0.0.1", 0), handler)) as server:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        yield handler


def test_it_is_asked_now_and_then_and_an_end_is_final(
    api: type[_Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = wanted.Run("r-1")
    assert run.is_wanted()
    assert run.is_wanted()
    assert api.asked == ["/api/flow_runs/r-1"]
    monkeypatch.setattr(wanted, "_EVERY_S", 0)
    api.status, api.state = 503, "CRASHED"
    assert run.is_wanted()
    api.status = 200
    assert not run.is_wanted()
    api.state = "RUNNING"
    assert not run.is_wanted()
    assert len(api.asked) == 3


def test_without_a_server_or_a_run_nothing_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert wanted.Run("r-1").is_wanted()
    assert wanted.Run(None).is_wanted()
    monkeypatch.delenv("PREFECT_API_URL")
    assert wanted.Run("r-1").is_wanted()
