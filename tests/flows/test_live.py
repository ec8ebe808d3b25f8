"""A promotion waits until the release answers, and goes back where it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows import live
from stepladder import promotion
from stepladder.errors import StepladderError
from stepladder.promotion import standing
from stepladder.releases import DIGEST_TAG, registered_name

pytestmark = pytest.mark.slow


@pytest.fixture
def task(mlflow_store: Path, request: pytest.FixtureRequest) -> str:
    """A task with two registered versions, neither of them champion."""
    import mlflow

    name = f"ports-{request.node.name.replace('_', '-')}"
    client = mlflow.MlflowClient()
    client.create_registered_model(registered_name(name))
    for digest in ("one", "two"):
        client.create_model_version(registered_name(name), str(mlflow_store), tags={DIGEST_TAG: digest})
    return name


@contextmanager
def gateway(task: str, refuses: str | None = None) -> Iterator[None]:
    """Answers by each new champion, or refuses it for a reason, as a gateway elsewhere would."""
    ended = threading.Event()

    def follow() -> None:
        seen = standing(task).champion
        while not ended.wait(0.05):
            now = standing(task).champion
            if now and now != seen:
                if refuses:
                    promotion.refuse(task, now, refuses)
                else:
                    promotion.note_live(task, now)
            seen = now

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def promote(task: str, version: str, within_s: float = 60) -> list[str]:
    said: list[str] = []
    live.promote(task, version, within_s, said.append)
    return said


def test_a_release_that_answers_stays_and_one_that_is_refused_goes_back(task: str) -> None:
    with gateway(task):
        assert promote(task, "1") == ["version 1 is the champion (before: none)"]
    assert standing(task).champion == "1"
    with gateway(task, refuses="its smoke cases fail"), pytest.raises(StepladderError, match="smoke cases"):
        promote(task, "2")
    now = standing(task)
    assert now.champion == "1"
    assert now.previous != "2"
    assert "smoke cases" in str(now.versions["2"].refused)


def test_the_first_release_that_does_not_come_up_leaves_no_champion(task: str) -> None:
    with pytest.raises(StepladderError, match="does not answer after 0 s"):
        promote(task, "1", within_s=0)
    now = standing(task)
    assert now.champion is None
    assert now.versions["1"].refused
