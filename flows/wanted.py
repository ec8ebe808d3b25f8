"""Whether the flow run that this process works for still counts as running."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from uuid import UUID

import httpx

from stepladder.data.ingest.events import credentials

_EVERY_S = 30.0
_TIMEOUT_S = 5.0
_ENDED = {"CRASHED", "CANCELLED", "CANCELLING", "FAILED", "COMPLETED"}


@dataclass
class Run:
    """A flow run: what its server says of it, asked now and then.

    While the server is away, heartbeats are lost, and the run may be marked Crashed. That frees its slot for
    another one: then this one must end.
    """

    id: UUID | str | None
    _asked: float = field(default=float("-inf"))
    _runs: bool = True

    def is_wanted(self) -> bool:
        """False once the server says that the run has ended. It says nothing where it is away."""
        if self.id and self._runs and time.monotonic() - self._asked >= _EVERY_S:
            self._asked = time.monotonic()
            self._runs = self._state() not in _ENDED
        return self._runs

    def _state(self) -> str | None:
        address = os.environ.get("PREFECT_API_URL")
        if not address:
            return None
        try:
            answer = httpx.get(
                f"{address.rstrip('/')}/flow_runs/{self.id}", headers=credentials(), timeout=_TIMEOUT_S
            )
            answer.raise_for_status()
        except httpx.HTTPError:
            return None
        found: str | None = answer.json()["state_type"]
        return found
