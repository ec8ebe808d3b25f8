"""Responses come from the cache; the engine is started only for what is missing, and once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepladder.cache import Cache
from stepladder.engine import RunningEngine
from stepladder.errors import StepladderError
from stepladder.evaluation.respond import Responder, responding
from stepladder.prompting.compose import Request
from tests.stub_server import Answer, StubServer, stub_server


def request(question: str, schema: dict[str, object] | None = None) -> Request:
    return Request(messages=[{"role": "user", "content": question}], output_schema=schema, max_tokens=8)


class Bench:
    """A responder over a stub, counting how often an engine was started."""

    def __init__(self, server: StubServer, folder: Path, adapter: str | None = None) -> None:
        self.server, self.starts = server, 0
        self.cache = Cache(folder / "responses.sqlite")
        self.responder = Responder("base", adapter, self.cache, self._start, concurrency=4, timeout_s=5)

    @contextmanager
    def _start(self) -> Iterator[RunningEngine]:
        self.starts += 1
        yield RunningEngine(self.server.url, "stub")


def echo(body: dict[str, object]) -> str:
    return "re: " + body["messages"][-1]["content"]  # type: ignore[index]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with stub_server(echo) as server:
        yield Bench(server, tmp_path)


def test_answers_come_in_the_order_of_the_requests(bench: Bench) -> None:
    texts = [r.text for r in bench.responder.respond([request(q) for q in "abcdefgh"])]
    assert texts == [f"re: {q}" for q in "abcdefgh"]


def test_a_known_response_asks_nothing_and_starts_no_engine(bench: Bench, tmp_path: Path) -> None:
    first = bench.responder.respond([request("a"), request("b")])
    again = Bench(bench.server, tmp_path)
    assert again.responder.respond([request("b"), request("a")]) == first[::-1]
    assert (again.starts, len(bench.server.seen)) == (0, 2)


def test_only_what_is_missing_is_asked_and_the_engine_starts_once(bench: Bench) -> None:
    bench.responder.respond([request("a")])
    bench.responder.respond([request("a"), request("b")])
    bench.responder.respond([request("c")])
    assert [body["messages"][-1]["content"] for body in bench.server.seen] == ["a", "b", "c"]
    assert bench.starts == 1
    assert bench.responder.asked == 3


def test_the_same_request_twice_is_asked_once(bench: Bench) -> None:
    one, two = bench.responder.respond([request("a"), request("a")])
    assert one == two
    assert len(bench.server.seen) == 1


def test_adapter_schema_and_length_are_part_of_the_key(bench: Bench, tmp_path: Path) -> None:
    bench.responder.respond([request("a")])
    Bench(bench.server, tmp_path, adapter="adapter").responder.respond([request("a")])
    bench.responder.respond([request("a", {"type": "object"})])
    assert len(bench.server.seen) == 3
    assert bench.server.seen[-1]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_decoding_is_greedy(bench: Bench) -> None:
    bench.responder.respond([request("a")])
    assert bench.server.seen[0]["temperature"] == 0.0


def failing_at(bad: str) -> Answer:
    return lambda body: 400 if body["messages"][-1]["content"] == bad else echo(body)


def test_a_refused_request_names_the_reason_and_keeps_the_other_answers(tmp_path: Path) -> None:
    with stub_server(failing_at("bad")) as server:
        bench = Bench(server, tmp_path)
        bench.responder.concurrency = 1
        with pytest.raises(StepladderError, match=r"refused a request.*refused by the stub"):
            bench.responder.respond([request("a"), request("bad"), request("b")])
        asked = len(server.seen)
        assert bench.responder.respond([request("a")])[0].text == "re: a"
        assert len(server.seen) == asked


def test_an_engine_that_goes_away_is_named_and_answers_are_kept(tmp_path: Path) -> None:
    with stub_server(echo) as server:
        bench = Bench(server, tmp_path)
        bench.responder.respond([request("a")])
    with pytest.raises(StepladderError, match="engine went away after 0 of 1") as caught:
        bench.responder.respond([request("a"), request("b")])
    assert "run the same command again" in caught.value.remedy
    assert bench.responder.respond([request("a")])[0].text == "re: a"


def test_leaving_the_block_ends_the_engine(tmp_path: Path) -> None:
    ended = []

    @contextmanager
    def start() -> Iterator[RunningEngine]:
        yield RunningEngine(server.url, "stub")
        ended.append(True)

    with stub_server(echo) as server:
        responder = Responder("base", None, Cache(tmp_path / "r.sqlite"), start, 1, 5)
        with responding(responder):
            responder.respond([request("a")])
            assert not ended
        assert ended


def test_a_response_keeps_the_circumstances_in_which_it_was_asked(bench: Bench, tmp_path: Path) -> None:
    bench.responder.hardware = "2 cores of Xeon"
    first = bench.responder.respond([request(q) for q in "abcdefgh"])
    assert {(one.in_flight, one.hardware) for one in first} == {(4, "2 cores of Xeon")}
    again = Bench(bench.server, tmp_path)
    again.responder.hardware = "another machine"
    later = again.responder.respond([request("a"), request("new")])
    assert later[0] == first[0], "as it was when it was asked, not as it is when it is read"
    assert (later[1].in_flight, later[1].hardware) == (1, "another machine")
