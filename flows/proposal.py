"""The event ``verdict.promote``: sent once for a verdict and the version that it registered."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from stepladder.data.ingest import events
from stepladder.errors import StepladderError
from stepladder.files import canonical_json, digest_file, read_json, write_json
from stepladder.stages.release import store_identity
from stepladder.stages.workspace import Workspace

PROMOTE = "verdict.promote"
_NAMESPACE = uuid.UUID("b5d1c6c4-8f0e-4c39-a3f5-0d6a3c1f7e52")


def propose(workspace: Workspace, task: str, version: str, run: str) -> bool:
    """Ask for the promotion of a version, unless that was done before, or no server is named.

    What was asked once is not asked again by the next climb: a person may have gone back since.

    Args:
        workspace: the climb's; its scratch remembers what was asked.
        task: its name.
        version: of the release in the registry.
        run: the climb.

    Returns:
        Whether it was asked now.

    Raises:
        StepladderError: Prefect did not take the event; that may pass.
    """
    asked = [digest_file(workspace.verdict(task)), version, store_identity(workspace)]
    identity = str(uuid.uuid5(_NAMESPACE, canonical_json(asked)))
    remembered = workspace.scratch / "proposed" / f"{task}.json"
    if not events.has_receiver() or (remembered.is_file() and read_json(remembered) == identity):
        return False
    fault = events.post(
        {
            "id": identity,
            "occurred": datetime.now(UTC).isoformat(),
            "event": PROMOTE,
            "resource": {"prefect.resource.id": f"stepladder.release.{task}"},
            "payload": {"task": task, "version": version, "run": run},
        }
    )
    if fault:
        raise StepladderError(
            fault, where=task, remedy="see that Prefect's server answers, then climb again", may_pass=True
        )
    write_json(remembered, identity)
    return True
