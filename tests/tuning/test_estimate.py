from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.settings import Tuning
from stepladder.tuning.estimate import estimate, known_rate, remember_rate
from stepladder.tuning.gate import refuse_too_few
from stepladder.tuning.rows import TrainingRow


def test_tokens_times_epochs_at_the_rate() -> None:
    found = estimate([TrainingRow([1] * 90, [2] * 10)] * 36, Tuning(epochs=2), 2.0, price_per_hour=0.5)
    assert (found.tokens, found.seconds, found.cost) == (7200, 3600, 0.5)
    assert found.summary() == "7,200 tokens at 2/s: about 60 min, $0.500"


def test_the_last_measured_rate_replaces_the_assumed_one(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    assert known_rate(path, Tuning(cpu_tokens_per_s=150)) == 150
    remember_rate(path, 200.0)
    remember_rate(path, 210.0)
    assert known_rate(path, Tuning()) == 210


def test_a_spoiled_rates_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text("[0]")
    with pytest.raises(StepladderError, match=r"rates\.json"):
        known_rate(path, Tuning())


def test_few_examples_are_refused_with_the_reason() -> None:
    reason = refuse_too_few(999, Tuning(min_examples=1000), "my-task")
    assert reason is not None
    assert "my-task has 999" in reason
    assert "allow_few_examples" in reason


@pytest.mark.parametrize(("count", "allow"), [(1000, False), (3, True)])
def test_enough_examples_or_leave_given_pass(count: int, allow: bool) -> None:
    assert refuse_too_few(count, Tuning(min_examples=1000, allow_few_examples=allow), "my-task") is None
