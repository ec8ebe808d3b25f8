"""Traces, metrics, health: what an operator sees, without what a user said."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.retrieval import BatchedRetrieval
from serving.router import Lineup, Router
from serving.settings import Tracing
from serving.tracing import tracer_provider
from stepladder.errors import StepladderError
from tests.local_server import running
from tests.serving.house import Gate, House, answering

QUESTION = [{"role": "user", "content": "SECRET state of ufw"}]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_holds_retrieval_and_engine_and_joins_the_callers(house: House) -> None:
    exporter = InMemorySpanExporter()
    with answering(house, exporter=exporter) as gate:
        gate.openai().chat.completions.create(
            model="docs", messages=QUESTION, extra_headers={"traceparent": PARENT}
        )
        recorded = gate.records("asked")[0]["trace"]
        sent_on = gate.house.engine.headers[-1]["traceparent"]
    spans = {span.name: span for span in exporter.get_finished_spans()}

    assert set(spans) == {"chat", "retrieve", "engine"}
    trace = PARENT.split("-")[1]
    assert {format(span.context.trace_id, "032x") for span in spans.values()} == {trace, recorded}
    assert sent_on.split("-")[1] == trace
    assert spans["retrieve"].parent.span_id == spans["chat"].context.span_id
    assert spans["chat"].attributes["stepladder.outcome"] == "answered"
    assert all("SECRET" not in span.to_json() for span in spans.values())


@pytest.mark.parametrize("fails", ["retrieve", "engine"])
def test_a_span_of_what_failed_says_so_without_the_words_of_its_cause(house: House, fails: str) -> None:
    async def broken(*_: object) -> Any:
        raise StepladderError("it cannot be searched") from ConnectionError("http://u:MARKER@qdrant")

    exporter = InMemorySpanExporter()
    if fails == "retrieve":
        champion = house.router.lineups["docs"].champion
        assert champion
        house.router.put("docs", Lineup({"champion": replace(champion, retrieval=BatchedRetrieval(broken))}))
    with answering(house, exporter=exporter) as gate, gate.http() as client:
        if fails == "engine":
            gate.gateway.engines.complete = broken  # type: ignore[method-assign]
        answer = client.post("/v1/chat/completions", json={"model": "docs", "messages": QUESTION})
        assert answer.is_server_error
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert not spans[fails].status.is_ok
    assert not spans["chat"].status.is_ok
    for span in spans.values():
        assert "MARKER" not in span.to_json()
        assert span.events == ()


class _Receiver(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP, as a collector or MLflow does."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append((self.path, self.headers.get("x-mlflow-experiment-id"), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def receiver() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.requests = []
    with running(server):
        yield server


def test_spans_reach_the_endpoint_that_is_configured(house: House) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with receiver() as server:
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        tracing = Tracing(endpoint=endpoint, headers={"x-mlflow-experiment-id": "7"})
        house.settings = house.settings.model_copy(update={"tracing": tracing})
        with answering(house) as gate:
            gate.openai().chat.completions.create(model="docs", messages=QUESTION)
            trace = gate.records("asked")[0]["trace"]
        # It is sent at the latest when the gateway ends.
    spans = []
    for path, experiment, body in server.requests:
        assert (path, experiment) == ("/v1/traces", "7")
        told = ExportTraceServiceRequest.FromString(body)
        spans += [span for one in told.resource_spans for scope in one.scope_spans for span in scope.spans]
        assert b"SECRET" not in body
    assert {span.name for span in spans} == {"chat", "retrieve", "engine"}
    assert {span.trace_id.hex() for span in spans} == {trace}


def test_nothing_is_exported_without_an_endpoint() -> None:
    assert not tracer_provider(Tracing())._active_span_processor._span_processors
    configured = tracer_provider(Tracing(endpoint="http://127.0.0.1:9/v1/traces"))
    assert configured._active_span_processor._span_processors
    configured._active_span_processor._span_processors[0].shutdown()


def test_metrics_count_by_task_and_outcome(gate: Gate) -> None:
    gate.openai().chat.completions.create(model="docs", messages=QUESTION)
    with gate.http("admin") as client:
        client.post("/v1/chat/completions", json={"model": "nobody", "messages": QUESTION})
        text = client.get("/metrics").text

    assert 'stepladder_interactions_total{outcome="answered",task="docs",version="1"} 1.0' in text
    assert 'stepladder_tokens_total{kind="completion",task="docs"} 3.0' in text
    assert 'stepladder_http_requests_total{route="/v1/chat/completions",status="404"} 1.0' in text
    assert "SECRET" not in text
    assert "nobody" not in text


@pytest.mark.parametrize(
    "lineups", [{}, {"empty": Lineup({})}, {"loading": Lineup({}, "it is being loaded", awaited=True)}]
)
def test_not_ready_without_a_champion_but_alive(house: House, lineups: dict) -> None:
    house.router = Router(lineups)
    with answering(house) as gate, gate.http(None) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert answer.json()["missing"] == ["champion" if lineups else "task"]


def test_ready_when_every_task_that_has_a_champion_answers(house: House) -> None:
    with answering(house) as gate, gate.http(None) as client:
        assert client.get("/readyz").json() == {"ready": True, "missing": []}, "one task has none"


def test_not_ready_while_the_champion_of_one_task_is_still_loaded(house: House) -> None:
    house.router.put("empty", Lineup({}, "it is being loaded", awaited=True))
    with answering(house) as gate, gate.http(None) as client:
        assert client.get("/readyz").json() == {"ready": False, "missing": ["champion"]}


def test_the_page_and_its_parts_are_served_without_a_cdn(gate: Gate) -> None:
    page = Path(__file__).parents[2] / "serving" / "page"
    with gate.http(None) as client:
        for path, name in (("/", "index.html"), ("/page/app.js", "app.js"), ("/page/style.css", "style.css")):
            answer = client.get(path)
            assert answer.text == (page / name).read_text()
            assert "http" not in answer.text.replace("http-equiv", "")
            assert "script-src 'self'" in answer.headers["content-security-policy"]
