"""A process that embeds and searches for the gateway.

A thread would not do: the embedded index keeps Python's lock while it searches, and the event loop would
stand still as long. The process holds no state that matters: it opens an index when it is first asked for,
and a process that died is replaced.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from serving.router import Passage
from stepladder.engine import die_with_parent
from stepladder.errors import StepladderError
from stepladder.knowledge.embed import Embedder, load_embedder
from stepladder.knowledge.retrieve import Retriever, open_retriever
from stepladder.settings import Knowledge
from stepladder.tasks import Strict

_MOST_OPEN = 16


class IndexPlace(Strict):
    """Where an index version is, and how it is asked.

    ``made``: when the folder was, ns; it tells it from one that was there before, of which files may be open.
    """

    folder: Path
    made: int = 0
    knowledge: Knowledge
    embedder: str


class SearchProcess:
    """One process for all indexes: embedding fills the cores by itself.

    It ends with the thread that asked first, which must live as long as it is asked.
    """

    def __init__(self) -> None:
        self._pool = _pool()

    async def search(self, place: IndexPlace, questions: Sequence[str]) -> list[list[Passage]]:
        """The best passages for each question; asked again, once, where the process dies meanwhile.

        Raises:
            StepladderError: the index cannot be opened, or is of another embedder; the process died again.
        """
        try:
            return await self._search(place, questions)
        except BrokenProcessPool:
            pass
        try:
            return await self._search(place, questions)
        except BrokenProcessPool as error:
            raise StepladderError(
                "the process that searches died twice",
                where=str(place.folder),
                remedy="often it is memory: see what the machine's log says of processes that were killed",
                may_pass=True,
            ) from error

    async def _search(self, place: IndexPlace, questions: Sequence[str]) -> list[list[Passage]]:
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(
                pool, search, place.model_dump_json(), list(questions)
            )
        except BrokenProcessPool:
            if self._pool is pool:  # who asked at the same time may have replaced it
                self._pool = _pool()
            raise

    def ask(self, place: IndexPlace, question: str) -> list[Passage]:
        """The best passages for one question, from a thread that may wait. See ``search``."""
        return asyncio.run(self.search(place, [question]))[0]

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """In the process: end with the gateway, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()()


def search(place: str, questions: list[str]) -> list[list[Passage]]:
    """Ask an index, as evaluation does (``Retriever.retrieve_many``). Runs in the process."""
    retriever = _retriever(place)
    return [
        [
            Passage(chunk=one.chunk, score=one.score, tokens=retriever.count_tokens(one.chunk.text))
            for one in found
        ]
        for found in retriever.retrieve_many(questions)
    ]


# Of the process, by place: those asked last stand last.
_open: OrderedDict[str, Retriever] = OrderedDict()


def _retriever(place: str) -> Retriever:
    """The index of a place, open; the one that was not asked for longest is closed for it."""
    if place not in _open:
        at = IndexPlace.model_validate_json(place)
        _open[place] = open_retriever(at.folder, at.knowledge, _embedder(at.embedder))
        if len(_open) > _MOST_OPEN:
            _open.popitem(last=False)[1].close()
    _open.move_to_end(place)
    return _open[place]


@lru_cache(maxsize=4)
def _embedder(name: str) -> Embedder:
    import torch

    # Threads that wait for each other at every layer wait long beside an engine's, which spin on all cores.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    return load_embedder(name)
