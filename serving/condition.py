"""A task's condition in the form in which it is recorded for ``stepladder status``."""

from __future__ import annotations

from serving.plan import Actual, explain, explain_trial
from serving.router import Serving
from stepladder.failures import without_password
from stepladder.promotion import Standing
from stepladder.serving_record import Answering, TaskRecord


def task_record(wanted: Standing, actual: Actual, champion: Serving | None) -> TaskRecord:
    """What is wanted of a task, what is there, and why they differ."""
    now = actual.champion
    answering = None
    if now and champion:
        answering = Answering(
            version=now.version,
            digest=champion.digest,
            rung=champion.registered.release.plan.rung,
            engine=", ".join(map(without_password, champion.engine.urls)),
            alive=now.alive,
            users=now.users,
        )
    return TaskRecord(
        wanted=wanted,
        answering=answering,
        loaded=[one.version for one in actual.held],
        why=explain(wanted, actual),
        trial=explain_trial(wanted, actual),
    )
