"""What training will take, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepladder.errors import StepladderError
from stepladder.files import read_json, write_json
from stepladder.settings import Tuning
from stepladder.tasks import Strict
from stepladder.tuning.rows import TrainingRow

_KEPT = 20  # measurements


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


def estimate(
    rows: Sequence[TrainingRow], tuning: Tuning, tokens_per_s: float, price_per_hour: float
) -> Estimate:
    """Examples x tokens x epochs, at a rate.

    Args:
        rows: what will be learned.
        tuning: gives the epochs.
        tokens_per_s: from `known_rate`.
        price_per_hour: of the machine, US dollars.
    """
    tokens = sum(row.tokens for row in rows) * tuning.epochs
    seconds = tokens / tokens_per_s
    return Estimate(
        tokens=tokens, seconds=seconds, cost=seconds / 3600 * price_per_hour, tokens_per_s=tokens_per_s
    )


def remember_rate(path: Path, rate: float) -> None:
    """Add a measured rate, tokens per second, to those of earlier runs on this machine."""
    write_json(path, {"tokens_per_s": [*_rates(path), rate][-_KEPT:]})


def known_rate(path: Path, tuning: Tuning) -> float:
    """The last measured rate, tokens per second, or ``tuning.cpu_tokens_per_s`` before there is one."""
    rates = _rates(path)
    return rates[-1] if rates else tuning.cpu_tokens_per_s


def _rates(path: Path) -> list[float]:
    if not path.is_file():
        return []
    value = read_json(path)
    rates = value.get("tokens_per_s") if isinstance(value, dict) else None
    if not isinstance(rates, list) or not all(isinstance(rate, int | float) and rate > 0 for rate in rates):
        raise StepladderError(
            "not a list of measured rates",
            where=str(path),
            remedy="delete the file; the next training writes it again",
        )
    return [float(rate) for rate in rates]
