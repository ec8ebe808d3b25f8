from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stepladder.data.ingest.events import log_event, send_event
from stepladder.data.ingest.records import Counts, DatasetUpdated
from tests.data.ingest.conftest import Project, example, run
from tests.local_server import running

EVENT = DatasetUpdated(
    id="6a2f41a3-c54c-fce8-32d2-0324e1c32e22",
    occurred="2026-01-01T00:00:00+00:00",
    task="tiny",
    kinds=["examples"],
    commit="c0ffee",
    tag="data/tiny/1",
    counts={"examples": Counts(arrived=3, kept=1, quarantined=1, known=1)},
)


class _Api(BaseHTTPRequestHandler):
    taken: list[tuple[str, str | None, list[dict]]]
    status = 204

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.taken.append((self.path, self.headers.get("Authorization"), body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Api]]:
    handler = type("Api", (_Api,), {"taken": []})
    with running(HTTPServer(("127.0.0.1", 0), handler)) as server:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        yield handler


def test_an_event_is_logged_once_however_often_it_is_told(tmp_path: Path) -> None:
    other = EVENT.model_copy(update={"task": "other"})
    for event in (EVENT, EVENT, other, other):
        log_event(tmp_path / "log/events.jsonl", event)
    lines = (tmp_path / "log/events.jsonl").read_text().splitlines()
    assert [json.loads(line)["task"] for line in lines] == ["tiny", "other"]


def test_prefect_gets_the_event_with_its_payload(api: type[_Api], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "user:pass")
    assert send_event(EVENT) is None
    ((path, authorization, (event,)),) = api.taken
    assert path == "/api/events"
    assert authorization == "Basic dXNlcjpwYXNz"
    assert event["event"] == "dataset.updated"
    assert event["resource"]["prefect.resource.id"] == "stepladder.dataset.tiny"
    assert event["payload"]["commit"] == "c0ffee"
    assert event["payload"]["counts"]["examples"]["kept"] == 1


def test_an_event_that_was_not_taken_is_sent_by_the_next_ingest(
    api: type[_Api], plain_project: Project
) -> None:
    api.status = 503
    plain_project.send("tiny/examples/a.jsonl", [example(8)])
    (fault,) = plain_project.ingest().unsent
    assert "503" in fault
    api.status = 204
    assert plain_project.ingest().unsent == []
    assert plain_project.ingest().unsent == []
    assert len(api.taken) == 2
    assert api.taken[0] == api.taken[1]


def test_without_an_api_the_last_event_waits_for_one(
    api: type[_Api], plain_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("PREFECT_API_URL")
        for number in (8, 9):
            plain_project.send(f"tiny/examples/{number}.jsonl", [example(number)])
            assert plain_project.ingest().unsent == []
    assert plain_project.ingest().unsent == []
    assert plain_project.ingest().unsent == []
    ((_, _, (event,)),) = api.taken
    assert event["payload"]["commit"] == run(plain_project.root, "git", "rev-parse", "HEAD")
