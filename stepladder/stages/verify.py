"""Recompute a verdict from the stored responses, and refuse one that was edited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepladder.data.prepare import load_prepared
from stepladder.errors import StepladderError
from stepladder.evaluation.evaluate import rescored
from stepladder.evaluation.looks import Seen, look_of, store_is_missing
from stepladder.evaluation.records import RungOutcomes
from stepladder.files import digest_file
from stepladder.ladder.form import Verdict
from stepladder.signing import check_signature
from stepladder.stages.champion import CHAMPION_RESPONSES, Champion, champion_at
from stepladder.stages.rungs import all_outcomes
from stepladder.stages.verdict import counted, weigh
from stepladder.stages.workspace import Workspace, load
from stepladder.tasks import Case, Strict, Task

_FEW = 5
_TOLD_LATER = {"champion_measured"}  # fields that verdicts of the same version did not have at first
_OF_A_CASE = {"input", "reference", "answerable", "slice", "cluster"}


class Verified(Strict):
    """What was checked: responses scored again, and whether a signature was asked for and fits.

    ``later_looks``: how often the cases were looked at since; None where there is no store that tells.
    """

    task: str
    responses: int
    digest: str
    signed: bool
    later_looks: int | None


def verify(workspace: Workspace, path: Path) -> Verified:
    """Check a verdict against the stored responses of the workspace.

    Every response is scored again, against the prepared cases, and the rule applied again: the same inputs
    give the same bytes.

    Raises:
        StepladderError: the signature does not fit, a stored case is not the prepared one, a stored score is
            not that of its response, MLflow counts more looks at the cases up to it than the verdict tells,
            or the verdict is not the one that the responses give; it names what differs.
    """
    signed = check_signature(path)
    verdict = load(Verdict, path)
    task = workspace.task(verdict.task)
    outcomes = all_outcomes(workspace, verdict.task)
    cases = load_prepared(workspace.prepared(verdict.task)).cases
    for one in outcomes.values():
        refuse_edited_cases(cases, one)
        refuse_edited_scores(workspace, task, one)
    later = later_looks(workspace, verdict, digest_file(path), outcomes)
    again = weigh(workspace, verdict.task, _told(verdict), _champion(workspace, verdict, outcomes))
    odd = differing(verdict, again)
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
        later_looks=later,
    )


def _told(verdict: Verdict) -> Seen | None:
    told = verdict.case_set
    return None if told.looks is None else Seen(looks=told.looks, rules=told.rules)


def _champion(workspace: Workspace, verdict: Verdict, outcomes: dict[str, RungOutcomes]) -> Champion | None:
    if verdict.champion_release is None:
        return None
    present = next(iter(outcomes.values()))
    evaluated = CHAMPION_RESPONSES in verdict.digests
    return champion_at(workspace, verdict.task, verdict.champion_release, present, evaluated=evaluated)


def refuse_edited_cases(cases: Sequence[Case], rung: RungOutcomes) -> None:
    """What a rung was asked must be the prepared cases, all of them and no other.

    Raises:
        StepladderError: it was not.
    """
    prepared = {case.id: case.model_dump(include=_OF_A_CASE) for case in cases}
    stored = {outcome.id: outcome.model_dump(include=_OF_A_CASE) for outcome in rung.outcomes}
    odd = sorted(case for case in prepared.keys() | stored.keys() if prepared.get(case) != stored.get(case))
    if odd:
        raise StepladderError(
            f"the stored case {odd[0]} is not the prepared one ({len(odd)} such)",
            where=f"{rung.task}, rung {rung.rung}",
            remedy="it was edited, or the cases changed since: `dvc repro` measures again",
        )


def later_looks(
    workspace: Workspace, verdict: Verdict, file_digest: str, outcomes: dict[str, RungOutcomes]
) -> int | None:
    """Looks at a verdict's cases since, where there is a store; it must tell all that came before.

    A climb logs the digest of its verdict's file (``file_digest``), so an older verdict is known by it, and
    one that was edited is not: that has to tell every look that is counted.

    Raises:
        StepladderError: it tells fewer looks, or not of an earlier rule, or MLflow does not answer.
    """
    mlflow, told = workspace.settings.mlflow, verdict.case_set
    if store_is_missing(mlflow.tracking_uri, workspace.root):
        return None
    look = look_of(verdict.task, outcomes, verdict.rule.model_dump(mode="json"))
    until = counted(workspace, look, file_digest)
    untold = sorted(set(until.rules) - set(told.rules))
    if (told.looks or 0) < until.looks or untold:
        raise StepladderError(
            f"{until.looks} looks at these cases are counted, and the verdict tells {told.looks}"
            if (told.looks or 0) < until.looks
            else f"the verdict does not tell of an earlier rule: {untold[0]}",
            where=verdict.task,
            remedy="it was edited, or the cases were looked at since and no climb logged it:"
            f" `dvc repro --force --single-item verdict@{verdict.task}` counts again",
        )
    return max(0, counted(workspace, look).looks - (told.looks or 0))


def refuse_edited_scores(workspace: Workspace, task: Task, rung: RungOutcomes) -> None:
    """Every stored score must be that of its response; a judge is held to what it said, and asked if unknown.

    Raises:
        StepladderError: one is not, or the judge is another one or does not answer.
    """
    with workspace.responses() as cache:
        again = rescored(task, rung, cache)
    if again.judge != rung.judge:
        raise StepladderError(
            "the judge is not the one that gave the stored scores, or its labels changed",
            where=f"{rung.task}, rung {rung.rung}",
            remedy="`dvc repro --force` measures again",
        )
    for outcome, now in zip(rung.outcomes, again.outcomes, strict=True):
        if now != outcome:
            raise StepladderError(
                f"the stored score of case {outcome.id} is not that of its response",
                where=f"{rung.task}, rung {rung.rung}",
                remedy="it was edited, or the scorer changed since: `dvc repro --force` measures again",
            )


def differing(verdict: Verdict, again: Verdict) -> list[str]:
    """Paths of the values that differ; a field that an older verdict does not have is no difference."""
    untold = _TOLD_LATER - verdict.model_fields_set
    stored, now = (one.model_dump(mode="json", exclude=untold) for one in (verdict, again))
    return _differing(stored, now)


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
