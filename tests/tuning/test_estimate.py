"""What training will take is told before, and held against what it took."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.settings import Settings, Tuning, TuningOfTask, load_settings
from stepladder.tuning.estimate import (
    check_estimate,
    estimate,
    remember_training_rate,
    rough_estimate,
    training_rate,
)
from stepladder.tuning.gate import ExampleQuality, refuse_doubtful, refuse_too_few
from stepladder.tuning.rows import TrainingRow

SETTINGS = load_settings(Path(__file__).parents[2] / "params.yaml")


def test_tokens_times_epochs_at_the_rate() -> None:
    found = estimate([TrainingRow([1] * 90, [2] * 10)] * 36, Tuning(epochs=2), 2.0, price_per_hour=0.5)
    assert (found.tokens, found.seconds, found.cost) == (7200, 3600, 0.5)
    assert found.summary() == "7,200 tokens at 2/s: about 60 min, $0.500"


def test_before_there_are_rows_it_is_examples_times_their_mean_length() -> None:
    assert rough_estimate(100, 40.5, 10**6, SETTINGS, 10).tokens == 4050 * SETTINGS.tuning.epochs
    assert rough_estimate(10**9, 200, 5000, SETTINGS, 10).tokens == 5000


def test_the_estimate_is_held_against_what_it_took() -> None:
    planned = estimate([TrainingRow([1] * 100, [])] * 36, Tuning(epochs=1), 2.0, price_per_hour=0.5)
    checked = check_estimate(planned, 3600, 2700, 0.5)
    assert (checked.seconds_ratio, checked.cost) == (1.5, 0.375)
    assert checked.tokens_per_s == pytest.approx(4 / 3)


def tuned(base: str, batch_size: int) -> Settings:
    models = SETTINGS.models.model_copy(update={"base": base})
    tuning = Tuning(batch_size=1, by_task={"t": TuningOfTask(batch_size=batch_size)})
    return SETTINGS.model_copy(update={"models": models, "tuning": tuning})


def test_the_last_rate_measured_in_the_same_way_replaces_the_stated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stated = tmp_path / "rates.json", SETTINGS.stated_tokens_per_s
    mine = tuned("small", 2)
    path.write_text('{"training small": [77.0]}')  # as rates were once kept
    assert training_rate(path, mine, "t") == stated
    remember_training_rate(path, mine, "t", 200.0)
    remember_training_rate(path, mine, "t", 210.0)
    assert training_rate(path, mine, "t") == 210
    for other in (tuned("large", 2), tuned("small", 4)):
        assert training_rate(path, other, "t") == stated
    assert training_rate(path, mine, "u") == stated
    monkeypatch.setattr("stepladder.tuning.estimate.machine", lambda: "another")
    assert training_rate(path, mine, "t") == stated


@pytest.mark.parametrize("content", ["[0]", '{"training small": [0]}', '{"training small": "fast"}'])
def test_a_spoiled_rates_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rates.json"
    path.write_text(content)
    with pytest.raises(StepladderError, match=r"rates\.json"):
        training_rate(path, SETTINGS, "t")


def test_few_examples_are_refused_with_the_reason() -> None:
    reason = refuse_too_few(999, Tuning(min_examples=1000), "my-task")
    assert reason is not None
    assert "my-task has 999" in reason
    assert "allow_few_examples" in reason


@pytest.mark.parametrize(("count", "allow"), [(1000, False), (3, True)])
def test_enough_examples_or_leave_given_pass(count: int, allow: bool) -> None:
    assert refuse_too_few(count, Tuning(min_examples=1000, allow_few_examples=allow), "my-task") is None


def test_doubtful_examples_are_borne_up_to_a_share() -> None:
    quality = ExampleQuality(given=120, duplicates=20, train=100, disputed=3, malformed=2)
    assert quality.sound == 95
    assert refuse_doubtful(quality, 0.05, "my-task") is None
    assert "5 of my-task's 100" in str(refuse_doubtful(quality, 0.04, "my-task"))
