"""Ask a release the present cases: what a champion of other cases needs before a verdict can weigh it."""

from __future__ import annotations

from dataclasses import replace

from stepladder.data.prepare import load_prepared
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.summary import summarise
from stepladder.releases import CHAMPION, fetch, use_mlflow
from stepladder.stages.answering import Assistant
from stepladder.stages.frozen import frozen_assistant
from stepladder.stages.workspace import Workspace, save
from stepladder.tasks import Strict, Task


class Evaluated(Strict):
    """How a release did on the present cases; ``asked``: responses that were not known already."""

    task: str
    release: str
    rung: str
    cases: int
    asked: int
    score: float
    interval: Interval


def evaluate_release(workspace: Workspace, of: str) -> Evaluated:
    """Answer the prepared cases from a release, score them as the task scores now, and keep the outcomes.

    The verdict stage takes them where that release is the champion and these are still the cases
    (``stages.champion``).

    Args:
        workspace: its prepared cases are asked.
        of: ``TASK@version`` or ``TASK@alias``; ``TASK`` alone is its champion.

    Raises:
        StepladderError: there is no such release, nothing is prepared, the release cannot answer here (see
            ``frozen_assistant``), or the engine fails; what was answered is kept.
    """
    name, _, which = of.partition("@")
    present = workspace.task(name)
    cases = load_prepared(workspace.prepared(name)).cases
    use_mlflow(workspace.settings.mlflow)
    registered = fetch(name, which or CHAMPION, workspace.releases)
    release = registered.release
    with workspace.responses() as cache, frozen_assistant(workspace, registered, cache) as assistant:
        outcomes = _scored_as_now(assistant, present).answer(release.plan, cases)
        asked = assistant.responder.asked
    save(workspace.evaluated(name, release.digest, outcomes.case_digest), outcomes)
    return _evaluated(workspace, registered.version, outcomes, asked)


def _scored_as_now(assistant: Assistant, present: Task) -> Assistant:
    """Prompt, templates, schema and length are the release's; who scores and by what words is today's."""
    now = {name: getattr(present.spec, name) for name in ("scorer", "judge", "abstention")}
    spec = assistant.task.spec.model_copy(update=now)
    return replace(assistant, task=Task(present.folder, spec, assistant.task.prompt))


def _evaluated(workspace: Workspace, version: str, outcomes: RungOutcomes, asked: int) -> Evaluated:
    summary = summarise(outcomes, workspace.settings.evaluation, workspace.settings.seed)
    return Evaluated(
        task=outcomes.task,
        release=version,
        rung=summary.rung,
        cases=summary.n,
        asked=asked,
        score=summary.score,
        interval=summary.interval,
    )
