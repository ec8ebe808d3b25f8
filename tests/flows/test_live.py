"""A promotion waits until the release answers, and goes back where it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows import live
from stepladder import going_live, promotion
from stepladder.errors import StepladderError
from stepladder.promotion import standing
from stepladder.releases import CHALLENGER, DIGEST_TAG, FILES_TAG, registered_name

pytestmark = pytest.mark.slow


@pytest.fixture
def task(mlflow_store: Path, request: pytest.FixtureRequest) -> str:
    """A task with two registered versions, neither of them champion."""
    import mlflow

    name = f"ports-{request.node.name.replace('_', '-')}"
    client = mlflow.MlflowClient()
    client.create_registered_model(registered_name(name))
    for digest in ("one", "two"):
        tags = {DIGEST_TAG: digest, FILES_TAG: "f"}
        client.create_model_version(registered_name(name), str(mlflow_store), tags=tags)
    return name


@contextmanager
def gateway(task: str, refuses: str | None = None, person: str | None = None) -> Iterator[None]:
    """Answers by each new champion, or refuses it for a reason, as a gateway elsewhere would.

    Or else it does nothing, and a person makes another release the champion.
    """
    ended = threading.Event()

    def follow() -> None:
        seen = standing(task).champion
        while not ended.wait(0.05):
            now = standing(task).champion
            if now and now != seen:
                if refuses:
                    promotion.refuse(task, now, refuses)
                elif person:
                    promotion.promote(task, person)
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


def test_a_release_that_answers_stays_and_one_that_is_refused_goes_back(task: str) -> None:
    with gateway(task):
        assert live.promote(task, "1", 60).after == "1"
    assert standing(task).champion == "1"
    with gateway(task, refuses="its smoke cases fail"), pytest.raises(StepladderError, match="smoke cases"):
        live.promote(task, "2", 60)
    now = standing(task)
    assert now.champion == "1"
    assert now.previous != "2"
    assert "smoke cases" in str(now.versions["2"].refused)


def test_the_first_release_that_does_not_come_up_leaves_no_champion(task: str) -> None:
    with pytest.raises(StepladderError, match="does not answer after 0 s"):
        live.promote(task, "1", 0)
    now = standing(task)
    assert now.champion is None
    assert now.versions["1"].refused


def test_a_champion_that_a_person_made_meanwhile_stays(task: str) -> None:
    with gateway(task, person="1"), pytest.raises(StepladderError, match="not the champion any more: 1 is"):
        live.promote(task, "2", 60)
    now = standing(task)
    assert now.champion == "1"
    assert now.versions["2"].refused is None


def test_a_registry_that_is_away_for_a_moment_is_asked_again(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    faults = iter([MlflowException("connection refused")] * 2)
    calls = iter(range(1000))

    def hiccup(name: str) -> promotion.Standing:
        # The first look is the one before the move.
        if next(calls) and (fault := next(faults, None)):
            raise fault
        return standing(name)

    monkeypatch.setattr(going_live, "standing", hiccup)
    with gateway(task):
        assert live.promote(task, "1", 60).after == "1"
    assert next(faults, None) is None
    assert standing(task).versions["1"].refused is None


def test_whoever_ends_the_waiting_leaves_the_release_champion(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(going_live.time, "sleep", end)
    with pytest.raises(KeyboardInterrupt):
        live.promote(task, "1", 60)
    assert standing(task).champion == "1"
    assert standing(task).versions["1"].refused is None


def test_a_promotion_that_was_ended_while_it_waited_is_waited_for_again_and_goes_back(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gateway(task):
        live.promote(task, "1", 60)
    with monkeypatch.context() as patch:
        patch.setattr(going_live, "await_live", end)
        with pytest.raises(KeyboardInterrupt):
            live.promote(task, "2", 60)
    assert standing(task).champion == "2"
    assert live.reason_against(task, "2") is None
    with pytest.raises(StepladderError, match="does not answer after 0 s"):
        live.promote(task, "2", 0)
    assert standing(task).champion == "1"
    assert standing(task).versions["2"].refused


def end(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_a_climb_proposed_is_not_promoted_once_it_is_no_longer_the_thing_to_do(task: str) -> None:
    import mlflow

    assert live.reason_against(task, "1") is None
    mlflow.MlflowClient().set_registered_model_alias(registered_name(task), CHALLENGER, "2")
    assert live.reason_against(task, "1") == "version 2 was registered after it"
    assert live.reason_against(task, "2") is None
    promotion.refuse(task, "2", "slow")
    assert live.reason_against(task, "2") == "it was refused: slow"
    promotion.promote(task, "2")
    assert live.reason_against(task, "2") is None
    promotion.note_live(task, "2")
    assert live.reason_against(task, "2") == "it is the champion already"
