"""Whether engines live: their process runs, and they have the model that they should."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection

import httpx

from serving.engines import MOST_SILENT
from stepladder.engine import RunningEngine

_PATIENCE_S = 5.0


class Probe:
    """Asks engines what they have loaded, off the loop's critical path."""

    def __init__(self) -> None:
        self._silent: Counter[RunningEngine] = Counter()
        self._lacking: set[RunningEngine] = set()
        self._client: httpx.AsyncClient | None = None  # dear to make, and bound to an event loop

    async def look(self, engines: Collection[RunningEngine]) -> None:
        """Ask all of them once, at the same time; forget others."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False)
        client = self._client
        told = await asyncio.gather(*(_told(client, engine) for engine in engines))
        by_engine = dict(zip(engines, told, strict=True))
        # One replica that has the model is enough.
        self._silent = Counter(
            {one: self._silent[one] + 1 for one, having in by_engine.items() if True not in having}
        )
        self._lacking = {one for one, having in by_engine.items() if False in having}

    async def close(self) -> None:
        """Close its connections."""
        if self._client:
            await self._client.aclose()

    def alive(self, engine: RunningEngine) -> bool:
        """Whether an engine lives, as of the last look; at once False where its process has ended."""
        if engine.log is not None and not engine.alive():  # ours: a look at the process
            return False
        return self._silent[engine] < MOST_SILENT

    def lacks_model(self, engine: RunningEngine) -> bool:
        """Whether the engine, or a replica of it, answered that it does not have the model."""
        return engine in self._lacking


async def _told(client: httpx.AsyncClient, engine: RunningEngine) -> list[bool | None]:
    return await asyncio.gather(*(_has_model(client, url, engine.model) for url in engine.urls))


async def _has_model(client: httpx.AsyncClient, url: str, model: str) -> bool | None:
    """None where it does not answer."""
    try:
        answer = (await client.get(f"{url}/models")).raise_for_status()
        return model in [one["id"] for one in answer.json()["data"]]
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return None
