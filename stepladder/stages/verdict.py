"""Weigh the rungs and write the verdict."""

from __future__ import annotations

from stepladder.console import say
from stepladder.evaluation.cost import RungCost, rung_cost
from stepladder.evaluation.looks import case_set_digest, count_looks, responses_digest
from stepladder.evaluation.summary import RungSummary, summarise
from stepladder.knowledge.manifest import read_manifest
from stepladder.ladder.diagnose import Diagnosis
from stepladder.ladder.verdict import Evidence, decide
from stepladder.models import model_digest
from stepladder.stages.rungs import (
    adapter_record,
    all_outcomes,
    index_version,
    retrieval_headline,
    skipped_rungs,
)
from stepladder.stages.workspace import Workspace, load, save


def run(workspace: Workspace, name: str) -> None:
    """Write ``verdict.json``."""
    task = workspace.task(name)
    settings = workspace.settings
    outcomes = all_outcomes(workspace, name)
    summaries = {rung: summarise(one, settings.evaluation, settings.seed) for rung, one in outcomes.items()}
    record = adapter_record(workspace, name)
    mlflow = settings.mlflow
    looks = count_looks(
        mlflow.tracking_uri,
        mlflow.experiment,
        case_set_digest(outcomes),
        responses_digest(outcomes),
        workspace.root,
    )
    diagnosis = load(Diagnosis, workspace.diagnosis(name))
    verdict = decide(
        Evidence(
            task=name,
            spec=task.spec,
            outcomes=outcomes,
            summaries=summaries,
            costs={rung: _cost(workspace, name, summary) for rung, summary in summaries.items()},
            evaluation=settings.evaluation,
            seed=settings.seed,
            gaps={str(cause): share for cause, share in diagnosis.gaps.items()},
            forgetting=record.forgetting.relative_rise if record else None,
            retrieval=retrieval_headline(workspace, name),
            skipped=skipped_rungs(workspace, name),
            sizes=_sizes(workspace, name),
            digests=_digests(workspace, name),
            looks=looks,
        )
    )
    save(workspace.verdict(name), verdict)
    say(f"verdict {name}: {verdict.decision}. {verdict.sentence}")


def _cost(workspace: Workspace, name: str, summary: RungSummary) -> RungCost:
    """Engine time as measured; training and indexing where the rung needs them."""
    record = adapter_record(workspace, name) if summary.rung.startswith("lora") else None
    manifest = read_manifest(workspace.index(name)) if summary.rung.endswith("rag") else None
    return rung_cost(
        summary.engine_s_mean,
        workspace.settings.cost,
        workspace.task(name).spec.monthly_requests,
        training_seconds=record.result.seconds if record else None,
        index_seconds=manifest.timings.embed_s + manifest.timings.index_s if manifest else None,
    )


def _sizes(workspace: Workspace, name: str) -> dict[str, object]:
    """What this climb could afford, and what it used of it."""
    record = adapter_record(workspace, name)
    settings = workspace.settings
    return {
        "hardware": settings.hardware,
        "base": settings.models.base,
        **settings.size.model_dump(),
        "top_k": settings.knowledge.top_k,
        "trained_tokens": record.result.tokens if record else 0,
    }


def _digests(workspace: Workspace, name: str) -> dict[str, str]:
    record = adapter_record(workspace, name)
    optional = {
        "index": index_version(workspace, name),
        "adapter": record.adapter_digest if record else None,
    }
    return {
        **workspace.task(name).digests(),
        "base": model_digest(workspace.settings.models.base),
        **{part: digest for part, digest in optional.items() if digest},
    }
