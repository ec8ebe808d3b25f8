"""The watcher of the inbox: when it begins, and that it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import ingest
from flows.inbox import Watched
from flows.place import Place
from stepladder.settings import Settings

pytestmark = pytest.mark.slow


class Ended(BaseException):
    """Ends the watcher, which nothing else does."""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Run the watcher for as many looks as are given; what it did, and what it waited for."""

    def run(looks: int, *, deployed: Iterator[bool], waits: Callable[[], bool]) -> list[str]:
        did: list[str] = []
        left = iter(range(looks - 1))

        def sleep(seconds: float) -> None:
            did.append(f"waited {seconds:.0f}")
            if next(left, None) is None:
                raise Ended

        settings = Settings.model_construct()
        monkeypatch.setattr(ingest, "here", lambda: Place(Path(), settings))
        monkeypatch.setattr(ingest, "is_answered", lambda: next(deployed))
        monkeypatch.setattr(ingest, "waits", lambda *_: waits())
        monkeypatch.setattr(ingest, "ingest", lambda: did.append("ingested"))
        monkeypatch.setattr(ingest.time, "sleep", sleep)
        with pytest.raises(Ended):
            ingest.watch_inbox()
        return did

    return run


def test_it_begins_when_the_climb_is_deployed(watch: Callable[..., list[str]]) -> None:
    did = watch(3, deployed=iter([False, True]), waits=lambda: True)
    assert did == ["waited 1", "ingested", "waited 1", "ingested", "waited 1"]


def test_it_goes_on_after_any_error(
    watch: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    faults = iter([OSError("the disk is gone"), None])

    def waits() -> bool:
        if fault := next(faults):
            raise fault
        return True

    assert watch(2, deployed=iter([True]), waits=waits) == ["waited 30", "ingested", "waited 1"]
    assert "the disk is gone" in capsys.readouterr().err


def test_what_waited_when_an_ingest_failed_is_new_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was told in time or not: nothing else would start it before the schedule does."""
    found: list[bool] = []

    def waits(_: Place, watched: Watched) -> bool:
        new = ("a.jsonl", "1") not in watched.seen
        watched.seen.add(("a.jsonl", "1"))
        found.append(new)
        return new

    faults = iter([OSError("Prefect is away"), None])

    def take() -> None:
        if fault := next(faults):
            raise fault

    def sleep(_seconds: float) -> None:
        if len(found) == 3:
            raise Ended

    monkeypatch.setattr(ingest, "here", lambda: Place(Path(), Settings.model_construct()))
    monkeypatch.setattr(ingest, "is_answered", lambda: True)
    monkeypatch.setattr(ingest, "waits", waits)
    monkeypatch.setattr(ingest, "ingest", take)
    monkeypatch.setattr(ingest.time, "sleep", sleep)
    with pytest.raises(Ended):
        ingest.watch_inbox()
    assert found == [True, True, False]
