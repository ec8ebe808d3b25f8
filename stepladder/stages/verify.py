"""Recompute a verdict from the stored responses, and refuse one that was edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.score import score_response
from stepladder.ladder.form import Verdict
from stepladder.signing import check_signature
from stepladder.stages.champion import Champion, champion_at
from stepladder.stages.rungs import all_outcomes
from stepladder.stages.verdict import weigh
from stepladder.stages.workspace import Workspace, load
from stepladder.tasks import Case, Strict, TaskSpec

_FEW = 5


class Verified(Strict):
    """What was checked: responses scored again, and whether a signature was asked for and fits."""

    task: str
    responses: int
    digest: str
    signed: bool


def verify(workspace: Workspace, path: Path) -> Verified:
    """Check a verdict against the stored responses of the workspace.

    Every response is scored again, and the rule applied again: the same inputs give the same bytes.

    Raises:
        StepladderError: the signature does not fit, a stored score is not that of its response, or the
            verdict is not the one that the responses give; it names what differs.
    """
    signed = check_signature(path)
    verdict = load(Verdict, path)
    spec = workspace.task(verdict.task).spec
    outcomes = all_outcomes(workspace, verdict.task)
    for one in outcomes.values():
        _refuse_edited_scores(spec, one)
    again = weigh(workspace, verdict.task, verdict.case_set.looks, _champion(workspace, verdict, outcomes))
    odd = _differing(verdict.model_dump(mode="json"), again.model_dump(mode="json"))
    if odd:
        more = f" and {len(odd) - _FEW} more" if len(odd) > _FEW else ""
        raise StepladderError(
            f"it is not the verdict that the stored responses give: {', '.join(odd[:_FEW])}{more} differ",
            where=str(path),
            remedy="it was edited, or made from other responses or parameters: `dvc repro` makes it again",
        )
    return Verified(
        task=verdict.task,
        responses=sum(len(one.outcomes) for one in outcomes.values()),
        digest=verdict.digest,
        signed=signed,
    )


def _champion(workspace: Workspace, verdict: Verdict, outcomes: dict[str, RungOutcomes]) -> Champion | None:
    if verdict.champion_release is None:
        return None
    present = next(iter(outcomes.values()))
    return champion_at(workspace, verdict.task, verdict.champion_release, present)


def _refuse_edited_scores(spec: TaskSpec, rung: RungOutcomes) -> None:
    for outcome in rung.outcomes:
        if _scored_again(spec, outcome) != outcome.model_dump(include={"score", "exact", "valid", "counts"}):
            raise StepladderError(
                f"the stored score of case {outcome.id} is not that of its response",
                where=f"{rung.task}, rung {rung.rung}",
                remedy="it was edited, or the scorer changed since: `dvc repro --force` measures again",
            )


def _scored_again(spec: TaskSpec, outcome: Outcome) -> dict[str, Any]:
    case = Case(**outcome.model_dump(include=set(Case.model_fields) & set(Outcome.model_fields)))
    return score_response(spec, case, outcome.response.text).model_dump()


def _differing(stored: Any, again: Any, place: str = "") -> list[str]:
    """Paths of the values that differ."""
    if isinstance(stored, dict) and isinstance(again, dict):
        keys = sorted(stored.keys() | again.keys())
        return [
            odd
            for key in keys
            for odd in _differing(stored.get(key), again.get(key), f"{place}.{key}" if place else key)
        ]
    return [] if stored == again else [place]
