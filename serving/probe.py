"""Whether engines live: their process runs, and they have the model that they should."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection

import httpx

from stepladder.engine import RunningEngine

_PATIENCE_S = 5.0
# An engine under load may be slow to answer; one that is silent this often is not coming back.
_MOST_SILENT = 3


class Probe:
    """Asks engines what they have loaded, off the loop's critical path."""

    def __init__(self) -> None:
        self._silent: Counter[RunningEngine] = Counter()
        self._client: httpx.AsyncClient | None = None  # dear to make, and bound to an event loop

    async def look(self, engines: Collection[RunningEngine]) -> None:
        """Ask all of them once, at the same time; forget others."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False)
        client = self._client
        answered = await asyncio.gather(*(_has_model(client, engine) for engine in engines))
        self._silent = Counter(
            {one: self._silent[one] + 1 for one, well in zip(engines, answered, strict=True) if not well}
        )

    async def close(self) -> None:
        """Close its connections."""
        if self._client:
            await self._client.aclose()

    def alive(self, engine: RunningEngine) -> bool:
        """Whether an engine lives, as of the last look; at once False where its process has ended."""
        if engine.log is not None and not engine.alive():  # ours: a look at the process
            return False
        return self._silent[engine] < _MOST_SILENT


async def _has_model(client: httpx.AsyncClient, engine: RunningEngine) -> bool:
    try:
        answer = (await client.get(f"{engine.url}/models")).raise_for_status()
        return engine.model in [one["id"] for one in answer.json()["data"]]
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return False
