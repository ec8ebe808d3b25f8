"""What an index of chunks can do; ``edge`` (embedded) and ``server`` implement it with Qdrant."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.sparse import SparseVector
from stepladder.tasks import Strict

DENSE = "dense"
SPARSE = "bm25"
BATCH = 512

# From this many chunks a graph (HNSW) is built; below, search is exact, reproducible and fast enough.
GRAPH_FROM = 50_000

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class IndexedChunk:
    """A chunk with its dense vector, shape (dimension,), and its sparse one."""

    chunk: Chunk
    dense: Vector
    sparse: SparseVector


class Retrieved(Strict):
    """A chunk found, and its reciprocal rank fusion score (higher is better)."""

    chunk: Chunk
    score: float


class Index(Protocol):
    """A set of chunks with hybrid search."""

    def upsert(self, points: Sequence[IndexedChunk]) -> None:
        """Add chunks, or replace those of the same id."""

    def search(
        self, dense: Vector, sparse: SparseVector, *, limit: int, prefetch: int, rrf_k: int
    ) -> list[Retrieved]:
        """Fuse the ``prefetch`` best of the dense and of the sparse search by reciprocal rank.

        Returns:
            At most ``limit`` chunks, best first; chunks of equal score in order of their point id.
        """

    def delete(self, ids: Iterable[str]) -> None:
        """Remove chunks by id; ids that are not there are ignored."""

    def chunks(self) -> list[Chunk]:
        """All chunks, in order of id."""

    def ids(self) -> list[str]:
        """All chunk ids, in order."""

    def count(self) -> int:
        """How many chunks there are."""

    def close(self) -> None:
        """Flush and let go of the files or the connection."""


def point_id(chunk_id: str) -> str:
    """The UUID under which a chunk is stored: the same for the same id."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, chunk_id))


def payload(chunk: Chunk) -> dict[str, Any]:
    """A chunk as the index stores it."""
    return chunk.model_dump(mode="json")


def ranked(found: Iterable[tuple[str, float, dict[str, Any] | None]], limit: int) -> list[Retrieved]:
    """The best ``limit`` of (point id, score, payload), ties broken by point id.

    Qdrant leaves the order of equal scores open, and fusion makes many of them: so that the two stores
    and two runs agree, callers pass the whole fused list.
    """
    best = sorted(found, key=lambda item: (-round(item[1], 6), item[0]))[:limit]
    return [Retrieved(chunk=Chunk.model_validate(body), score=score) for _, score, body in best]
