"""An engine lives while its process runs and a replica of it has its model; silence is borne for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serving.probe import Probe
from stepladder.engine import RunningEngine
from tests.stub_engine import stub_engine

AWAY = "http://127.0.0.1:9/v1"


def looked(engine: RunningEngine, times: int) -> tuple[list[bool], bool]:
    """After each look whether it lives; and whether it lacks its model in the end."""

    async def story() -> tuple[list[bool], bool]:
        probe, alive = Probe(), []
        for _ in range(times):
            await probe.look({engine})
            alive.append(probe.alive(engine))
        lacks = probe.lacks_model(engine)
        await probe.close()
        return alive, lacks

    return asyncio.run(story())


def test_one_that_answers_with_its_model_lives() -> None:
    with stub_engine(lambda _: "x") as stub:
        assert looked(RunningEngine(stub.url, "stub"), 4) == ([True] * 4, False)


@pytest.mark.parametrize("replicas", [(), (AWAY,)])
def test_one_that_is_silent_is_dead_at_the_third_look(replicas: tuple[str, ...]) -> None:
    assert looked(RunningEngine(AWAY, "stub", replicas=replicas), 3) == ([True, True, False], False)


def test_one_that_forgot_its_model_is_mended_or_dead() -> None:
    with stub_engine(lambda _: "x") as stub:
        assert looked(RunningEngine(stub.url, "adapter"), 3) == ([True, True, False], True)


def test_a_replica_is_enough_and_one_that_lacks_the_model_is_known() -> None:
    with stub_engine(lambda _: "x") as stub, stub_engine(lambda _: "x") as other:
        assert looked(RunningEngine(AWAY, "stub", replicas=(stub.url,)), 4) == ([True] * 4, False)
        other.name = "base"
        assert looked(RunningEngine(stub.url, "stub", replicas=(other.url,)), 4) == ([True] * 4, True)


def test_one_of_ours_whose_process_ended_is_dead_at_once() -> None:
    async def story() -> None:
        probe, alive = Probe(), True
        engine = RunningEngine(AWAY, "stub", log=Path("log"), alive=lambda: alive)
        assert probe.alive(engine)
        alive = False
        assert not probe.alive(engine)

    asyncio.run(story())
