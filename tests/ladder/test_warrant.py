"""Training has to be warranted, and the first reason against it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stepladder.evaluation.proportions import Interval
from stepladder.ladder.standing import Standing
from stepladder.ladder.warrant import Means, weigh
from stepladder.settings import Climb, Tuning
from stepladder.tuning.curve import Prediction
from stepladder.tuning.estimate import Estimate
from stepladder.tuning.gate import ExampleQuality

MEANS = Means(
    task="my-task",
    cheap={"prompt": Standing(good=False), "rag": Standing(good=False, beyond=("rag is too slow",))},
    quality=ExampleQuality(given=1600, duplicates=100, train=1500),
    estimate=Estimate(tokens=60000, seconds=400, cost=0.01, tokens_per_s=150),
    climb=Climb(),
    tuning=Tuning(),
)
BAR = 0.8


def reach(score: float = 0.9, high: float | None = 0.95) -> Interval:
    return Interval(estimate=score, low=0.1, high=high, confidence=0.95, method="cluster bootstrap")


def predicted(score: float, high: float) -> Prediction:
    return Prediction(tokens=60000, score=score, low=0.0, high=high, confidence=0.95, points=[])


def test_where_all_speaks_for_it_the_reason_says_what_was_not_measured() -> None:
    warrant = weigh(BAR, reach(), MEANS)
    assert warrant.train
    assert "no cheap rung meets the bar of 0.80" in warrant.reason
    assert "expected, not measured: no pilot was run" in warrant.reason
    assert [check.question for check in warrant.checks if not check.measured] == ["pilot"]


@pytest.mark.parametrize(
    ("means", "why"),
    [
        (
            {
                "cheap": {
                    "prompt": Standing(good=True, beyond=("prompt is slow",)),
                    "rag": Standing(good=True),
                }
            },
            "rag meets the bar of 0.80 and every guardrail: no adapter is needed",
        ),
        (
            {"cheap": {"prompt": Standing(good=True, beyond=("prompt is too slow",))}},
            "training would not mend what stays open: prompt is too slow",
        ),
        (
            {"quality": ExampleQuality(given=999, duplicates=0, train=999)},
            "my-task has 999 training examples",
        ),
        (
            {"quality": ExampleQuality(given=1500, duplicates=0, train=1500, disputed=70, malformed=6)},
            "76 of my-task's 1,500 training examples are in doubt",
        ),
        ({"quality": ExampleQuality(given=1, duplicates=0, train=1010, disputed=20)}, "my-task has 990"),
        ({"climb": Climb(training_hours=0.1)}, "more than climb.training_hours = 0.1"),
        ({"climb": Climb(training_dollars=0)}, "more than climb.training_dollars = 0"),
        ({"prediction": predicted(0.3, 0.5)}, "a pilot predicts a dev score of 0.30"),
    ],
)
def test_each_thing_that_speaks_against_it_stops_it_and_is_the_reason(
    means: dict[str, object], why: str
) -> None:
    warrant = weigh(BAR, reach(), replace(MEANS, **means))
    assert not warrant.train
    assert why in warrant.reason
    full = weigh(BAR, reach(), replace(MEANS, **means | {"climb": Climb(
        **{**dict(means.get("climb", Climb())), "mode": "full"})}))  # fmt: skip
    assert (full.train, full.overridden) == (True, True)
    assert why in full.reason


def test_out_of_reach_is_only_what_is_shown_to_be() -> None:
    assert not weigh(BAR, reach(0.6, 0.75), MEANS).train
    assert "better documents or retrieval come first" in weigh(BAR, reach(0.6, 0.75), MEANS).reason
    assert weigh(BAR, reach(0.6, 0.85), MEANS).train
    assert weigh(BAR, reach(0.6, None), MEANS).train


def test_a_pilot_whose_interval_reaches_the_bar_lets_training_go_on() -> None:
    warrant = weigh(BAR, reach(), replace(MEANS, prediction=predicted(0.7, 0.9)))
    assert warrant.train
    assert "0.70 (0.00 to 0.90)" in warrant.reason


def test_no_limit_is_no_limit() -> None:
    climb = Climb(training_hours=None, training_dollars=None)
    dear = Estimate(tokens=1, seconds=1e9, cost=1e6, tokens_per_s=1)
    assert weigh(BAR, reach(), replace(MEANS, climb=climb, estimate=dear)).train
