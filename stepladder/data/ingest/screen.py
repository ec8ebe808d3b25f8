"""Secrets, personal data and language of many texts: all processors look at once."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from stepladder.data.ingest.language import language_finder
from stepladder.data.ingest.private import Finder, personal_finder, secret_finder
from stepladder.settings import Ingest

Record = dict[str, Any]

_FEWEST_SHARED = 5_000  # texts; fewer are done before a worker has started
_AT_ONCE = 500


@dataclass(frozen=True)
class Finders:
    """What is looked for in every text."""

    secret: Finder
    personal: Finder
    language: Finder

    def columns(self, text: str, prose: str) -> Record:
        """The columns of a text; the language is that of its prose."""
        return {
            "secret": self.secret(text),
            "personal": self.personal(text),
            "language": self.language(prose),
        }


def finders(ingest: Ingest) -> Finders:
    """The finders that the settings ask for."""
    return Finders(
        secret=secret_finder(ingest.secret_confidence),
        personal=personal_finder(ingest.personal),
        language=language_finder(ingest.languages),
    )


def screen(texts: Sequence[tuple[str, str]], ingest: Ingest) -> list[Record]:
    """The columns of many (text, prose), in their order; of a large batch, by one process a processor."""
    if len(texts) < _FEWEST_SHARED:
        find = finders(ingest)
        return [find.columns(*one) for one in texts]
    with ProcessPoolExecutor(
        mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(ingest,)
    ) as pool:
        return list(pool.map(_columns, texts, chunksize=_AT_ONCE))


_worker: Finders


def _begin(ingest: Ingest) -> None:
    global _worker  # noqa: PLW0603 - a pool's worker has no other place for what it is given at its start
    _worker = finders(ingest)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _columns(one: tuple[str, str]) -> Record:
    return _worker.columns(*one)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
