"""The release that serves, as the watch asks about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from flows.interactions import KEY
from stepladder.errors import StepladderError
from stepladder.evaluation.looks import Look, case_digests, count_looks
from stepladder.evaluation.records import RungOutcomes
from stepladder.ladder.form import Verdict
from stepladder.releases import CHAMPION, OUTCOMES, VERDICT, Registered, registered_name, with_alias
from stepladder.settings import Mlflow
from stepladder.stages.workspace import load
from stepladder.tasks import Case, Task

_TIMEOUT_S = 120.0
_HEALTH_S = 5.0


def champion_of(task: str, scratch: Path) -> Registered | None:
    """The champion of a task; None where nothing serves. MLflow must be set up."""
    return with_alias(task, CHAMPION, scratch)


def made_at(champion: Registered) -> datetime:
    """When a release was registered."""
    import mlflow

    found = mlflow.MlflowClient().get_model_version(registered_name(champion.release.task), champion.version)
    return datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)


def looks_at(champion: Registered, mlflow: Mlflow, project: Path, noted: Sequence[Look]) -> int | None:
    """How often verdicts have looked at its cases by now; None where it was registered without outcomes.

    Args:
        champion: the release.
        mlflow: where climbs log their looks.
        project: the project's folder.
        noted: looks that no climb has logged yet.
    """
    path, digests = champion.folder / OUTCOMES, load(Verdict, champion.folder / VERDICT).digests
    if not path.is_file():
        return None
    # That of its verdict, of which it was one rung.
    look = Look(
        task=champion.release.task,
        case_set=digests["case_set"],
        responses=digests["responses"],
        cases=case_digests({champion.release.plan.rung: load(RungOutcomes, path)}),
    )
    return count_looks(mlflow.tracking_uri, mlflow.experiment, look, project, noted).looks


def has_present_pages(champion: Registered, task: Task) -> bool | None:
    """Whether its index was made of the pages that the task has now; None where its verdict does not say."""
    then = load(Verdict, champion.folder / VERDICT).digests.get("knowledge")
    return None if then is None else then == task.digests().get("knowledge")


def valid_rate(champion: Registered) -> float:
    """Share of the verdict's cases that it answered in the form that the task asks for."""
    judged = load(Verdict, champion.folder / VERDICT).rungs.get(champion.release.plan.rung)
    return judged.valid_rate if judged else 1.0


def fresh_cases(champion: Registered, cases: Sequence[Case], most: int) -> list[Case]:
    """Cases that the champion was not chosen on, the last ones first."""
    path = champion.folder / OUTCOMES
    known = {one.id for one in load(RungOutcomes, path).outcomes} if path.is_file() else set()
    return [case for case in reversed(cases) if case.id not in known][:most]


def answers_through(gateway: str, task: str, cases: Sequence[Case]) -> list[str]:
    """Ask the gateway each case, as its users do.

    Raises:
        StepladderError: it does not answer, or the key of ``STEPLADDER_API_KEY`` is not one of its.
    """
    from openai import OpenAI, OpenAIError

    key = os.environ.get(KEY, "none")
    found = []
    try:
        with OpenAI(base_url=f"{gateway.rstrip('/')}/v1", api_key=key, timeout=_TIMEOUT_S) as client:
            for case in cases:
                messages = [{"role": "user", "content": case.input}]
                reply = client.chat.completions.create(model=task, messages=messages)  # type: ignore[arg-type]
                found.append(reply.choices[0].message.content or "")
    except OpenAIError as error:
        raise StepladderError(
            f"the gateway did not answer a fresh case: {error}",
            where=gateway,
            remedy="see that it runs (flows.watch.gateway), and that STEPLADDER_API_KEY is a key of its",
            may_pass=True,
        ) from error
    return found


def answers(gateway: str) -> bool:
    """Whether a gateway says that it is well."""
    import httpx

    try:
        return httpx.get(f"{gateway.rstrip('/')}/healthz", timeout=_HEALTH_S).is_success
    except httpx.HTTPError:
        return False
