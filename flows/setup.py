"""Make Prefect ready: work pools, limits, the automation that frees killed runs, and all of ``prefect.yaml``.

``python -m flows.setup`` in the project folder, with ``PREFECT_API_URL`` set; again it makes the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from flows.place import Place, here
from flows.promote import slot_of
from flows.recorded import record_datasets
from stepladder.cli import plain_errors
from stepladder.console import say
from stepladder.data.ingest.run import open_place
from stepladder.errors import StepladderError
from stepladder.proxies import keep_this_machine_off_proxies

POOLS = ("cpu", "gpu")
_FREE = "stepladder: free the slot of a run whose process is gone"
_SILENT = timedelta(seconds=90)  # three heartbeats


def set_up(place: Place) -> None:
    """Make all of it.

    Raises:
        StepladderError: no server is named, it does not answer, or a deployment is refused.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise StepladderError(
            "no Prefect server is named",
            where="PREFECT_API_URL",
            remedy="start one (`prefect server start`) and set it, such as http://127.0.0.1:4200/api",
        )
    for path in record_datasets(place):
        say(f"recorded {path}: it was in neither git nor DVC")
    make_pools()
    make_limits(place.settings.tasks)
    free_slots_of_killed_runs()
    # To deploy replaces the triggers: no event may be sent between the old one and the new one.
    with open_place(place.project, place.settings):
        deploy(place.project)


def make_pools() -> None:
    """The work pools, of processes on the worker's machine; those that exist are left as they are."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client:
        for name in POOLS:
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            except ObjectAlreadyExists:
                continue


def make_limits(tasks: list[str]) -> None:
    """One promotion at a time for each task."""
    import asyncio

    from prefect.client.orchestration import get_client

    async def make() -> None:
        async with get_client() as client:
            for name in tasks:
                await client.upsert_global_concurrency_limit_by_name(slot_of(name), 1)

    asyncio.run(make())


def free_slots_of_killed_runs() -> None:
    """A run whose heartbeats end without an end of the run is Crashed, which frees its slot."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    ends = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed")}
    beat = "prefect.flow-run.heartbeat"
    wanted = AutomationCore(
        name=_FREE,
        trigger=EventTrigger(
            after={beat},
            expect={beat} | ends,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENT,
        ),
        # Not by force: the last heartbeat of a short run may be told after its end, which stands.
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                message="its process is gone: no heartbeat",
                force=False,
            )
        ],
    )
    with get_client(sync_client=True) as client:
        known = client.read_automations_by_name(_FREE)
        same = [one for one in known if (one.trigger, one.actions) == (wanted.trigger, wanted.actions)]
        # One that is replaced forgets which runs it had begun to wait for.
        for one in known:
            if one not in same[:1]:
                client.delete_automation(one.id)
        if not same:
            client.create_automation(wanted)


def deploy(project: Path) -> None:
    """All deployments of ``prefect.yaml``, with their schedules and triggers.

    Raises:
        StepladderError: Prefect refused one.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepladderError(
            f"Prefect did not deploy: {(done.stdout + done.stderr).strip()[-2000:]}",
            where="prefect.yaml",
            remedy="mend what it names, and see that the server of PREFECT_API_URL answers",
        )


def main() -> None:
    """Entry point."""
    keep_this_machine_off_proxies()
    with plain_errors(sys.exit):
        set_up(here())
        say("deployed: ingest, climb, gpu, promote, watch (`prefect deployment ls`)")


if __name__ == "__main__":
    main()
