"""What the watch measures: numbers held against limits, each from plain values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from flows.interactions import Asked
from stepladder.data.ingest.records import Account
from stepladder.data.references import abstains
from stepladder.evaluation.judged import corrected_share
from stepladder.evaluation.resampling import JudgeErrors
from stepladder.evaluation.score import said
from stepladder.serving_record import ServingRecord
from stepladder.tasks import Case, Strict, TaskSpec


class Measure(Strict):
    """A number and its limit; ``value`` is null where there was too little to tell, ``told`` says what."""

    name: str
    value: float | None
    limit: float
    is_finding: bool
    told: str


def silent(name: str, limit: float, why: str) -> Measure:
    """A measure that could not be taken."""
    return Measure(name=name, value=None, limit=limit, is_finding=False, told=why)


def nothing_relevant(
    asked: Sequence[Asked], fewest: int, limit: float, *, retrieves: bool, abstains: bool
) -> Measure:
    """The share of questions that found no chunk, or that the model would not answer from those it got.

    A search finds something for any question, and its scores, which come from ranks, do not tell how near it
    is: of a task without an abstention (``abstains`` is false) nothing is known.
    """
    name = "nothing relevant"
    if not abstains:
        return silent(name, limit, "the task has no abstention (task.yaml), by which a model could say so")
    if len(asked) < fewest:
        return silent(name, limit, f"{len(asked)} questions are too few ({fewest})")
    without = sum(one.outcome == "abstained" or (retrieves and not one.chunks) for one in asked)
    share = without / len(asked)
    return Measure(
        name=name,
        value=share,
        limit=limit,
        is_finding=share > limit,
        told=f"{without} of {len(asked)} questions found nothing that answers them",
    )


def drift(
    questions: NDArray[np.float32], cases: NDArray[np.float32], fewest: int, limit: float, alpha: float
) -> Measure:
    """How far what is asked lies from the cases: Kolmogorov-Smirnov between two sets of likenesses.

    One is each question's to its nearest case, the other each case's to its nearest other case: where people
    ask what the cases ask, the two are distributed alike.

    Args:
        questions: unit vectors, shape (n, d).
        cases: unit vectors, shape (m, d).
        fewest: of both, from which it is worth telling.
        limit: greatest distance, between 0 and 1.
        alpha: level of the test: a distance that chance explains is no finding.
    """
    from scipy.stats import ks_2samp

    if min(len(questions), len(cases)) < fewest:
        return silent("drift", limit, f"{len(questions)} questions, {len(cases)} cases: too few ({fewest})")
    among = cases @ cases.T
    np.fill_diagonal(among, -1)
    # One-sided: questions that lie nearer to the cases than those to each other are no drift.
    found = ks_2samp((questions @ cases.T).max(axis=1), among.max(axis=1), alternative="greater")
    distance, p = float(found.statistic), float(found.pvalue)
    return Measure(
        name="drift",
        value=distance,
        limit=limit,
        is_finding=distance > limit and p < alpha,
        told=f"questions lie further from the cases than these from each other: {distance:.2f}, p = {p:.2g}",
    )


def score(
    name: str, scores: Sequence[float], fewest: int, spec: TaskSpec, errors: JudgeErrors | None = None
) -> Measure:
    """The mean score of answers; a finding where it is below the bar by more than the margin.

    ``errors``: of the judge that gave the scores, for which the mean is corrected as in a verdict.
    """
    limit = spec.bars.score - spec.margin
    if len(scores) < fewest:
        return silent(name, limit, f"{len(scores)} of them are too few ({fewest})")
    mean = sum(scores) / len(scores)
    if errors:
        mean = corrected_share(mean, errors)
    told = f"{mean:.2f} on {len(scores)}; the bar is {spec.bars.score:.2f}, the margin {spec.margin:.2f}"
    return Measure(name=name, value=mean, limit=limit, is_finding=mean < limit, told=told)


def as_cases(corrected: Sequence[Asked]) -> list[Case]:
    """Live questions whose answer a person corrected, as cases: the correction is the reference."""
    return [
        Case(id=f"live-{number}", input=one.question, reference=one.correction, cluster=f"live-{number}")
        for number, one in enumerate(corrected)
    ]


def index_age(
    accounts: Sequence[Account], task: str, made: datetime, now: datetime, limit: float, *, same: bool | None
) -> Measure:
    """Days that the oldest changed page waits for the index that answers.

    Args:
        accounts: what arrived.
        task: its name.
        made: when the release was registered. What came while its climb ran is not in it.
        now: the present.
        limit: most days.
        same: whether the pages are those that the index was made of; None where that is not known.
    """
    plans = [one.plan for one in accounts if one.plan.task == task and one.plan.pages]
    came = [datetime.fromisoformat(one.occurred) for one in plans]
    late = [] if same else [moment for moment in came if moment > made]
    if same is False and not late:
        late = came[-1:] or [made]  # the last delivery at least, or an edit that no delivery tells of
    days = (now - min(late)).total_seconds() / 86400 if late else 0.0
    told = f"{len(late)} changes of pages are not in it" if late else "it has all pages"
    return Measure(name="index age", value=days, limit=limit, is_finding=days > limit, told=told)


def worn_test(looks: int | None, budget: int) -> Measure:
    """How often verdicts looked at the cases that chose the champion."""
    if looks is None:
        return silent("looks at the test", budget, "they were not counted")
    told = f"{looks} verdicts looked at these cases; more than {budget} wear them out"
    return Measure(name="looks at the test", value=looks, limit=budget, is_finding=looks > budget, told=told)


def engine(record: ServingRecord | None, task: str, *, elsewhere: bool) -> Measure:
    """Whether the champion answers: 1 or 0.

    Args:
        record: what a gateway here tells of itself.
        task: its name.
        elsewhere: whether one answers that tells nothing here.
    """
    there = record.tasks.get(task) if record and record.is_fresh else None
    if there:
        alive, told = bool(there.answering and there.answering.alive), there.why
    else:
        alive, told = elsewhere, "a gateway elsewhere answers" if elsewhere else "no gateway runs"
    return Measure(name="engine", value=float(alive), limit=1, is_finding=not alive, told=told)


def in_form(spec: TaskSpec, asked: Sequence[Asked], fewest: int, limit: float) -> Measure:
    """The share of live answers that say something in the form that the task asks for; it needs no reference.

    Who abstains does so in form.
    """
    name = "answers in form"
    if len(asked) < fewest:
        return silent(name, limit, f"{len(asked)} answers are too few ({fewest})")
    well = sum(
        one.outcome == "abstained" or abstains(spec, one.answer) or said(spec, one.answer) is not None
        for one in asked
    )
    share = well / len(asked)
    told = f"{well} of {len(asked)} answers; the verdict's cases, less the margin: {limit:.2f}"
    return Measure(name=name, value=share, limit=limit, is_finding=share < limit, told=told)
