"""``kill -9`` of engine, gateway (and reconciler) and MLflow, under load and during a promotion."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from stepladder.promotion import promote, standing
from tests.serving.house import read_records, wait_until
from tests.serving.plant import TASK, Plant, asking, plant_in

pytestmark = pytest.mark.slow
_CLIENTS = 4


@dataclass
class Load:
    """What clients got: ids of answers, and how many requests failed."""

    answers: set[str] = field(default_factory=set)
    mixed: list[str] = field(default_factory=list)
    failed: int = 0
    over: bool = False

    def ask_on(self, plant: Plant) -> None:
        with plant.client() as client:
            while not self.over:
                try:
                    body = {**asking(), "user": uuid.uuid4().hex}
                    told = client.post("/v1/chat/completions", json=body).raise_for_status().json()
                except httpx.HTTPError:
                    self.failed += 1
                    threading.Event().wait(0.1)  # a client that asks again backs off
                    continue
                text = told["choices"][0]["message"]["content"]
                if len(set(text.split())) != 1:
                    self.mixed.append(text)
                self.answers.add(told["id"])

    def more(self, count: int) -> None:
        """Wait until so many more were answered."""
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted, timeout_s=180)


@contextmanager
def under_load(plant: Plant) -> Iterator[Load]:
    load = Load()
    clients = [threading.Thread(target=load.ask_on, args=(plant,)) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield load
    finally:
        load.over = True
        for client in clients:
            client.join()


def kill(plant: Plant, module: str) -> None:
    for process in plant.children(module):
        with suppress(Exception):
            process.kill()


def second_engine(plant: Plant, but: frozenset[int] = frozenset()) -> frozenset[int]:
    """Wait until two engines are there, of which one is being started; the ids of their processes."""
    seen: set[int] = set()

    def is_there() -> bool:
        seen.clear()
        seen.update(one.pid for one in plant.children("vllm.entrypoints"))
        return len(seen) == 2 and not seen & but

    wait_until(is_there, timeout_s=60)
    return frozenset(seen)


def until_says(plant: Plant, word: str) -> None:
    wait_until(lambda: plant.says() == word, timeout_s=240)


def test_whatever_is_killed_comes_back_to_what_is_wanted(tmp_path: Path) -> None:
    with plant_in(tmp_path) as plant:
        plant.release("alpha")
        plant.stepladder("promote", TASK)
        plant.release("beta", base="other")  # it takes an engine of its own
        plant.serve.environment["FAKE_VLLM_START_S"] = "0.5"
        plant.serve.start()
        until_says(plant, "alpha")
        with under_load(plant) as load:
            load.more(5)

            plant.stepladder("promote", TASK, plant.versions["beta"])
            killed = second_engine(plant)
            kill(plant, "vllm.entrypoints")  # the one that answers, and the one that is being started
            second_engine(plant, but=killed)
            kill(plant, "-m serving")  # while it starts an engine again
            until_says(plant, "beta")
            load.more(5)

            plant.stepladder("rollback", TASK)
            kill(plant, "-m serving")
            until_says(plant, "alpha")
            load.more(5)

            failed = load.failed
            plant.mlflow.kill()
            load.more(20)
            assert load.failed == failed, "without a registry the champion goes on"
            assert plant.says() == "alpha"
            kill(plant, "-m serving")
            until_says(plant, "alpha")  # and comes back without it

            plant.mlflow.start()
            promote(TASK, plant.versions["beta"])
            plant.mlflow.kill()  # the gateway may have seen the alias, or not yet
            failed = load.failed
            load.more(10)
            assert load.failed == failed
            plant.mlflow.start()
            until_says(plant, "beta")
            plant.stepladder("promote", TASK, plant.versions["beta"], "--wait", "120")  # it is told anew

            plant.release("gamma")
            plant.stepladder("canary", TASK, "--share", "0.5")
            load.more(10)
            kill(plant, "-m serving")  # the trial goes on where it was
            wait_until(lambda: standing(TASK).champion == plant.versions["gamma"], timeout_s=240)
            until_says(plant, "gamma")
        assert load.mixed == []
        records = tmp_path / "machine/var/interactions.sqlite"
        asked = {event["interaction"] for event in read_records(records, "asked")}
        assert load.answers <= asked, "what was answered before a kill is on the disk"
