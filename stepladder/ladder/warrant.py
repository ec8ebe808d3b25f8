"""Whether training is warranted: one check after the other, and the first that fails says why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stepladder.evaluation.proportions import Interval
from stepladder.ladder.standing import Standing
from stepladder.settings import Climb, Tuning
from stepladder.tasks import Strict
from stepladder.tuning.curve import Prediction
from stepladder.tuning.estimate import Estimate
from stepladder.tuning.gate import ExampleQuality, refuse_doubtful, refuse_too_few

Question = Literal["bar", "reach", "examples", "quality", "budget", "pilot"]


class Check(Strict):
    """One question on the way to training. ``ok``: it speaks for training; ``measured``: by this climb."""

    question: Question
    ok: bool
    measured: bool = True
    detail: str


class Warrant(Strict):
    """Whether to train, why, and each check; ``overridden`` where ``climb.mode: full`` decided."""

    train: bool
    reason: str
    overridden: bool
    checks: list[Check]


@dataclass(frozen=True)
class Means:
    """What there is to train with, and what it may take.

    Attributes:
        task: its name, for the messages.
        cheap: how each cheap rung stands before its bar and guardrails, by the verdict's own tests.
        quality: of the examples.
        estimate: what training would take.
        climb: the mode, the budget and how many doubtful examples are borne.
        tuning: how many examples are enough.
        prediction: of the adapter's score, from a pilot; None where there was none.
        no_prediction: why there was none.
    """

    task: str
    cheap: Mapping[str, Standing]
    quality: ExampleQuality
    estimate: Estimate
    climb: Climb
    tuning: Tuning
    prediction: Prediction | None = None
    no_prediction: str = "no pilot was run"


def weigh(bar: float, reach: Interval, means: Means) -> Warrant:
    """Decide whether to train.

    Args:
        bar: the score that a rung must hold.
        reach: the score if all failures that training can mend were mended, in the statistic of the bar.
        means: what there is to train with.
    """
    checks = [
        _bar(bar, means),
        _reach(bar, reach),
        _examples(means),
        _quality(means),
        _budget(means),
        _pilot(bar, means.prediction, means.no_prediction),
    ]
    refused = next((check for check in checks if not check.ok), None)
    if means.climb.mode == "full":
        without = f"; without it: {refused.detail}" if refused else ""
        reason = f"climb.mode is full: every rung is filled{without}"
        return Warrant(train=True, reason=reason, overridden=refused is not None, checks=checks)
    if refused:
        return Warrant(train=False, reason=refused.detail, overridden=False, checks=checks)
    reason = f"{checks[0].detail}; {checks[1].detail}; {checks[-1].detail}"
    return Warrant(train=True, reason=reason, overridden=False, checks=checks)


def _bar(bar: float, means: Means) -> Check:
    """By the verdict's own tests: on easier ones training is refused and the verdict is left open.

    An adapter on the same model does not mend what is good enough and too slow, too dear or short of cases.
    """
    good = {rung: one for rung, one in means.cheap.items() if one.good}
    whole = next((rung for rung, one in good.items() if not one.beyond), None)
    if whole:
        detail = f"{whole} meets the bar of {bar:.2f} and every guardrail: no adapter is needed"
        return Check(question="bar", ok=False, detail=detail)
    if good:
        beyond = next(iter(good.values())).beyond
        detail = f"training would not mend what stays open: {'; '.join(beyond)}"
        return Check(question="bar", ok=False, detail=detail)
    detail = f"no cheap rung meets the bar of {bar:.2f} and every guardrail"
    return Check(question="bar", ok=True, detail=f"{detail}, at the level of the verdict")


def _reach(bar: float, reach: Interval) -> Check:
    """Against the upper end: that training cannot reach the bar must be shown too."""
    most = reach.high
    between = f" (at most {most:.2f})" if most is not None else ""
    if most is not None and most < bar:
        detail = (
            f"mending every failure that training could reach would give {reach.estimate:.2f}{between}, below"
            f" the bar of {bar:.2f}: better documents or retrieval come first"
        )
        return Check(question="reach", ok=False, detail=detail)
    detail = f"failures that training could mend would lift the score to {reach.estimate:.2f}"
    return Check(question="reach", ok=True, detail=detail)


def _examples(means: Means) -> Check:
    refused = refuse_too_few(means.quality.sound, means.tuning, means.task)
    detail = refused or f"{means.quality.sound:,} sound examples"
    return Check(question="examples", ok=refused is None, detail=detail)


def _quality(means: Means) -> Check:
    refused = refuse_doubtful(means.quality, means.climb.most_doubtful, means.task)
    doubtful = means.quality.disputed + means.quality.malformed
    detail = refused or f"{doubtful:,} of {means.quality.train:,} training examples in doubt"
    return Check(question="quality", ok=refused is None, detail=detail)


def _budget(means: Means) -> Check:
    hours, dollars = means.estimate.seconds / 3600, means.estimate.cost
    climb = means.climb
    takes = f"training would take {hours:.2g} hours and ${dollars:.2g} by the estimate"
    too_long = climb.training_hours is not None and hours > climb.training_hours
    too_dear = climb.training_dollars is not None and dollars > climb.training_dollars
    if too_long or too_dear:
        limit = (
            f"climb.training_hours = {climb.training_hours:g}"
            if too_long
            else f"climb.training_dollars = {climb.training_dollars:g}"
        )
        return Check(question="budget", ok=False, detail=f"{takes}, more than {limit}")
    return Check(question="budget", ok=True, detail=takes)


def _pilot(bar: float, found: Prediction | None, why_none: str) -> Check:
    """Against the upper end again: a pilot may only stop a training that it shows to be hopeless."""
    if found is None:
        detail = f"that an adapter would mend them is expected, not measured: {why_none}"
        return Check(question="pilot", ok=True, measured=False, detail=detail)
    said = (
        f"a pilot predicts a dev score of {found.score:.2f} ({found.low:.2f} to {found.high:.2f}) after"
        f" {found.tokens:,} tokens"
    )
    if found.high < bar:
        return Check(question="pilot", ok=False, detail=f"{said}, below the bar of {bar:.2f}")
    return Check(question="pilot", ok=True, detail=said)
