"""Run one stage in a climb's clone: here, or on the work pool ``gpu``, whose worker sees the clone."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import UUID

import httpx
from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.runtime import flow_run
from prefect.states import Failed

from flows import dag
from flows.clone import is_held
from flows.place import Place, here
from flows.wanted import Run
from stepladder.errors import StepladderError

_DEPLOYMENT = "stage/gpu"
_LOOK_EVERY_S = 1.0
_MAY_PASS = "MayPass"


def run_in_clone(place: Place, clone: Path, stage: str) -> None:
    """Run a stage while its climb lives; its lines become log lines as they are written.

    Raises:
        StepladderError: it failed, or took too long.
    """
    say, mine = get_run_logger().info, Run(flow_run.id)
    dag.run_stage(
        clone,
        stage,
        lambda line: say("%s", line),
        place.flows.timeout_s(stage),
        place.environment,
        is_wanted=lambda: is_held(clone) and mine.is_wanted(),
    )


@flow(name="stage", flow_run_name="{stage}", description=__doc__)
def run_stage(clone: str, stage: str) -> State | None:
    """One stage of a climb, where that climb sent it; the name of its end tells whether that may pass."""
    try:
        run_in_clone(here(), Path(clone), stage)
    except StepladderError as error:
        if not error.may_pass:
            raise
        return Failed(name=_MAY_PASS, message=str(error))
    return None


def send_to_gpu(place: Place, clone: Path, stage: str) -> None:
    """Have a worker of the pool ``gpu`` run a stage, and wait for it.

    Raises:
        StepladderError: it failed there, or no worker took it in time.
    """
    from prefect.deployments import run_deployment

    child = run_deployment(_DEPLOYMENT, parameters={"clone": str(clone), "stage": stage}, timeout=0)
    assert isinstance(child, FlowRun)  # it is a coroutine for callers that await it
    state = None
    try:
        state = _end_of(child.id, place.flows.timeout_s(stage))
    finally:
        if state is None:
            _cancel(child.id)
    if state is None or not state.is_completed():
        # What failed there has said why in its own log; what crashed was killed.
        raise StepladderError(
            f"it did not complete on the pool `gpu`: {state.name if state else 'not within its time'}",
            where=stage,
            remedy=f"read the log of flow run {child.name}, and see that a worker of the pool runs",
            may_pass=bool(state and (state.is_crashed() or state.name == _MAY_PASS)),
        )


def _end_of(child: UUID, timeout_s: float) -> State | None:
    """The state that a flow run ends in; None where it does not end in time."""
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + timeout_s
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            try:
                state = client.read_flow_run(child).state
            except httpx.TransportError:  # the server is away for longer than the client waits: so are we
                state = None
            if state and state.is_final():
                return state
            time.sleep(_LOOK_EVERY_S)
    return None


def _cancel(child: UUID) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(child, Cancelling(message="the climb that sent it has ended"))
