"""All that a verdict is made from, and what makes it unfit to decide on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepladder.data.duplicates import normal_form
from stepladder.errors import StepladderError
from stepladder.evaluation.cost import BreakEven, RungCost
from stepladder.evaluation.looks import Seen
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.resampling import Resampling
from stepladder.evaluation.summary import RungSummary, resampling
from stepladder.settings import Evaluation
from stepladder.tasks import TaskSpec
from stepladder.tuning.estimate import EstimateCheck
from stepladder.tuning.forgetting import Forgetting


@dataclass(frozen=True)
class Unweighed:
    """A champion that nothing can be compared with: its rung, and why (a clause)."""

    rung: str
    why: str


@dataclass(frozen=True)
class Evidence:
    """``outcomes``, ``summaries`` and ``costs`` are by rung.

    ``gaps``: share of the failing cases by cause; ``needs``: of all cases, the share that fails for want of
    documents, and of training. ``champion``: what serves, on those of the cases that it was asked, and
    ``champion_cost`` its own cost at the present prices; ``unweighed`` where it serves and cannot be weighed;
    ``outdated`` where it retrieves from documents that have changed since. ``pages``: by case id, those that
    hold its evidence. ``seen``: how often these cases were looked at, this verdict included, and by what
    other rules; None where nobody counted. ``forgetting``: of the adapter, or only the relative rise.
    """

    task: str
    spec: TaskSpec
    outcomes: Mapping[str, RungOutcomes]
    summaries: Mapping[str, RungSummary]
    costs: Mapping[str, RungCost]
    evaluation: Evaluation
    break_even: Sequence[BreakEven] = ()
    training: EstimateCheck | None = None
    seed: int = 0
    gaps: Mapping[str, float] = field(default_factory=dict)
    needs: Mapping[str, Interval] = field(default_factory=dict)
    forgetting: Forgetting | float | None = None
    retrieval: Mapping[str, Interval] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, Collection[str]] = field(default_factory=dict)
    champion: RungOutcomes | None = None
    champion_cost: RungCost | None = None
    unweighed: Unweighed | None = None
    outdated: bool = False
    seen: Seen | None = None

    @property
    def how(self) -> Resampling:
        """How to resample."""
        return resampling(self.evaluation, self.seed, next(iter(self.outcomes.values()), None))


def check(evidence: Evidence) -> None:
    """Every rung must have its summary and its cost.

    Raises:
        StepladderError: there is no rung, or one lacks something.
    """
    if not evidence.outcomes:
        raise StepladderError(
            "no rung was evaluated", where=evidence.task, remedy="run the evaluate stage: dvc repro"
        )
    if len({repr(one.judge) for one in evidence.outcomes.values()}) > 1:
        raise StepladderError(
            "the rungs were not scored by the same judge, or by one with the same labels",
            where=evidence.task,
            remedy=f"dvc repro --force --single-item evaluate-tuned@{evidence.task}, then dvc repro",
        )
    for rung in evidence.outcomes:
        for name, held in (("summary", evidence.summaries), ("cost", evidence.costs)):
            if rung not in held:
                raise StepladderError(
                    f"the rung {rung} has no {name}", where=evidence.task, remedy="run dvc repro"
                )


def refuse_other_cases(rows: Mapping[str, Sequence[Outcome]], task: str) -> None:
    """Every rung must have been asked the same cases, in the same clusters.

    Raises:
        StepladderError: they were not.
    """
    (first, one), *others = rows.items()
    for rung, other in others:
        odd = {(o.id, o.cluster) for o in one} ^ {(o.id, o.cluster) for o in other}
        if odd:
            raise StepladderError(
                f"{first} and {rung} were not asked the same cases: they differ in {min(odd)[0]}",
                where=task,
                remedy="evaluate both on the same cases: dvc repro",
            )


def refuse_twins(rows: Sequence[Outcome], task: str) -> None:
    """No two cases may ask the same: one question would count as two.

    Raises:
        StepladderError: two do, under different ids.
    """
    seen: dict[str, str] = {}
    for outcome in rows:
        twin = seen.setdefault(normal_form(outcome.input), outcome.id)
        if twin != outcome.id:
            raise StepladderError(
                f"the cases {twin} and {outcome.id} ask the same: one question would count as two",
                where=task,
                remedy="remove one of them from cases.jsonl and run dvc repro",
            )
