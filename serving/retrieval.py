"""Retrieval off the event loop: questions that come while others are searched form the next batch."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass

from stepladder.knowledge.index import Retrieved
from stepladder.knowledge.retrieve import Retriever


@dataclass(frozen=True)
class _Question:
    text: str
    found: asyncio.Future[list[Retrieved]]


class BatchedRetrieval:
    """A ``Retriever`` that works in an executor, embedding all waiting questions together.

    Args:
        retriever: the release's index, asked as evaluation asks it (``retrieve_many``).
        executor: where it works; one thread for all tasks, because embedding fills the cores by itself.
        most: questions in a batch. Larger batches cost less a question, and each waits for the last.
    """

    def __init__(self, retriever: Retriever, executor: Executor, most: int = 8) -> None:
        self._retriever = retriever
        self._executor = executor
        self._most = most
        self._waiting: list[_Question] = []
        self._worker: asyncio.Task[None] | None = None

    async def retrieve(self, question: str) -> list[Retrieved]:
        """See ``serving.router.Retrieval``."""
        asked = _Question(question, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await asked.found

    def count_tokens(self, text: str) -> int:
        """See ``serving.router.Retrieval``."""
        return self._retriever.count_tokens(text)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next_batch():
                texts = [question.text for question in batch]
                try:
                    found = await loop.run_in_executor(self._executor, self._retriever.retrieve_many, texts)
                except Exception as error:
                    for question in batch:
                        if not question.found.done():
                            question.found.set_exception(error)
                    continue
                for question, chunks in zip(batch, found, strict=True):
                    if not question.found.done():
                        question.found.set_result(chunks)
        finally:
            self._worker = None

    def _next_batch(self) -> list[_Question]:
        """The questions that waited longest; those whose client left are passed over."""
        waiting = [question for question in self._waiting if not question.found.done()]
        self._waiting = waiting[self._most :]
        return waiting[: self._most]
