"""Requests go round the replicas that have the model; one that is away or has forgotten it is passed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.router import Lineup
from stepladder.engine import RunningEngine
from tests.serving.house import Gate, answering, house_in
from tests.stub_engine import StubEngine, stub_engine

QUESTION = [{"role": "user", "content": "Why?"}]
AWAY = "http://127.0.0.1:9/v1"


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[tuple[Gate, StubEngine, StubEngine]]:
    """A task whose release runs in two engines, and would in a third that is away."""
    with house_in(tmp_path) as house, stub_engine(lambda _: "other") as other, answering(house) as gate:
        champion = house.router.lineups["plain"].champion
        assert champion
        engine = RunningEngine(AWAY, "stub", replicas=(house.engine.url, other.url))
        made = type(champion)(champion.registered, champion.task, engine)
        house.router.put("plain", Lineup({"champion": made}))
        yield gate, house.engine, other


def ask(gate: Gate, times: int) -> None:
    client = gate.openai()
    for number in range(times):
        stream = client.chat.completions.create(model="plain", messages=QUESTION, stream=bool(number % 2))
        if number % 2:
            list(stream)


def test_requests_go_round_those_that_are_there(replicas: tuple[Gate, StubEngine, StubEngine]) -> None:
    gate, one, other = replicas
    ask(gate, 12)
    assert len(one.seen) + len(other.seen) == 12
    assert min(len(one.seen), len(other.seen)) >= 4


def test_one_that_forgot_the_model_is_passed_over(replicas: tuple[Gate, StubEngine, StubEngine]) -> None:
    gate, one, other = replicas
    other.says = lambda _: 404
    ask(gate, 6)
    assert one.finished == 6
