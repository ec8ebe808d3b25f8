"""Questions that wait together are searched together; a search process that dies is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from serving import search
from serving.retrieval import BatchedRetrieval
from serving.router import Passage
from serving.search import IndexPlace, SearchProcess
from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.files import writing
from stepladder.knowledge.build import build_index
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.embed import load_embedder
from stepladder.knowledge.retrieve import open_retriever
from stepladder.settings import Knowledge
from tests.serving.house import PAGES

PACKAGED = "packaged:all-MiniLM-L6-v2"


class SlowSearch:
    """Takes a while for each batch, and keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def __call__(self, questions: Sequence[str]) -> list[list[Passage]]:
        self.batches.append(list(questions))
        await asyncio.sleep(0.01)
        if "bad" in questions:
            raise ValueError("bad")
        chunks = [Chunk(id=text, page=text, heading=(), text=text) for text in questions]
        return [[Passage(chunk=chunk, score=1, tokens=1)] for chunk in chunks]


def test_waiting_questions_form_a_batch() -> None:
    slow = SlowSearch()

    async def story() -> list[str]:
        batched = BatchedRetrieval(slow, most=4)
        found = await asyncio.gather(*(batched.retrieve(str(number)) for number in range(9)))
        return [passages[0].chunk.id for passages in found]

    assert asyncio.run(story()) == [str(number) for number in range(9)]
    assert [len(batch) for batch in slow.batches] == [4, 4, 1]


def test_a_client_that_left_is_not_searched_for() -> None:
    slow = SlowSearch()

    async def story() -> None:
        batched = BatchedRetrieval(slow)
        first = asyncio.create_task(batched.retrieve("first"))
        await asyncio.sleep(0.001)
        gone = asyncio.create_task(batched.retrieve("gone"))
        stays = asyncio.create_task(batched.retrieve("stays"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(first, stays)

    asyncio.run(story())
    assert slow.batches == [["first"], ["stays"]]


def test_a_batch_that_fails_fails_its_questions_and_no_others() -> None:
    async def story() -> None:
        batched = BatchedRetrieval(SlowSearch())
        with pytest.raises(ValueError, match="bad"):
            await batched.retrieve("bad")
        assert (await batched.retrieve("good"))[0].chunk.id == "good"

    asyncio.run(story())


def test_the_index_that_was_not_asked_for_longest_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Opened:
        def __init__(self, folder: Path, *_: object) -> None:
            self.folder = folder

        def close(self) -> None:
            closed.append(str(self.folder))

    monkeypatch.setattr(search, "open_retriever", Opened)
    monkeypatch.setattr(search, "_embedder", lambda name: name)
    monkeypatch.setattr(search, "_open", OrderedDict())
    monkeypatch.setattr(search, "_MOST_OPEN", 2)
    places = [
        IndexPlace(folder=Path(name), knowledge=Knowledge(), embedder="e").model_dump_json() for name in "abc"
    ]
    first = search._retriever(places[0])
    search._retriever(places[1])
    assert search._retriever(places[0]) is first
    search._retriever(places[2])
    assert closed == ["b"]


@pytest.mark.slow
def test_the_process_finds_what_evaluation_finds_and_is_replaced_when_it_dies(tmp_path: Path) -> None:
    embedder = load_embedder(PACKAGED)
    with writing(tmp_path / "index") as draft, Cache(tmp_path / "cache.sqlite") as cache:
        build_index(PAGES, Knowledge(), embedder, draft, cache, "docs")
    place = IndexPlace(folder=tmp_path / "index", knowledge=Knowledge(), embedder=PACKAGED)
    question = "What is the default of state?"
    with open_retriever(place.folder, place.knowledge, embedder) as retriever:
        expected = [
            (one.chunk, retriever.count_tokens(one.chunk.text)) for one in retriever.retrieve(question)
        ]

    async def story() -> None:
        process = SearchProcess()
        try:
            for _ in range(2):
                found = (await process.search(place, [question]))[0]
                assert [(one.chunk, one.tokens) for one in found] == expected
                os.kill(psutil.Process().children()[-1].pid, signal.SIGKILL)
            with pytest.raises(StepladderError):
                await process.search(place.model_copy(update={"folder": tmp_path}), [question])
        finally:
            process.close()

    asyncio.run(story())
