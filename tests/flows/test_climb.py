"""Requests that a climb takes along: ended when it has done their work, and not before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from flows import climb, waiting
from flows.place import Place
from stepladder.errors import StepladderError
from stepladder.settings import load_settings

ROOT = Path(__file__).parents[2]
ALONG, LATER = waiting.Request(uuid4(), "b"), waiting.Request(uuid4(), "c")


class Killed(BaseException):
    """Ends a climb as a cancelled one is ended."""


@pytest.fixture
def superseded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[UUID]:
    """What was ended, of the two requests of which one comes once the climb has begun."""
    ended: list[UUID] = []
    settings = load_settings(ROOT / "params.yaml")
    flows = settings.flows.model_copy(update={"supersede_running": True})
    eager = settings.model_copy(update={"flows": flows})
    looks = iter([[ALONG]])

    @contextmanager
    def throwaway(*_: object) -> Iterator[Path]:
        yield tmp_path

    monkeypatch.setattr(climb, "here", lambda: Place(tmp_path, eager))
    monkeypatch.setattr(climb, "get_run_logger", logging.getLogger)
    monkeypatch.setattr(climb, "_waiting", lambda: next(looks, [ALONG]))
    monkeypatch.setattr(climb, "throwaway", throwaway)
    monkeypatch.setattr(climb, "is_stale", lambda *_: True)
    monkeypatch.setattr(climb, "stages_in_order", lambda _: ["one"])
    monkeypatch.setattr(climb, "keep_state", lambda _: None)
    monkeypatch.setattr(climb, "keep", lambda *_: None)
    monkeypatch.setattr(climb, "release_all", lambda *_: None)
    monkeypatch.setattr(waiting, "newest", lambda _, commits: list(commits)[-1])
    monkeypatch.setattr(waiting, "supersede", lambda some, **_: ended.extend(one.run for one in some))
    return ended


def stage_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, seen: list[UUID]) -> None:
    def stage(*_: object) -> None:
        assert seen == []
        if error:
            raise error

    monkeypatch.setattr(climb, "_task_of", lambda *_: stage)


def test_they_are_ended_once_it_has_ended(superseded: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    stage_that_raises(monkeypatch, None, superseded)
    assert str(climb.climb.fn("a")).endswith("-b")
    assert superseded == [ALONG.run]


def test_one_that_waits_no_more_is_left_alone(
    superseded: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_that_raises(monkeypatch, None, superseded)
    looks = iter([[ALONG], [], []])
    monkeypatch.setattr(climb, "_waiting", lambda: next(looks))
    climb.climb.fn("a")
    assert superseded == []


def test_they_are_ended_with_one_that_fails(superseded: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    stage_that_raises(monkeypatch, StepladderError("a leak"), superseded)
    with pytest.raises(StepladderError, match="a leak"):
        climb.climb.fn("a")
    assert superseded == [ALONG.run]


def test_they_stay_where_it_is_killed(superseded: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    stage_that_raises(monkeypatch, Killed(), superseded)
    with pytest.raises(Killed):
        climb.climb.fn("a")
    assert superseded == []


def test_it_makes_way_for_others_only(superseded: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    stage_that_raises(monkeypatch, None, superseded)
    looks = iter([[ALONG], [ALONG, LATER]])
    monkeypatch.setattr(climb, "_waiting", lambda: next(looks))
    assert climb.climb.fn("a").name == "Cancelled"
    assert superseded == []
