"""Watch: whether what serves is still as good as its verdict said, and what people ask is what was tested.

It raises an event ``watch.finding`` for each finding, and asks for a climb where ``flows.watch.climb`` says.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.deployments import run_deployment
from prefect.events import emit_event

from flows import champion, measures
from flows.interactions import Asked, own_key, read_asked, read_corrected, records_of
from flows.measures import Measure
from flows.passing import RUN_AGAIN
from flows.place import Place, here
from flows.tell import key_of
from stepladder.data.ingest.run import read_accounts
from stepladder.errors import StepladderError, raise_failed
from stepladder.evaluation.evaluate import score_responses
from stepladder.evaluation.looks import noted_looks, store_is_missing
from stepladder.releases import Registered, use_mlflow
from stepladder.serving_record import RECORD, read_record
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Case, Task, load_task

FINDING = "watch.finding"


@flow(name="watch", description=__doc__)
def watch() -> dict[str, list[str]]:
    """Watch over all tasks that have a champion; the names of what was found, by task."""
    place = here()
    if store_is_missing(place.settings.mlflow.tracking_uri, place.project):
        get_run_logger().info("nothing serves: there is no registry yet")
        return {}
    use_mlflow(place.settings.mlflow)
    found: dict[str, list[Measure]] = {}
    failed: dict[str, Exception] = {}
    for name in place.settings.tasks:
        try:
            found[name] = look.with_options(task_run_name=f"watch@{name}")(place, name)
        except Exception as error:  # raised below, when the others have been looked at
            failed[name] = error
    findings = {name: [one for one in taken if one.is_finding] for name, taken in found.items()}
    for name, ones in findings.items():
        for one in ones:
            get_run_logger().warning("%s: %s: %s", name, one.name, one.told)
            _raise_event(name, one)
    if any(findings.values()) and place.flows.watch.climb:
        run_deployment("climb/climb", timeout=0, as_subflow=False)
    raise_failed(failed)
    return {name: [one.name for one in ones] for name, ones in findings.items()}


@task(name="watch", **RUN_AGAIN)
def look(place: Place, name: str) -> list[Measure]:
    """Take all measures of a task; none where nothing serves."""
    workspace = Workspace(place.project, place.settings)
    serving = champion.champion_of(name, workspace.releases)
    if serving is None:
        get_run_logger().info("%s has no champion", name)
        return []
    taken = take(place, load_task(place.project / "tasks" / name), serving)
    create_table_artifact([one.model_dump() for one in taken], key=key_of(f"watch-{name}"))
    return taken


def take(place: Place, task: Task, serving: Registered) -> list[Measure]:
    """The measures of a task's champion."""
    wanted, name = place.flows.watch, task.name
    since = time.time() - wanted.days * 86400
    of_users = (records_of(place.project), name, since, wanted.questions, own_key(place.project))
    asked, corrected = read_asked(*of_users), read_corrected(*of_users)
    workspace = Workspace(place.project, place.settings)
    retrieves = serving.release.plan.retrieval
    return [
        measures.engine(
            read_record(place.project / ".stepladder" / RECORD),
            name,
            elsewhere=bool(wanted.gateway) and champion.answers(str(wanted.gateway)),
        ),
        _fresh(place, task, serving),
        _corrected(place, task, corrected),
        measures.in_form(task.spec, asked, wanted.fewest, champion.valid_rate(serving) - task.spec.margin),
        measures.nothing_relevant(
            asked,
            wanted.fewest,
            wanted.nothing_relevant,
            retrieves=retrieves,
            abstains=task.spec.abstention is not None,
        ),
        _drift(place, task, asked),
        _index_age(place, task, serving),
        measures.worn_test(
            champion.looks_at(serving, place.settings.mlflow, place.project, noted_looks(workspace.looks)),
            place.settings.evaluation.looks,
        ),
    ]


def _fresh(place: Place, task: Task, serving: Registered) -> Measure:
    wanted, spec = place.flows.watch, task.spec
    cases = champion.fresh_cases(serving, task.cases, wanted.questions)
    if wanted.gateway is None or len(cases) < wanted.fewest:
        why = "flows.watch.gateway is not set" if wanted.gateway is None else f"{len(cases)} are too few"
        return measures.silent("fresh cases", spec.bars.score - spec.margin, why)
    try:
        texts = champion.answers_through(wanted.gateway, task.name, cases)
    except StepladderError as error:  # where the gateway is gone, `engine` says so
        get_run_logger().warning("%s", error)
        return measures.silent("fresh cases", spec.bars.score - spec.margin, error.what)
    return score_answers(place, task, "fresh cases", cases, texts)


def _corrected(place: Place, task: Task, corrected: list[Asked]) -> Measure:
    texts = [one.answer for one in corrected]
    return score_answers(place, task, "corrected answers", measures.as_cases(corrected), texts)


def score_answers(place: Place, task: Task, name: str, cases: list[Case], texts: list[str]) -> Measure:
    """Score answers as an evaluation does, by the task's judge where it has one."""
    wanted, spec = place.flows.watch, task.spec
    if len(cases) < wanted.fewest:
        return measures.score(name, [0.0] * len(cases), wanted.fewest, spec)
    try:
        with Workspace(place.project, place.settings).responses() as cache:
            judge, scores = score_responses(task, cases, texts, cache)
    except StepladderError as error:  # a judge that is away says nothing of the champion
        get_run_logger().warning("%s", error)
        return measures.silent(name, spec.bars.score - spec.margin, error.what)
    errors = judge.errors if judge else None
    return measures.score(name, [one.score for one in scores], wanted.fewest, spec, errors)


def _index_age(place: Place, task: Task, serving: Registered) -> Measure:
    limit = place.flows.watch.index_days
    if not serving.release.plan.retrieval:
        return measures.silent("index age", limit, "the champion answers without documents")
    return measures.index_age(
        read_accounts(place.project),
        task.name,
        champion.made_at(serving),
        datetime.now(UTC),
        limit,
        same=champion.has_present_pages(serving, task),
    )


def _drift(place: Place, task: Task, asked: list[Asked]) -> Measure:
    from stepladder.knowledge.embed import encode_cached, load_embedder

    wanted = place.flows.watch
    if min(len(asked), len(task.cases)) < wanted.fewest:  # no need to load the embedder
        return measures.silent("drift", wanted.drift, f"{len(asked)} questions are too few ({wanted.fewest})")
    embedder = load_embedder(place.settings.models.embedder)
    with Workspace(place.project, place.settings).embeddings() as cache:
        questions, cases = (
            encode_cached(embedder, texts, cache)[0]
            for texts in ([one.question for one in asked], [case.input for case in task.cases])
        )
    return measures.drift(questions, cases, wanted.fewest, wanted.drift, place.settings.evaluation.alpha)


def _raise_event(name: str, found: Measure) -> None:
    emit_event(
        event=FINDING,
        resource={"prefect.resource.id": f"stepladder.task.{name}"},
        payload={"task": name, **found.model_dump()},
    )
