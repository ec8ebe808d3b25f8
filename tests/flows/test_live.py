"""A promotion waits until the release answers, and goes back where it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import live
from stepladder.errors import StepladderError
from stepladder.promotion import Standing, Version, standing
from stepladder.releases import DIGEST_TAG, registered_name
from stepladder.serving_record import Answering, ServingRecord, TaskRecord


def record(champion: str, answers: str | None, refused: str | None = None) -> ServingRecord:
    version = Version(version=champion, digest="d", rung="rag", refused=refused)
    answering = (
        Answering(version=answers, digest="d", rung="rag", engine="e", alive=True, users=0)
        if answers
        else None
    )
    wanted = Standing(champion=champion, versions={champion: version})
    return ServingRecord(
        at=time.time(), tasks={"ports": TaskRecord(wanted=wanted, answering=answering, why="loading it")}
    )


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (None, "waiting"),
        (ServingRecord(at=0), "waiting"),
        (ServingRecord(at=time.time() + 3600), "waiting"),
        (record("2", "1"), "waiting"),
        (record("2", "2"), "live"),
        (record("2", "1", refused="its smoke cases fail"), "refused"),
        (record("1", "1", refused="of old"), "waiting"),  # it has not seen the alias move yet
    ],
)
def test_what_a_gateway_tells_of_a_release(found: ServingRecord | None, state: str) -> None:
    assert live.standing_of(found, "ports", "2").state == state


@pytest.fixture
def task(mlflow_store: Path, request: pytest.FixtureRequest) -> str:
    """A task with two registered versions, neither of them champion."""
    import mlflow

    name = f"ports-{abs(hash(request.node.name))}"
    client = mlflow.MlflowClient()
    client.create_registered_model(registered_name(name))
    for digest in ("one", "two"):
        client.create_model_version(registered_name(name), str(mlflow_store), tags={DIGEST_TAG: digest})
    return name


def promote(task: str, version: str, read: Callable[[], ServingRecord | None]) -> list[str]:
    said: list[str] = []
    live.promote(task, version, read, 0.0, said.append)
    return said


def telling(task: str, found: ServingRecord) -> Callable[[], ServingRecord]:
    return lambda: found.model_copy(update={"tasks": {task: found.tasks["ports"]}})


@pytest.mark.slow
def test_a_release_that_answers_stays_and_one_that_does_not_goes_back(task: str) -> None:
    promote(task, "1", telling(task, record("1", "1")))
    assert standing(task).champion == "1"
    for found, why in (
        (record("2", "1", refused="smoke"), "smoke"),
        (record("2", "1"), "within 0 s: loading it"),
    ):
        with pytest.raises(StepladderError, match=f"did not come up.*{why}"):
            promote(task, "2", telling(task, found))
        now = standing(task)
        assert now.champion == "1"
        assert now.versions["2"].refused
        assert now.previous != "2"


@pytest.mark.slow
def test_the_first_release_that_does_not_come_up_leaves_no_champion(task: str) -> None:
    with pytest.raises(StepladderError, match="no gateway runs here"):
        promote(task, "1", lambda: None)
    assert standing(task).champion is None
