"""Responses come from the cache; the engine is started only for what is missing, and once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepladder.cache import Cache
from stepladder.engine import RunningEngine
from stepladder.errors import StepladderError
from stepladder.evaluation import respond
from stepladder.evaluation.respond import Named, Responder, responding
from stepladder.prompting.compose import Request
from tests.stub_server import Answer, StubServer, stub_server


def request(question: str, schema: dict[str, object] | None = None) -> Request:
    return Request(messages=[{"role": "user", "content": question}], output_schema=schema, max_tokens=8)


class Bench:
    """A responder over a stub, counting how often an engine was started."""

    def __init__(
        self, server: StubServer, folder: Path, adapter: str | None = None, alive: bool = True
    ) -> None:
        self.server, self.starts, self.alive = server, 0, alive
        self.cache = Cache(folder / "responses.sqlite")
        self.responder = Responder("base", adapter, self.cache, self._start, concurrency=4, timeout_s=5)

    @contextmanager
    def _start(self) -> Iterator[RunningEngine]:
        self.starts += 1
        yield RunningEngine(self.server.url, "stub", alive=lambda: self.alive)


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


def failing_at(bad: str, status: int = 400) -> Answer:
    return lambda body: status if body["messages"][-1]["content"] == bad else echo(body)


def test_a_refused_request_is_named_with_the_reason_asked_once_and_the_other_answers_are_kept(
    tmp_path: Path,
) -> None:
    with stub_server(failing_at("bad")) as server:
        bench = Bench(server, tmp_path)
        bench.responder.concurrency = 1
        with pytest.raises(StepladderError, match=r"refused case c2: .*refused by the stub.* after 1 of 3"):
            bench.responder.respond(
                [request("a"), request("bad"), request("b")], names=["case c1", "case c2", "c3"]
            )
        assert [body["messages"][-1]["content"] for body in server.seen] == ["a", "bad"]
        asked = len(server.seen)
        assert bench.responder.respond([request("a")])[0].text == "re: a"
        assert len(server.seen) == asked


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, not waited for."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(respond.asyncio, "sleep", wait)
    return waited


def test_an_engine_that_stumbles_but_runs_is_asked_again_with_growing_pauses(
    tmp_path: Path, pauses: list[float]
) -> None:
    failures = iter([500, 503])
    with stub_server(lambda body: next(failures, None) or echo(body)) as server:
        bench = Bench(server, tmp_path)
        assert bench.responder.respond([request("a")])[0].text == "re: a"
        assert len(server.seen) == 3
    assert pauses == [0.5, 1.0]


def test_an_engine_that_always_fails_at_a_request_names_it(tmp_path: Path, pauses: list[float]) -> None:
    with stub_server(failing_at("bad", 500)) as server:
        bench = Bench(server, tmp_path)
        with pytest.raises(StepladderError, match="failed at case c7 again and again"):
            bench.responder.respond([request("bad")], names=["case c7"])
        assert len(server.seen) == len(pauses) + 1 == 5


def test_an_engine_that_has_ended_is_not_asked_again_and_answers_are_kept(
    tmp_path: Path, pauses: list[float]
) -> None:
    with stub_server(echo) as server:
        bench = Bench(server, tmp_path, alive=False)
        bench.responder.respond([request("a")])
    with pytest.raises(StepladderError, match="engine went away after 0 of 1") as caught:
        bench.responder.respond([request("a"), request("b")])
    assert pauses == []
    assert "run the same command again" in caught.value.remedy
    assert bench.responder.respond([request("a")])[0].text == "re: a"


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Tests in the background of a shell inherit that the signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_the_engine_answers_ends_the_wait_and_keeps_what_came(
    tmp_path: Path, heeds_ctrl_c: None
) -> None:
    gone = threading.Event()

    def interrupt(body: dict[str, object]) -> str:
        if body["messages"][-1]["content"] == "slow":  # type: ignore[index]
            os.kill(os.getpid(), signal.SIGINT)
            gone.wait(30)
        return echo(body)

    with stub_server(interrupt) as server:
        bench = Bench(server, tmp_path)
        bench.responder.concurrency = 1
        with pytest.raises(KeyboardInterrupt):
            bench.responder.respond([request("a"), request("slow")])
        gone.set()
        assert bench.responder.respond([request("a")])[0].text == "re: a"


def test_what_stands_against_a_request_is_told_before_an_engine_starts(bench: Bench) -> None:
    def refuse(prompts: Sequence[Named]) -> None:
        raise StepladderError(f"too long: {[name for name, _ in prompts]}")

    bench.responder.respond([request("a")])
    bench.starts, bench.responder.check = 0, refuse
    with pytest.raises(StepladderError, match=r"too long: \['request 2'\]"):
        bench.responder.respond([request("a"), request("b")])
    assert bench.starts == 0


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
