"""Questions that wait together are searched together; a search process that dies is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving import search
from serving.retrieval import BatchedRetrieval
from serving.router import Lineup, Passage, Serving
from serving.search import IndexPlace, SearchProcess
from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.files import writing
from stepladder.knowledge.build import build_index
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.embed import load_embedder
from stepladder.knowledge.retrieve import open_retriever
from stepladder.settings import Knowledge
from tests.serving.house import PAGES, Gate, House, answering, wait_until

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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> IndexPlace:
    folder = tmp_path_factory.mktemp("packaged")
    with writing(folder / "index") as draft, Cache(folder / "cache.sqlite") as cache:
        build_index(PAGES, Knowledge(), load_embedder(PACKAGED), draft, cache, "docs")
    return IndexPlace(folder=folder / "index", knowledge=Knowledge(), embedder=PACKAGED)


@pytest.mark.slow
def test_the_process_finds_what_evaluation_finds_and_is_replaced_when_it_dies(
    place: IndexPlace, tmp_path: Path
) -> None:
    question = "What is the default of state?"
    with open_retriever(place.folder, place.knowledge, load_embedder(PACKAGED)) as retriever:
        expected = [
            (one.chunk, retriever.count_tokens(one.chunk.text)) for one in retriever.retrieve(question)
        ]

    async def story() -> None:
        process = SearchProcess()
        try:
            await process.search(place, [question])
            os.kill(pid_of(process), signal.SIGKILL)
            found = (await process.search(place, [question]))[0]
            assert [(one.chunk, one.tokens) for one in found] == expected
            with pytest.raises(StepladderError):
                await process.search(place.model_copy(update={"folder": tmp_path}), [question])
        finally:
            process.close()

    asyncio.run(story())


def test_a_process_that_dies_twice_is_an_index_that_cannot_be_asked_now(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies:
        def __init__(self) -> None:
            pools.append(self)

        def submit(self, *_: object) -> Future[None]:
            died: Future[None] = Future()
            died.set_exception(BrokenProcessPool())
            return died

    pools: list[Dies] = []
    monkeypatch.setattr(search, "_pool", Dies)
    nowhere = IndexPlace(folder=Path("nowhere"), knowledge=Knowledge(), embedder="e")
    retrieval = BatchedRetrieval(partial(SearchProcess().search, nowhere))
    champion = house.router.lineups["docs"].champion
    assert champion
    house.router.put("docs", Lineup({"champion": replace(champion, retrieval=retrieval)}))
    with answering(house) as gate, gate.http() as client:
        body = {"model": "docs", "messages": [{"role": "user", "content": "Why?"}]}
        answer = client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5")
    assert len(pools) == 3, "it is replaced each time"


def pid_of(process: SearchProcess) -> int:
    (pid,) = process._pool._processes  # type: ignore[attr-defined]
    return int(pid)


@pytest.mark.slow
def test_while_documents_are_searched_other_requests_are_answered(house: House, place: IndexPlace) -> None:
    """The searching process is halted: were the event loop to wait for it, nothing would be answered."""
    with closing(SearchProcess()) as process, answering(house) as gate, ThreadPoolExecutor(2) as clients:
        process.ask(place, "warm up")
        champion = house.router.lineups["docs"].champion
        assert champion
        retrieval = BatchedRetrieval(partial(process.search, place))
        made = Serving(champion.registered, champion.task, champion.engine, retrieval)
        house.router.put("docs", Lineup({"champion": made}))
        os.kill(pid_of(process), signal.SIGSTOP)
        try:
            waits = [clients.submit(ask, gate, "docs") for _ in range(2)]
            wait_until(lambda: gate.gateway.gate(made).working == 2)
            for _ in range(5):
                assert ask(gate, "plain") == "re: Why?"
            assert not any(one.done() for one in waits)
        finally:
            os.kill(pid_of(process), signal.SIGCONT)
        assert all("Why?" in one.result(20) for one in waits)


def ask(gate: Gate, model: str) -> str:
    question: Any = [{"role": "user", "content": "Why?"}]
    answer = gate.openai().chat.completions.create(model=model, messages=question)
    return str(answer.choices[0].message.content)
