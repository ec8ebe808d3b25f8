"""Climb: the DAG of ``dvc.yaml`` in a throwaway clone, one task run a stale stage, then the release.

Started by the event ``dataset.updated``, every night, or by hand (``prefect deployment run climb/climb``).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from flows import tell, waiting
from flows.branch import commit_run, push_data, run_name
from flows.clone import keep_state, throwaway
from flows.dag import is_stale, stages_in_order
from flows.passing import RUN_AGAIN, task_may_pass
from flows.place import Place, here
from flows.proposal import propose
from flows.stage import run_in_clone, send_to_gpu
from stepladder.data.ingest.records import Counts, Kind
from stepladder.errors import raise_failed
from stepladder.files import digest_file
from stepladder.stages.workspace import Workspace


@flow(name="climb", description=__doc__)
def climb(
    commit: str | None = None,
    task: str | None = None,
    kinds: list[Kind] | None = None,
    counts: dict[Kind, Counts] | None = None,
) -> str | State:
    """Climb for all tasks; what is not stale is not run.

    Args:
        commit: what to climb; None: the newest commit of the project's checkout.
        task: whose data changed, where an event asked; it is told and decides nothing: DVC does.
        kinds: what of it changed.
        counts: rows that came, by kind.

    Returns:
        The name of the run: what it made is on branch ``runs/<name>``. The state Cancelled where newer data
        took its place.
    """
    place = here()
    _tell_why(task, kinds, counts)
    along = _waiting()
    wanted = waiting.newest(place.project, [commit, *(one.commit for one in along)])
    run = run_name(datetime.now(UTC), wanted)
    get_run_logger().info("climb %s of commit %s", run, wanted)
    if along:
        get_run_logger().info("taking %d other requests along", len(along))
    try:
        is_done = _run_stages(place, run, wanted, {one.run for one in along})
    except Exception:
        _supersede(along)  # for each of them it would end like this
        raise
    # A climb that is killed or cancelled, or that makes way, leaves them to the next one.
    if not is_done:
        return Cancelled(message="newer data waits: the next climb goes on with what this one made")
    _supersede(along)
    return run


def _run_stages(place: Place, run: str, commit: str, along: Set[UUID]) -> bool:
    """Run what is stale, keep and release it; False where it was left for newer data that waits."""
    with throwaway(place.project, place.workspace, run, commit) as clone:
        for stage in stages_in_order(clone):
            if is_stale(clone, stage):
                if place.flows.supersede_running and any(one.run not in along for one in _waiting()):
                    return False
                _task_of(place, stage)(place, clone, stage)
                keep_state(clone)
        keep(place, clone, run)
        release_all(place, clone, run)
    return True


def _tell_why(task: str | None, kinds: list[Kind] | None, counts: dict[Kind, Counts] | None) -> None:
    if task:
        rows = "; ".join(f"{kind}: {one.told}" for kind, one in (counts or {}).items())
        get_run_logger().info("%s has new %s (%s)", task, " and ".join(kinds or []), rows)


def _waiting() -> list[waiting.Request]:
    return waiting.waiting_beside(flow_run.id) if flow_run.id else []


def _supersede(along: Sequence[waiting.Request]) -> None:
    """End those that wait still: one may have been cancelled meanwhile, or run."""
    still = {one.run for one in _waiting()} if along else set()
    if ours := [one for one in along if one.run in still]:
        waiting.supersede(ours, by=str(flow_run.name))


def _task_of(place: Place, stage: str) -> Any:
    """The task of a stage, named after it: run again only where that may help."""
    flows = place.flows
    return run_stage.with_options(
        name=stage,
        task_run_name=stage,
        retries=flows.retries,
        retry_delay_seconds=[flows.retry_after_s * 2**n for n in range(flows.retries)],
        retry_condition_fn=task_may_pass,
    )


@task(cache_policy=NO_CACHE)
def run_stage(place: Place, clone: Path, stage: str) -> None:
    """Run one stage, here or on the GPU pool; its lines are log lines, what it made is a table."""
    if stage.partition("@")[0] in place.flows.gpu_stages:
        send_to_gpu(place, clone, stage)
    else:
        run_in_clone(place, clone, stage)
    create_table_artifact(tell.outputs_of(clone, stage), key=tell.key_of(f"outputs-{stage}"))
    if numbers := tell.metrics_of(clone, stage):
        create_table_artifact(numbers, key=tell.key_of(f"metrics-{stage}"))


@task(name="keep", task_run_name="keep", **RUN_AGAIN)
def keep(place: Place, clone: Path, run: str) -> None:
    """Push the data, and commit ``dvc.lock`` to branch ``runs/<run>``."""
    log = get_run_logger()
    pushed = push_data(clone, place.flows.timeout_s("keep"))
    log.info("data pushed to the DVC remote" if pushed else "there is no DVC remote: data stays in the cache")
    kept = commit_run(clone, run, f"Climb {run}\n\nPrefect flow run: {flow_run.id}")
    log.info("dvc.lock is on branch runs/%s (%s)", run, kept)


def release_all(place: Place, clone: Path, run: str) -> None:
    """Release every task; what goes wrong with one stops no other."""
    failed: dict[str, Exception] = {}
    for name in place.in_clone(clone).tasks:
        try:
            release(place, clone, run, name)
        except Exception as error:  # raised below
            failed[name] = error
    raise_failed(failed)


@task(name="release", task_run_name="release@{name}", **RUN_AGAIN)
def release(place: Place, clone: Path, run: str, name: str) -> None:
    """Log a task's climb to MLflow, register its release, and tell the verdict."""
    from stepladder.stages.release import run as register

    workspace = Workspace(clone, place.in_clone(clone))
    for verdict in (one for one in tell.verdicts_of(workspace) if one.task == name):
        version = register(workspace, name)
        # Before anything else may fail: what follows only shows what was decided.
        if version and place.flows.promote and propose(workspace, name, version, run):
            get_run_logger().info("%s: proposed to promote version %s", name, version)
        link = tell.mlflow_link(workspace.settings.mlflow, digest_file(workspace.verdict(name)))
        create_markdown_artifact(tell.told(verdict, run, link), key=tell.key_of(f"verdict-{name}"))
        create_table_artifact(tell.rungs_of(verdict), key=tell.key_of(f"rungs-{name}"))
        get_run_logger().info("%s: %s: %s", name, verdict.decision, verdict.sentence)
