"""After the report: log the climb to MLflow and, where the verdict says promote, register the release."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from stepladder.console import say
from stepladder.data.prepare import load_prepared
from stepladder.evaluation.looks import forget_look, look_of, noted_looks
from stepladder.evaluation.summary import summarise
from stepladder.failures import first_line, without_password
from stepladder.files import digest_file, read_json, write_json
from stepladder.knowledge.embed import load_embedder
from stepladder.knowledge.locate import is_packaged
from stepladder.ladder.form import Verdict
from stepladder.ladder.markdown import summary
from stepladder.model_copies import keep_copy
from stepladder.models import hub_commit, local_folder, model_digest
from stepladder.prompting.compose import Plan
from stepladder.releases import OUTCOMES, VERDICT, Release, freeze, is_registered, register, short, use_mlflow
from stepladder.signing import is_signed, signature_path
from stepladder.stages.prune import prune
from stepladder.stages.rungs import adapter_record, all_outcomes, dev_scores, index_version, plan_of
from stepladder.stages.workspace import Workspace, load, outcomes_file
from stepladder.tracking import RungLog, TrainingLog, log_climb, log_look


def run(workspace: Workspace, name: str) -> str | None:
    """Log and register; does nothing for a verdict that went through this before.

    Returns:
        The registry's version of the release, also the second time; None where the verdict registers none.
    """
    verdict_path = workspace.verdict(name)
    digest = digest_file(verdict_path)
    marker = workspace.scratch / "released" / f"{name}.json"
    done = {"verdict": digest, "store": store_identity(workspace)}
    if marker.is_file() and (before := read_json(marker))["done"] == done:
        registered: str | None = before["version"]
        return registered
    verdict = load(Verdict, verdict_path)
    use_mlflow(workspace.settings.mlflow)
    run_id = _log(workspace, name, verdict, digest)
    _log_looks(workspace, name, verdict)
    version = _register(workspace, name, verdict, digest, run_id)
    # Read again: making the store above gave it its identity.
    done = {"verdict": digest, "store": store_identity(workspace)}
    write_json(marker, {"done": done, "run": run_id, "version": version})
    prune(workspace)
    if version:
        say(f"release {name}: version {version} is registered as challenger")
    return version


def _log_looks(workspace: Workspace, name: str, verdict: Verdict) -> None:
    """Log what bare `dvc repro` looked at since; the present look is in the climb's own run.

    Other tasks' looks are left to their own runs: the present one of each is in one of those.
    """
    present = look_of(name, all_outcomes(workspace, name), verdict.rule.model_dump(mode="json"))
    for look in [one for one in noted_looks(workspace.looks) if one.task == name]:
        if look.key != present.key:
            log_look(look)
        forget_look(workspace.looks, look)


def store_identity(workspace: Workspace) -> list[object]:
    """The tracking store, so that a new or deleted one gets the release again."""
    uri = workspace.settings.mlflow.tracking_uri
    path = workspace.root / uri.removeprefix("sqlite:///")
    return [uri, path.stat().st_ino if uri.startswith("sqlite:///") and path.is_file() else None]


def _log(workspace: Workspace, name: str, verdict: Verdict, digest: str) -> str:
    settings = workspace.settings
    record, outcomes = adapter_record(workspace, name), all_outcomes(workspace, name)
    parameters = {
        "seed": settings.seed,
        "hardware": settings.hardware,
        "base": settings.models.base,
        "embedder": settings.models.embedder,
        "cases": len(load_prepared(workspace.prepared(name)).cases),
        **_section("size", settings.size),
        "size.train_tokens": settings.size.tokens_to_train(name),
        **_section("engine", settings.engine),
        "engine.url": without_password(settings.engine.url) if settings.engine.url else None,
        **_section("climb", settings.climb),
        **_section("cost", settings.cost),
        **_section("evaluation", settings.evaluation),
        **_section("knowledge", settings.knowledge),
        "knowledge.store": without_password(settings.knowledge.store),
        **_section("prepare", settings.prepare),
        **_section("tuning", settings.tuning.of(name)),
        **{f"digest.{key}": value for key, value in verdict.digests.items()},
        **look_of(name, outcomes, verdict.rule.model_dump(mode="json")).parameters(),
    }
    rungs = [
        RungLog(
            summary=summarise(one, settings.evaluation, settings.seed),
            dev_scores=dev_scores(workspace, name, rung),
        )
        for rung, one in outcomes.items()
    ]
    return log_climb(
        verdict,
        digest,
        parameters=parameters,
        rungs=rungs,
        training=TrainingLog(result=record.result, forgetting=record.forgetting) if record else None,
        artifacts=[
            workspace.verdict(name),
            *_signature(workspace, name),
            workspace.report(name),
            workspace.diagnosis(name),
            *sorted(workspace.base(name).glob("*.outcomes.json")),
            *sorted(workspace.tuned_outcomes(name).glob("*.outcomes.json")),
            *(workspace.tuned(name).glob("training.json")),
        ],
        climb=_climb(workspace),
    )


def _climb(workspace: Workspace) -> str | None:
    """What names a climb: the digest of ``dvc.lock``, which tells for all tasks what went in and came out."""
    lock = workspace.root / "dvc.lock"
    return digest_file(lock) if lock.is_file() else None


def _section(name: str, settings: BaseModel) -> dict[str, object]:
    return {f"{name}.{key}": value for key, value in settings.model_dump().items()}


def _register(workspace: Workspace, name: str, verdict: Verdict, digest: str, run_id: str) -> str | None:
    if verdict.decision != "promote" or verdict.rung is None:
        return None
    plan = plan_of(workspace, name, verdict.rung)
    release = _release(workspace, name, plan, digest)
    folder = workspace.releases / short(release.digest)
    if not is_registered(release, folder):
        freeze(
            release,
            folder,
            task=workspace.root / "tasks" / name,
            files={
                VERDICT: workspace.verdict(name),
                "report.html": workspace.report(name),
                OUTCOMES: _outcomes(workspace, name, plan),
                **{beside.name: beside for beside in _signature(workspace, name)},
            },
            # Where a server holds the index, this is the manifest, which names the version's collection.
            index=workspace.index(name) if plan.retrieval else None,
            adapter=workspace.tuned(name) / "adapter" if plan.tuned else None,
        )
    _keep_models(release)
    return register(folder, release, summary(verdict), run_id)


def _keep_models(release: Release) -> None:
    """Put copies of the models that a serving machine could not have otherwise into MLflow.

    The release is registered also where that fails: this machine may be the one that serves.
    """
    try:
        if folder := local_folder(release.base):
            keep_copy(folder, release.base_digest)
        if release.plan.retrieval and not is_packaged(release.embedder):
            embedder = load_embedder(release.embedder)
            keep_copy(embedder.folder, embedder.model_digest)
    except Exception as error:  # MLflow's of many kinds: a server that takes no large files, say
        say(f"release {release.task}: its models are not in MLflow ({first_line(error)}); place them by hand")


def _signature(workspace: Workspace, name: str) -> list[Path]:
    """The verdict's signature, where it is signed."""
    verdict = workspace.verdict(name)
    return [signature_path(verdict)] if is_signed(verdict) else []


def _outcomes(workspace: Workspace, name: str, plan: Plan) -> Path:
    folder = workspace.tuned_outcomes(name) if plan.tuned else workspace.base(name)
    return outcomes_file(folder, plan.rung)


def _release(workspace: Workspace, name: str, plan: Plan, verdict_digest: str) -> Release:
    task = workspace.task(name)
    base = workspace.settings.models.base
    record = adapter_record(workspace, name)
    digests = task.digests()
    return Release(
        task=name,
        plan=plan,
        base=base,
        base_digest=model_digest(base),
        base_revision=None if local_folder(base) else hub_commit(base),
        embedder=workspace.settings.models.embedder,
        knowledge=workspace.settings.knowledge,
        task_digest=digests["task"],
        prompt_digest=digests["prompt"],
        index_version=index_version(workspace, name) if plan.retrieval else None,
        adapter_digest=record.adapter_digest if plan.tuned and record else None,
        verdict_digest=verdict_digest,
    )
