"""Climbs that were asked for while others wait: one of them is done, for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from stepladder.data.git import git

_SOON = timedelta(minutes=1)


@dataclass(frozen=True)
class Request:
    """A run of the climb, and the commit that it was asked to climb; None: the newest there is."""

    run: UUID
    commit: str | None


def newest(project: Path, commits: Iterable[str | None]) -> str:
    """The commit that all requests come down to: the one with the longest history, for data only grows.

    When they were asked does not tell: events of one second overtake each other.
    """
    found = [git(project, "rev-parse", f"{commit or 'HEAD'}^{{commit}}") for commit in commits]
    return max(found, key=lambda commit: int(git(project, "rev-list", "--count", commit)))


def waiting_beside(run: UUID) -> list[Request]:
    """Other runs of the same deployment that are due, and have not begun; none for a run without one.

    Runs of a schedule are left alone: they are not due before their time.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId, FlowRunFilterState
    from prefect.client.schemas.filters import FlowRunFilterStateType as Type
    from prefect.client.schemas.objects import StateType

    with get_client(sync_client=True) as client:
        mine = client.read_flow_run(run)
        if mine.deployment_id is None:
            return []
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[mine.deployment_id]),
                state=FlowRunFilterState(type=Type(any_=[StateType.SCHEDULED])),
            )
        )
    soon = datetime.now(UTC) + _SOON
    return [
        Request(one.id, one.parameters.get("commit"))
        for one in found
        if one.id != run
        and not one.auto_scheduled
        and (one.next_scheduled_start_time is None or one.next_scheduled_start_time <= soon)
    ]


def supersede(waiting: Sequence[Request], by: str) -> None:
    """End runs that have not begun, for another one does their work."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    with get_client(sync_client=True) as client:
        for one in waiting:
            client.set_flow_run_state(one.run, Cancelled(message=f"superseded by {by}"), force=True)
