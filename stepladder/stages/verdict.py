"""Weigh the rungs and write the verdict."""

from __future__ import annotations

from stepladder.console import say
from stepladder.evaluation.cost import RungCost, rung_cost
from stepladder.evaluation.retrieval import RetrievalMetrics
from stepladder.evaluation.summary import RungSummary, summarise
from stepladder.files import read_json
from stepladder.knowledge.build import Manifest
from stepladder.ladder.diagnose import Diagnosis
from stepladder.ladder.verdict import Evidence, decide
from stepladder.models import model_digest
from stepladder.stages.rungs import adapter_record, all_outcomes, index_version, skipped_rungs
from stepladder.stages.workspace import Workspace, load, save


def run(workspace: Workspace, name: str) -> None:
    """Write ``verdict.json``."""
    task = workspace.task(name)
    settings = workspace.settings
    outcomes = all_outcomes(workspace, name)
    summaries = {rung: summarise(one, settings.evaluation, settings.seed) for rung, one in outcomes.items()}
    record = adapter_record(workspace, name)
    verdict = decide(
        Evidence(
            task=name,
            spec=task.spec,
            outcomes=outcomes,
            summaries=summaries,
            costs={rung: _cost(workspace, name, summary) for rung, summary in summaries.items()},
            evaluation=settings.evaluation,
            seed=settings.seed,
            gaps=dict(load(Diagnosis, workspace.diagnosis(name)).gaps),
            forgetting=record.forgetting.relative_rise if record else None,
            retrieval=_retrieval(workspace, name),
            skipped=skipped_rungs(workspace, name),
            sizes=_sizes(workspace, name),
            digests=_digests(workspace, name),
        )
    )
    save(workspace.verdict(name), verdict)
    say(f"verdict {name}: {verdict.decision}. {verdict.sentence}")
