"""What a trial counts of the records: each unit once, and no value that can still change."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from serving.observations import Observation, observations
from serving.redaction import redactor
from serving.router import Trial
from serving.store import Event, Store

TRIAL = Trial("1", "2", 0.5)
SHADOW = Trial("1", "2", 0.5, shadow=True)
AFTER_S = 60.0


class Records:
    def __init__(self, folder: Path, trial: Trial = TRIAL) -> None:
        self.path = folder / "records.sqlite"
        self.trial = trial
        self.events: list[Event] = []

    def add(self, kind: str, number: int, at: float, **body: Any) -> None:
        self.events.append(Event(kind, f"i{number}", "t", "r", body, at))

    def ask(self, number: int, at: float, unit: str = "", version: str = "2") -> None:
        trial = asdict(self.trial)
        self.add("asked", number, at, unit=unit or f"u{number}", version=version, trial=trial)

    def answer(self, number: int, at: float, outcome: str = "answered", **more: Any) -> None:
        told = {"outcome": outcome, "valid": True, "latency_ms": 10.0, "queued_ms": 0.0, **more}
        self.add("answered", number, at, **told)

    def seen(self, now: float) -> list[Observation]:
        store = Store(self.path, redactor([]), 36500, 1000)
        for event in self.events:
            store.append(event)
        store.close()
        self.events = []
        return observations(self.path, "t", self.trial, 0.0, now, slow_s=1.0, feedback_after_s=AFTER_S)


def test_feedback_counts_once_it_is_due_and_later_feedback_changes_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.ask(1, at=100)
    records.answer(1, at=101)
    records.add("feedback", 1, 150, thumb="up")
    assert "displeased" not in records.seen(now=159)[0].badness
    assert records.seen(now=160)[0].badness["displeased"] == 0.0
    records.add("feedback", 1, 161, thumb="down")
    assert records.seen(now=200)[0].badness["displeased"] == 0.0


def test_a_unit_counts_by_its_first_answer(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for number, outcome in ((1, "answered"), (2, "engine_failed")):
        records.ask(number, at=number, unit="same")
        records.answer(number, at=number + 0.5, outcome=outcome)
    assert [one.badness["errors"] for one in records.seen(now=10)] == [0.0]


@pytest.mark.parametrize(
    ("told", "bad"),
    [
        ({"outcome": "engine_failed"}, {"errors"}),
        ({"outcome": "deadline_exceeded", "latency_ms": 5000.0}, {"errors", "slow"}),
        ({"outcome": "deadline_exceeded", "latency_ms": 5000.0, "queued_ms": None}, set()),
        ({"outcome": "cancelled"}, set()),
        ({"latency_ms": 5000.0, "queued_ms": 4500.0}, set()),
        ({"latency_ms": 5000.0, "queued_ms": 100.0}, {"slow"}),
        ({"valid": False}, {"invalid"}),
        ({"outcome": "abstained"}, {"abstained"}),
    ],
)
def test_what_is_bad(tmp_path: Path, told: dict[str, Any], bad: set[str]) -> None:
    records = Records(tmp_path)
    records.ask(1, at=1)
    records.answer(1, at=2, **told)
    badness = records.seen(now=10)[0].badness
    assert {name for name, value in badness.items() if value} == bad


def test_pairs_count_in_the_order_in_which_they_were_whole(tmp_path: Path) -> None:
    """So that a look finds what the last one found, and more behind it."""
    records = Records(tmp_path, SHADOW)
    for number in (1, 2):
        records.ask(number, at=number, version="1")
        records.answer(number, at=number + 0.5)
    pair = {"outcome": "answered", "valid": True, "latency_ms": 1.0, "queued_ms": 0.0}
    records.add("shadow", 2, 4, **pair, same=True)
    first = records.seen(now=10)
    records.add("shadow", 1, 5, **pair | {"valid": False}, same=False)
    second = records.seen(now=10)
    assert [one.same for one in first] == [True]
    assert [one.same for one in second] == [True, False]
    assert second[1].other["invalid"] == 1.0
