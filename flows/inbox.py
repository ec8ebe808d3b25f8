"""Whether an ingest has anything to do: files that wait, an interrupted batch, events not yet sent."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from flows.place import Place
from stepladder.data.ingest.inbox import kind_of
from stepladder.data.ingest.run import is_interrupted, open_place


@dataclass
class Watched:
    """What stays in the inbox after an ingest: only a change is worth another one at once."""

    seen: set[tuple[str, str]] = field(default_factory=set)


def waits(place: Place, watched: Watched) -> bool:
    """Whether something new waits; what waits is remembered as seen.

    Raises:
        StepladderError: another ingest held the place for ten minutes, or the inbox cannot be opened.
    """
    with open_place(place.project, place.settings) as held:
        found = {(one.name, one.version) for one in held.inbox.waiting() if _is_ours(place, one.name)}
        found |= {(event.id, "unsent") for event in held.ledger.unannounced()}
        new = bool(found - watched.seen) or is_interrupted(held)
    watched.seen = found
    return new


def is_answered() -> bool:
    """Whether new data starts a climb: it is deployed, with its trigger. True where no server is named."""
    if not os.environ.get("PREFECT_API_URL"):
        return True
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            deployed = client.read_deployment_by_name("climb/climb")
        except ObjectNotFound:
            return False
        return bool(client.read_resource_related_automations(f"prefect.deployment.{deployed.id}"))


def _is_ours(place: Place, name: str) -> bool:
    return name.partition("/")[0] in place.settings.tasks and kind_of(name) is not None
