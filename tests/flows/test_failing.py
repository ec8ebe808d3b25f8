"""What goes wrong with one task stops no other."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from flows import climb, watch
from flows.measures import Measure
from flows.place import Place
from stepladder.errors import StepladderError
from stepladder.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FOUND = Measure(name="engine", value=0, limit=1, is_finding=True, told="no gateway runs")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    settings = load_settings(ROOT / "params.yaml").model_copy(update={"tasks": ["one", "two", "three"]})

    def in_clone(_: Place, __: Path) -> Settings:
        return settings

    monkeypatch.setattr(Place, "in_clone", in_clone)
    for module in (climb, watch):
        monkeypatch.setattr(module, "get_run_logger", logging.getLogger)
    return Place(tmp_path, settings)


def test_the_watch_tells_what_it_found_in_the_others(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[str] = []

    def look(_: Place, name: str) -> list[Measure]:
        if name == "one":
            raise StepladderError("its release is damaged")
        return [FOUND]

    class Task:
        @staticmethod
        def with_options(**_: Any) -> Any:
            return look

    monkeypatch.setattr(watch, "here", lambda: place)
    monkeypatch.setattr(watch, "store_is_missing", lambda *_: False)
    monkeypatch.setattr(watch, "use_mlflow", lambda _: None)
    monkeypatch.setattr(watch, "look", Task)
    monkeypatch.setattr(watch, "_raise_event", lambda name, _: raised.append(name))
    with pytest.raises(StepladderError, match="its release is damaged"):
        watch.watch.fn()
    assert raised == ["two", "three"]


def test_the_others_are_released(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def release(_: Place, __: Path, ___: str, name: str) -> None:
        if name != "two":
            raise StepladderError(f"cannot log {name}")
        done.append(name)

    monkeypatch.setattr(climb, "release", release)
    with pytest.raises(StepladderError, match="2 tasks failed:\none: cannot log one\nthree: "):
        climb.release_all(place, place.project, "run")
    assert done == ["two"]
