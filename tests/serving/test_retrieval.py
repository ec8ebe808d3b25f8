"""Retrieval never runs on the event loop, and questions that wait together are embedded together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.retrieval import BatchedRetrieval
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.index import Retrieved


class SlowRetriever:
    """Takes a while for each batch; keeps the batches and the thread they ran in."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()

    def retrieve_many(self, questions: Sequence[str]) -> list[list[Retrieved]]:
        self.batches.append(list(questions))
        self.threads.add(threading.current_thread().name)
        time.sleep(0.1)
        if "bad" in questions:
            raise ValueError("bad")
        return [
            [Retrieved(chunk=Chunk(id=text, page=text, heading=(), text=text), score=1)] for text in questions
        ]

    def count_tokens(self, text: str) -> int:
        return len(text)


def test_waiting_questions_form_a_batch_off_the_loop_which_goes_on() -> None:
    retriever = SlowRetriever()

    async def story() -> tuple[list[str], float]:
        with ThreadPoolExecutor(1, "retrieval") as executor:
            batched = BatchedRetrieval(retriever, executor, most=4)  # type: ignore[arg-type]
            work = asyncio.gather(*(batched.retrieve(str(number)) for number in range(9)))
            longest, last = 0.0, time.monotonic()
            while not work.done():
                await asyncio.sleep(0.001)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            return [found[0].chunk.id for found in await work], longest

    found, longest_pause = asyncio.run(story())
    assert found == [str(number) for number in range(9)]
    assert [len(batch) for batch in retriever.batches] == [4, 4, 1]
    assert all(name.startswith("retrieval") for name in retriever.threads)
    assert longest_pause < 0.1


def test_a_client_that_left_is_not_searched_for() -> None:
    retriever = SlowRetriever()

    async def story() -> None:
        with ThreadPoolExecutor(1) as executor:
            batched = BatchedRetrieval(retriever, executor)  # type: ignore[arg-type]
            first = asyncio.create_task(batched.retrieve("first"))
            await asyncio.sleep(0.02)
            gone = asyncio.create_task(batched.retrieve("gone"))
            stays = asyncio.create_task(batched.retrieve("stays"))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(first, stays)

    asyncio.run(story())
    assert retriever.batches == [["first"], ["stays"]]


def test_a_batch_that_fails_fails_its_questions_and_no_others() -> None:
    async def story() -> None:
        with ThreadPoolExecutor(1) as executor:
            batched = BatchedRetrieval(SlowRetriever(), executor)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="bad"):
                await batched.retrieve("bad")
            assert (await batched.retrieve("good"))[0].chunk.id == "good"

    asyncio.run(story())
