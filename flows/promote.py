"""Promote: make a release the champion, wait until the gateway answers with it, roll back if it does not.

Started by the event of a verdict that says promote, or by hand. One at a time for a task.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.concurrency.sync import concurrency

from flows import live
from flows.place import here
from stepladder.data.ingest.run import read_accounts
from stepladder.releases import CHALLENGER, use_mlflow

# The shortest that Prefect allows: so long is the slot taken of one that was killed while it held it.
_LEASE = 60.0
# Beside the time that one which holds the slot may wait: longer than a lease.
_PATIENCE = 120.0


def slot_of(task: str) -> str:
    """The name of the concurrency limit that lets one promotion of a task run."""
    return f"promote-{task}"


@flow(name="promote", description=__doc__)
def promote(task: str, version: str | None = None, run: str | None = None) -> str | None:
    """Promote a release.

    Args:
        task: a task of params.yaml.
        version: of the release in the registry, or an alias; None: the challenger.
        run: the climb that proposed it. What is no longer the thing to do is not done then; what a person
            asks for is.

    Returns:
        The version that answers now; None where nothing was to be done.
    """
    place, log = here(), get_run_logger()
    wanted = version or CHALLENGER
    use_mlflow(place.settings.mlflow)
    within_s = place.flows.live_within_s
    with concurrency(
        slot_of(task),
        occupy=1,
        timeout_seconds=within_s + _PATIENCE,
        lease_duration=_LEASE,
        strict=True,
        # A server that is away for a moment ends no promotion: two that move one alias heal each other.
        raise_on_lease_renewal_failure=False,
    ):
        if run and (why := live.reason_against(task, wanted)):
            log.info("version %s, proposed by climb %s, is not promoted: %s", wanted, run, why)
            return None
        move = live.promote(task, wanted, within_s)
    log.info("version %s answers (before: %s)", move.after, move.before or "none")
    if (waited := seconds_since_arrival(place.project, task, run, datetime.now(UTC))) is not None:
        log.info("data in, answer out: %.0f s", waited)
    return move.after


def seconds_since_arrival(project: Path, task: str, run: str | None, now: datetime) -> float | None:
    """Seconds since the data was taken that a climb was asked for; None where none of the task's was.

    A climb's name ends in the start of its commit.
    """
    commit = (run or "").rpartition("-")[2]
    mine = [one for one in read_accounts(project) if one.plan.task == task and one.commit] if commit else []
    came = [one.plan.occurred for one in mine if str(one.commit).startswith(commit)]
    return (now - datetime.fromisoformat(came[-1])).total_seconds() if came else None
