"""Shadow mode: the challenger answers too, after the champion did, and nobody sees it."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from serving.asking import engine_request
from serving.errors import ApiError
from serving.interaction import Answer, Asked
from serving.retrieval import passages_for
from serving.router import Serving
from serving.store import Event
from stepladder.data.references import abstains
from stepladder.evaluation.score import said
from stepladder.releases import CHALLENGER

if TYPE_CHECKING:
    from serving.gateway import Gateway

log = logging.getLogger("serving")


class Shadows:
    """The unseen answers under way: a bounded number, so that a slow challenger holds up nothing."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._under_way: set[asyncio.Task[None]] = set()

    def answer(self, asked: Asked, seen: Answer) -> None:
        """Let the challenger answer what the champion answered; left out where too many are under way."""
        lineup = self._gateway.router.lineups.get(asked.task)
        challenger = lineup.servings.get(CHALLENGER) if lineup else None
        if challenger is None or len(self._under_way) >= self._gateway.settings.canary.shadows:
            return
        work = asyncio.create_task(self._answer(replace(asked, serving=challenger), challenger, seen))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)

    async def _answer(self, asked: Asked, challenger: Serving, seen: Answer) -> None:
        started, text, outcome = time.monotonic(), "", "answered"
        with self._gateway.router.using(challenger):
            try:
                async with asyncio.timeout(self._gateway.settings.limits.request_timeout_s):
                    text = await self._ask(asked, challenger)
            except TimeoutError:
                outcome = "deadline_exceeded"
            except ApiError as error:
                outcome = error.code
            except Exception as error:
                log.error("a shadow's answer failed: %s", type(error).__name__)
                outcome = "internal_error"
        self._record(asked, challenger, seen, text, outcome, time.monotonic() - started)

    async def _ask(self, asked: Asked, challenger: Serving) -> str:
        retrieval = challenger.retrieval
        found = await passages_for(asked.said.question, retrieval) if retrieval else []
        body, _ = engine_request(challenger, asked.chat, asked.said, found)
        answer = await self._gateway.engines.complete(challenger.engine, body, {})
        return str(answer["choices"][0]["message"]["content"] or "")

    def _record(
        self, asked: Asked, challenger: Serving, seen: Answer, text: str, outcome: str, took: float
    ) -> None:
        """The challenger's half of a pair, in the form of the champion's ``answered``."""
        spec = challenger.task.spec
        if outcome == "answered" and abstains(spec, text):
            outcome = "abstained"
        own_form = asked.chat.response_format is not None
        body: dict[str, Any] = {
            "outcome": outcome,
            "answer": text,
            "valid": None if own_form else challenger.is_valid(text),
            "latency_ms": round(1000 * took, 1),
            "queued_ms": 0.0,
            "same": said(spec, text) == said(spec, seen.text),
        }
        event = Event("shadow", asked.id, asked.task, challenger.digest, body, time.time())
        self._gateway.store.append(event)

    async def close(self) -> None:
        """Give up what is under way."""
        for work in self._under_way:
            work.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
