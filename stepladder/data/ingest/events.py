"""The event ``dataset.updated``: a line in a local log always, and to Prefect's API where one is set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stepladder.data.ingest.records import DatasetUpdated

_TIMEOUT_S = 10.0


def log_event(path: Path, event: DatasetUpdated) -> None:
    """Append the event to a JSON Lines file, unless its last line is this event already."""
    line = event.model_dump_json() + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(max(0, file.tell() - len(line.encode())))
        if file.read() != line.encode():
            file.write(line.encode())


def has_receiver() -> bool:
    """Whether a Prefect API is named (``PREFECT_API_URL``)."""
    return bool(os.environ.get("PREFECT_API_URL"))


def send_event(event: DatasetUpdated) -> str | None:
    """Send the event to Prefect; why it could not be sent, or None. See `post`."""
    return post(
        {
            "id": event.id,
            "occurred": event.occurred,
            "event": event.event,
            "resource": {
                "prefect.resource.id": f"stepladder.dataset.{event.task}",
                "prefect.resource.name": event.task,
            },
            "payload": event.model_dump(mode="json", include={"task", "kinds", "commit", "tag", "counts"}),
        }
    )


def post(event: dict[str, Any]) -> str | None:
    """Send an event to the Prefect API of ``PREFECT_API_URL``.

    It is posted rather than given to ``prefect.events.emit_event``, which sends in the background and
    tells nobody when it could not: an event that was not accepted is to be sent again, under its ``id``.

    Returns:
        Why it could not be sent, or None.
    """
    import httpx

    address = os.environ["PREFECT_API_URL"].rstrip("/")
    try:
        answer = httpx.post(f"{address}/events", json=[event], headers=credentials(), timeout=_TIMEOUT_S)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        return f"Prefect did not take the event {event['id']}: {error}"
    return None


def credentials() -> dict[str, str]:
    """The headers by which Prefect's API knows this user, where it asks."""
    import base64

    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
