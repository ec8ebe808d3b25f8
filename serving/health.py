"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serving.gateway import Gateway

routes = APIRouter()
_FRESH_S = 2.0


@routes.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@routes.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Whether a champion answers, and of every task that has one; engines too; and records are written."""
    readiness: Readiness = request.app.state.readiness
    missing = await readiness.missing()
    return JSONResponse({"ready": not missing, "missing": missing}, 503 if missing else 200)


@routes.get("/metrics", response_model=None)
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    gateway: Gateway = request.app.state.gateway
    for task, (waiting, working) in gateway.queues().items():
        gateway.metrics.waiting.labels(task).set(waiting)
        gateway.metrics.working.labels(task).set(working)
    gateway.metrics.records_pending.set(gateway.store.pending)
    return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)


class Readiness:
    """What is missing before all can be answered; looked up at most every two seconds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._looked = -_FRESH_S
        self._missing: list[str] = []
        self._looking = asyncio.Lock()

    async def missing(self) -> list[str]:
        """Words for what is missing; none where all is well. Names no task: this page is open."""
        async with self._looking:
            if time.monotonic() - self._looked >= _FRESH_S:
                self._missing = await self._look()
                self._looked = time.monotonic()
        return self._missing

    async def _look(self) -> list[str]:
        lineups = list(self._gateway.router.lineups.values())
        champions = [lineup.champion for lineup in lineups]
        engines = {champion.engine for champion in champions if champion}
        answers = await asyncio.gather(*(self._gateway.engines.answers(engine) for engine in engines))
        found = {
            "task": not champions,
            # A task of which no release was promoted keeps no other from being served.
            "champion": bool(champions)
            and (not any(champions) or any(one.awaited and not one.champion for one in lineups)),
            "engine": not all(answers),
            "records": not self._gateway.store.healthy,
        }
        return [word for word, lacking in found.items() if lacking]
