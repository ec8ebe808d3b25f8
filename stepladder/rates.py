"""Rates measured on this machine, kept from run to run: how fast it trained and embedded."""

from __future__ import annotations

from pathlib import Path

from stepladder.errors import StepladderError
from stepladder.files import read_json, write_json

_KEPT = 20  # measurements of a kind


def remember_rate(path: Path, kind: str, per_s: float) -> None:
    """Add a measured rate to those of earlier runs.

    Args:
        path: the file of rates; made if missing.
        kind: what was measured and with which model: rates of different models do not mix.
        per_s: tokens, chunks or the like, per second.
    """
    rates = _rates(path)
    write_json(path, {**rates, kind: [*rates.get(kind, []), per_s][-_KEPT:]})


def known_rate(path: Path, kind: str) -> float | None:
    """The last rate of this kind that was measured here, or None.

    Raises:
        StepladderError: the file is spoiled.
    """
    rates = _rates(path).get(kind)
    return rates[-1] if rates else None


def _rates(path: Path) -> dict[str, list[float]]:
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict) or not all(_are_rates(rates) for rates in value.values()):
        raise StepladderError(
            "not a file of measured rates",
            where=str(path),
            remedy="delete the file; the next run writes it again",
        )
    return {str(kind): [float(rate) for rate in rates] for kind, rates in value.items()}


def _are_rates(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(rate, int | float) and rate > 0 for rate in value)
