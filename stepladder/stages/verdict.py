"""Weigh the rungs and write the verdict."""

from __future__ import annotations

from dataclasses import replace

from stepladder.console import say
from stepladder.data.prepare import load_prepared
from stepladder.evaluation.looks import (
    Look,
    Seen,
    count_looks,
    look_of,
    note_look,
    noted_looks,
    responses_digest,
)
from stepladder.evaluation.summary import summarise
from stepladder.ladder.evidence import Unweighed
from stepladder.ladder.form import Verdict
from stepladder.ladder.verdict import Evidence, decide, rule_of
from stepladder.models import model_digest
from stepladder.signing import sign
from stepladder.stages.champion import CHAMPION_RESPONSES, Champion, champion_of
from stepladder.stages.costs import champion_cost, weigh_costs
from stepladder.stages.diagnose import failures_with_adapter
from stepladder.stages.rungs import (
    adapter_record,
    all_outcomes,
    index_version,
    retrieval_headline,
    skipped_rungs,
)
from stepladder.stages.workspace import Workspace, save


def run(workspace: Workspace, name: str) -> None:
    """Write ``verdict.json``, and its signature where a key is configured."""
    outcomes = all_outcomes(workspace, name)
    champion = champion_of(workspace, name, next(iter(outcomes.values())))
    settings = workspace.settings
    rule = rule_of(settings.evaluation, workspace.task(name).spec, settings.seed)
    present = look_of(name, outcomes, rule.model_dump(mode="json"))
    note_look(workspace.looks, present)
    verdict = weigh(workspace, name, counted(workspace, present), champion)
    save(workspace.verdict(name), verdict)
    signed = " It is signed." if sign(workspace.verdict(name)) else ""
    say(f"verdict {name}: {verdict.sentence}{signed}")


def weigh(workspace: Workspace, name: str, seen: Seen | None, champion: Champion | None) -> Verdict:
    """The verdict on what the earlier stages left; the same files give the same verdict.

    Args:
        workspace: where they lie.
        name: the task.
        seen: how often these cases were looked at, this time included; None where nobody counted.
        champion: the release that serves.
    """
    evidence = _evidence(workspace, name, seen)
    if champion:
        evidence = _against(workspace, name, evidence, champion)
    release = champion.version if champion else None
    return decide(evidence).model_copy(update={"champion_release": release})


def _against(workspace: Workspace, name: str, evidence: Evidence, champion: Champion) -> Evidence:
    said, evidence = champion.said, replace(evidence, outdated=champion.outdated)
    if isinstance(said, Unweighed):
        return replace(evidence, unweighed=said)
    if champion.evaluated:
        digests = {**evidence.digests, CHAMPION_RESPONSES: responses_digest({str(said.rung): said})}
        evidence = replace(evidence, digests=digests)
    return replace(evidence, champion=said, champion_cost=champion_cost(workspace, name, said))


def counted(workspace: Workspace, present: Look, verdict: str | None = None) -> Seen:
    """Looks at these cases, in MLflow and not logged there yet, the present one included.

    ``verdict``: the digest of a verdict's file; where a climb logged it, later looks are left out.
    """
    mlflow, noted = workspace.settings.mlflow, noted_looks(workspace.looks)
    return count_looks(mlflow.tracking_uri, mlflow.experiment, present, workspace.root, noted, verdict)


def _evidence(workspace: Workspace, name: str, seen: Seen | None) -> Evidence:
    settings = workspace.settings
    outcomes = all_outcomes(workspace, name)
    costs = weigh_costs(workspace, name, outcomes)
    cases = load_prepared(workspace.prepared(name)).cases
    record = adapter_record(workspace, name)
    failures = failures_with_adapter(workspace, name)
    return Evidence(
        task=name,
        spec=workspace.task(name).spec,
        outcomes=outcomes,
        summaries={
            rung: summarise(one, settings.evaluation, settings.seed) for rung, one in outcomes.items()
        },
        costs=costs.rungs,
        break_even=costs.break_even,
        training=costs.training,
        evaluation=settings.evaluation,
        seed=settings.seed,
        gaps={str(cause): share for cause, share in failures.gaps.items()},
        needs={str(need): share for need, share in failures.needs.items()},
        forgetting=record.forgetting if record else None,
        retrieval=retrieval_headline(workspace, name),
        skipped=skipped_rungs(workspace, name),
        sizes=_sizes(workspace, name),
        pages={case.id: {wanted.partition("#")[0] for wanted in case.evidence} for case in cases},
        digests=_digests(workspace, name),
        seen=seen,
    )


def _sizes(workspace: Workspace, name: str) -> dict[str, object]:
    """What this climb could afford, and what it used of it."""
    record = adapter_record(workspace, name)
    settings = workspace.settings
    return {
        "hardware": settings.hardware,
        "base": settings.models.base,
        **settings.size.model_dump(exclude={"train_tokens_of"}),
        "train_tokens": settings.size.tokens_to_train(name),
        "top_k": settings.knowledge.top_k,
        "trained_tokens": record.result.tokens if record else 0,
        "trained_rows": record.result.rows if record else 0,
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
