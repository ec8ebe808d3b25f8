"""A deterministic embedder that needs no model (likeness by shared words), and Qdrant servers to test on."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient

from stepladder.knowledge.server import connect


@dataclass
class WordEmbedder:
    """Unit vectors of hashed words; counts how many texts it embedded."""

    name: str = "words"
    digest: str = "words-float32"
    model_digest: str = "words"
    dimension: int = 32
    max_tokens: int = 128
    embedded: list[str] = field(default_factory=list)

    def encode(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        self.embedded += texts
        vectors = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.strip(".,").encode()) % self.dimension] += 1
        if progress:
            progress(len(texts), len(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        return len(text.split())


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@dataclass(frozen=True)
class Qdrant:
    """A server, and how all that a test makes there is named: ``name``, or that and ``-`` and more."""

    connect: Callable[[], QdrantClient]
    name: str


@pytest.fixture(params=["memory", "server"])
def qdrant(request: pytest.FixtureRequest) -> Iterator[Qdrant]:
    with running_qdrant(request.param) as found:
        yield found


@contextmanager
def running_qdrant(kind: str) -> Iterator[Qdrant]:
    """The client's in-memory mode, which stands in for a server, or the server of ``QDRANT_URL``."""
    name = f"test-{uuid4().hex}"
    if kind == "memory":
        client = QdrantClient(":memory:")
        client.close = lambda **_: None  # closing would forget everything
        yield Qdrant(lambda: client, name)
        return
    url = os.environ.get("QDRANT_URL")
    if not url:
        pytest.skip("no Qdrant server is named: QDRANT_URL")
    try:
        yield Qdrant(lambda: connect(url), name)
    finally:
        _delete(url, name)


def _delete(url: str, name: str) -> None:
    """Take a test's collections away; the server drops their aliases with them."""
    with closing(connect(url)) as client:
        for collection in client.get_collections().collections:
            if collection.name == name or collection.name.startswith(f"{name}-"):
                client.delete_collection(collection.name)
