"""Whether a challenger on trial is promoted, sent back, or goes on: a rule that may be asked at any time.

For each metric the difference in badness, challenger minus champion, has a confidence sequence
(``serving.confidence``), so that looking after every request costs nothing: over all looks and metrics, the
chance of promoting a challenger that is worse than its margin, or of sending one back that is not worse at
all, is at most ``alpha``. An answer by one of two releases drawn with a known share is made into an unbiased
value of the difference by inverse probability weighting (D. Horvitz and D. Thompson, JASA 47, 1952):
``(y - b) / share`` where the challenger answered, ``-(y - b) / (1 - share)`` where the champion did, with
``b`` what ``y`` usually is. Its mean is the difference even where traffic changes over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from serving.confidence import ConfidenceSequence, Interval
from serving.observations import Observation
from serving.router import Trial
from serving.settings import Canary

Step = Literal["promote", "send back", "go on"]
# What each metric usually is: values near it cost no certainty.
_USUAL = {"errors": 0.0, "invalid": 0.0, "abstained": 0.0, "slow": 0.0, "displeased": 0.5}
# Nobody sees a shadow's answer, so nobody thinks of it.
_UNSEEN = ("errors", "invalid", "abstained", "slow")


@dataclass(frozen=True)
class Look:
    """What a trial shows: the next step, why, and the interval of each difference."""

    step: Step
    reason: str
    exposure: int
    differences: Mapping[str, Interval]
    agreement: float | None = None


def look(trial: Trial, seen: Sequence[Observation], settings: Canary) -> Look:
    """Judge a trial by all that was seen of it."""
    names = _UNSEEN if trial.shadow else tuple(_USUAL)
    alpha = settings.alpha / len(names)
    values = _pair if trial.shadow else _draw
    differences = {name: _interval(values(name, trial, seen), trial, name, alpha) for name in names}
    exposure = len(seen) if trial.shadow else sum(one.by_challenger for one in seen)
    step, reason = _decide(differences, exposure, settings)
    same = [one.same for one in seen if one.same is not None]
    return Look(step, reason, exposure, differences, sum(same) / len(same) if same else None)


def _draw(name: str, trial: Trial, seen: Iterable[Observation]) -> list[float]:
    usual = _USUAL[name]
    return [
        (one.badness[name] - usual) / (trial.share if one.by_challenger else trial.share - 1)
        # In the order in which they became final, so that a look only ever adds to those before it.
        for one in (sorted(seen, key=_thought_by) if name == "displeased" else seen)
        if name in one.badness
    ]


def _thought_by(one: Observation) -> float:
    return one.thought_by


def _pair(name: str, _: Trial, seen: Iterable[Observation]) -> list[float]:
    return [one.other[name] - one.badness[name] for one in seen]


def _interval(values: list[float], trial: Trial, name: str, alpha: float) -> Interval:
    sequence = ConfidenceSequence(*_range(trial, _USUAL[name]), alpha)
    for value in values:
        sequence.add(value)
    return sequence.interval()


def _range(trial: Trial, usual: float) -> tuple[float, float]:
    if trial.shadow:
        return -1.0, 1.0
    share, rest = trial.share, 1 - trial.share
    return min(-usual / share, (usual - 1) / rest), max((1 - usual) / share, usual / rest)


def _decide(differences: Mapping[str, Interval], exposure: int, settings: Canary) -> tuple[Step, str]:
    margins = settings.margins.model_dump()
    open_ones = [name for name, one in differences.items() if one.high >= margins[name]]
    worse = [name for name in open_ones if differences[name].low > 0]
    if worse:
        return "send back", f"it is worse: {_told(worse, differences)}"
    if not open_ones and exposure >= settings.least:
        return "promote", f"it is no worse than the margins allow, by {exposure} users or conversations"
    if exposure >= settings.most:
        told = _told(open_ones, differences)
        return "send back", f"after {exposure} users or conversations it is not shown to be no worse: {told}"
    return "go on", f"{exposure} users or conversations so far"


def _told(names: Iterable[str], differences: Mapping[str, Interval]) -> str:
    found = ((name, differences[name]) for name in names)
    return ", ".join(f"{name} {one.middle:+.3f} ({one.low:+.3f} to {one.high:+.3f})" for name, one in found)
