"""What training will take, said before it starts, and how well that was said, afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepladder.hardware import machine
from stepladder.rates import known_rate, remember_rate
from stepladder.settings import Settings, Tuning
from stepladder.tasks import Strict
from stepladder.tuning.rows import TrainingRow


class Estimate(Strict):
    """Tokens read in all epochs, seconds at the rate given, and US dollars."""

    tokens: int
    seconds: float
    cost: float
    tokens_per_s: float

    def summary(self) -> str:
        """One line for people."""
        minutes = max(1, round(self.seconds / 60))
        return f"{self.tokens:,} tokens at {self.tokens_per_s:.0f}/s: about {minutes} min, ${self.cost:.3f}"


class EstimateCheck(Strict):
    """An estimate beside what training really took; ``seconds_ratio`` is real over estimated."""

    estimated: Estimate
    tokens: int
    seconds: float
    cost: float
    tokens_per_s: float
    seconds_ratio: float


def estimate(
    rows: Sequence[TrainingRow], tuning: Tuning, tokens_per_s: float, price_per_hour: float
) -> Estimate:
    """Examples x tokens x epochs, at a rate.

    Args:
        rows: what will be learned.
        tuning: gives the epochs.
        tokens_per_s: from `training_rate`.
        price_per_hour: of the machine, US dollars.
    """
    return _at_rate(sum(row.tokens for row in rows) * tuning.epochs, tokens_per_s, price_per_hour)


def rough_estimate(
    examples: int, tokens_each: float, budget: int, settings: Settings, tokens_per_s: float
) -> Estimate:
    """The same before any row is made: examples of a mean length, up to what the hardware may train.

    Args:
        examples: how many there are.
        tokens_each: mean length of a row, prompt and answer.
        budget: tokens that training may read, all epochs together.
        settings: give the epochs and the price.
        tokens_per_s: from `training_rate`.
    """
    tokens = round(examples * tokens_each) * settings.tuning.epochs
    return _at_rate(min(tokens, budget), tokens_per_s, settings.cost.training_per_hour)


def check_estimate(estimated: Estimate, tokens: int, seconds: float, price_per_hour: float) -> EstimateCheck:
    """The estimate beside the tokens really read and the seconds really spent."""
    return EstimateCheck(
        estimated=estimated,
        tokens=tokens,
        seconds=seconds,
        cost=seconds / 3600 * price_per_hour,
        tokens_per_s=tokens / seconds,
        seconds_ratio=seconds / estimated.seconds,
    )


def remember_training_rate(path: Path, settings: Settings, task: str, per_s: float) -> None:
    """Keep a measured rate, tokens per second, for the task's next estimate."""
    remember_rate(path, _kind(settings, task), per_s)


def training_rate(path: Path, settings: Settings, task: str) -> float:
    """The last rate measured for this task with this base and batch size on this machine, else the stated."""
    return known_rate(path, _kind(settings, task)) or settings.stated_tokens_per_s


def _kind(settings: Settings, task: str) -> str:
    """All that makes rates comparable: lengths of rows differ by task, and with them what a token takes."""
    batch = settings.tuning.of(task).batch_size
    return f"training {settings.models.base} for {task} in batches of {batch} on {machine()}"


def _at_rate(tokens: int, tokens_per_s: float, price_per_hour: float) -> Estimate:
    seconds = tokens / tokens_per_s
    return Estimate(
        tokens=tokens, seconds=seconds, cost=seconds / 3600 * price_per_hour, tokens_per_s=tokens_per_s
    )
