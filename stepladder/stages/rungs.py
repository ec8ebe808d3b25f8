"""What earlier stages left for a task: outcomes, plans, the adapter's record, the index version."""

from __future__ import annotations

from typing import get_args

from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.retrieval import RetrievalMetrics
from stepladder.evaluation.variants import Choice
from stepladder.files import read_json
from stepladder.prompting.compose import Plan
from stepladder.stages.records import Skipped, TrainingRecord
from stepladder.stages.workspace import Workspace, load, outcomes_in
from stepladder.tasks import Rung

RUNGS: tuple[Rung, ...] = get_args(Rung)


def all_outcomes(workspace: Workspace, name: str) -> dict[str, RungOutcomes]:
    """Outcomes of every rung that was run, in the ladder's order; probes are left out."""
    found = outcomes_in(workspace.base(name)) | outcomes_in(workspace.tuned_outcomes(name))
    return {rung: found[rung] for rung in RUNGS if rung in found}


def skipped_rungs(workspace: Workspace, name: str) -> dict[str, str]:
    """The rungs that were not run, with the reason."""
    path = workspace.tuned_outcomes(name) / "skipped.json"
    if not path.is_file():
        return {}
    reason = load(Skipped, path).reason
    return {rung: reason for rung in workspace.task(name).rungs if rung.startswith("lora")}


def plan_of(workspace: Workspace, name: str, rung: str) -> Plan:
    """How a rung asked."""
    if rung.startswith("lora"):
        return load(Plan, workspace.tuned_outcomes(name) / f"{rung}.plan.json")
    return load(Choice, workspace.base(name) / f"{rung}.plan.json").plan


def dev_scores(workspace: Workspace, name: str, rung: str) -> dict[str, float]:
    """The score on dev of each variant tried for a rung; none for the adapter's rungs, which have one."""
    if rung.startswith("lora"):
        return {}
    return load(Choice, workspace.base(name) / f"{rung}.plan.json").dev_scores


def adapter_record(workspace: Workspace, name: str) -> TrainingRecord | None:
    """The adapter's training record, or None where none was trained."""
    path = workspace.tuned(name) / "training.json"
    return load(TrainingRecord, path) if path.is_file() else None


def retrieval_headline(workspace: Workspace, name: str) -> dict[str, Interval]:
    """Recall, MRR and nDCG over all cases, with their intervals; empty for a task without evidence."""
    saved = read_json(workspace.retrieval_metrics(name))
    if saved is None:
        return {}
    scores = RetrievalMetrics.model_validate(saved).overall
    named = {
        **{f"recall@{k}": value for k, value in scores.recall.items()},
        "MRR": scores.mrr,
        **{f"nDCG@{k}": value for k, value in scores.ndcg.items() if k > 1},
    }
    confidence = workspace.settings.evaluation.confidence
    return {
        label: Interval(
            estimate=one.value,
            low=one.interval[0],
            high=one.interval[1],
            confidence=confidence,
            method=one.method,
        )
        for label, one in named.items()
    }


def index_version(workspace: Workspace, name: str) -> str | None:
    """The index version's digest, or None for a task without knowledge."""
    version = read_json(workspace.index_version(name))["version"]
    return str(version) if version else None
