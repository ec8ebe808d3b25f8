"""Retrieval off the event loop: questions that come while others are searched form the next batch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from serving.errors import ApiError
from serving.router import Passage, Retrieval
from stepladder.errors import StepladderError
from stepladder.failures import without_password

log = logging.getLogger("serving")

Search = Callable[[Sequence[str]], Awaitable[list[list[Passage]]]]
"""The best passages for each question, in order."""

# Larger batches cost less a question, and each question waits for the last of its batch.
_MOST = 8


@dataclass(frozen=True)
class _Question:
    text: str
    found: asyncio.Future[list[Passage]]


class BatchedRetrieval:
    """A release's index, asked for all waiting questions together."""

    def __init__(self, search: Search, most: int = _MOST) -> None:
        self._search = search
        self._most = most
        self._waiting: list[_Question] = []
        self._worker: asyncio.Task[None] | None = None

    async def retrieve(self, question: str) -> list[Passage]:
        """See ``serving.router.Retrieval``."""
        asked = _Question(question, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await asked.found

    async def _work(self) -> None:
        try:
            while batch := self._next_batch():
                try:
                    found = await self._search([question.text for question in batch])
                except Exception as error:
                    for question in batch:
                        if not question.found.done():
                            question.found.set_exception(error)
                    continue
                for question, passages in zip(batch, found, strict=True):
                    if not question.found.done():
                        question.found.set_result(passages)
        finally:
            self._worker = None

    def _next_batch(self) -> list[_Question]:
        """The questions that waited longest; those whose client left are passed over."""
        waiting = [question for question in self._waiting if not question.found.done()]
        self._waiting = waiting[self._most :]
        return waiting[: self._most]


async def passages_for(question: str, retrieval: Retrieval) -> list[Passage]:
    """The best passages for a question.

    Raises:
        ApiError: 503, the index cannot be asked; the log says why.
    """
    try:
        return await retrieval.retrieve(question)
    except StepladderError as error:
        log.error("retrieval failed: %s", without_password(str(error)))
        raise ApiError(
            503, "retrieval_unavailable", "the documents cannot be searched now: ask again", retry_after_s=5
        ) from error
