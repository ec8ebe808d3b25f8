"""The embedded index: Qdrant Edge, a folder that any number of processes may read at once.

The shard has no write-ahead log. That is what would lock it to one process, and an index is written
once, beside, and renamed into place: an interrupted build leaves no index to recover.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stepladder.errors import StepladderError
from stepladder.failures import is_full_disk
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.index import (
    BATCH,
    DENSE,
    GRAPH_FROM,
    SPARSE,
    IndexedChunk,
    Retrieved,
    Vector,
    payload,
    point_id,
    ranked,
)
from stepladder.knowledge.sparse import SparseVector


class EdgeIndex:
    """An ``Index`` in a folder. Make one with ``create_edge`` or ``open_edge``."""

    def __init__(self, shard: Any) -> None:
        self._shard = shard
        self._changed = False

    def upsert(self, points: Sequence[IndexedChunk]) -> None:
        """See ``Index``."""
        import qdrant_edge as edge

        rows = [
            edge.Point(
                point_id(point.chunk.id),
                {DENSE: point.dense.tolist(), SPARSE: _sparse(point.sparse)},
                payload(point.chunk),
            )
            for point in points
        ]
        self._changed = True
        for start in range(0, len(rows), BATCH):
            self._shard.update(edge.UpdateOperation.upsert_points(rows[start : start + BATCH]))

    def search(
        self, dense: Vector, sparse: SparseVector, *, limit: int, prefetch: int, rrf_k: int
    ) -> list[Retrieved]:
        """See ``Index``."""
        import qdrant_edge as edge

        searches = [edge.Prefetch(limit=prefetch, query=edge.Query.Nearest(dense.tolist(), using=DENSE))]
        if sparse.indices:
            nearest = edge.Query.Nearest(_sparse(sparse), using=SPARSE)
            searches.append(edge.Prefetch(limit=prefetch, query=nearest))
        fusion: Any = edge.Fusion.Rrf(k=rrf_k)  # the binding's stub does not count it as a Fusion
        request = edge.QueryRequest(limit=2 * prefetch, prefetches=searches, query=fusion, with_payload=True)
        return ranked(((str(hit.id), hit.score, hit.payload) for hit in self._shard.query(request)), limit)

    def delete(self, ids: Iterable[str]) -> None:
        """See ``Index``."""
        import qdrant_edge as edge

        self._changed = True
        self._shard.update(edge.UpdateOperation.delete_points([point_id(chunk_id) for chunk_id in ids]))

    def chunks(self) -> list[Chunk]:
        """See ``Index``."""
        import qdrant_edge as edge

        found: list[Chunk] = []
        offset: Any = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=BATCH, with_payload=True)
            records, offset = self._shard.scroll(request)
            found += [Chunk.model_validate(record.payload) for record in records]
            if offset is None:
                return sorted(found, key=lambda chunk: chunk.id)

    def ids(self) -> list[str]:
        """See ``Index``."""
        return [chunk.id for chunk in self.chunks()]

    def count(self) -> int:
        """See ``Index``."""
        import qdrant_edge as edge

        return int(self._shard.count(edge.CountRequest(exact=True)))

    def optimize(self) -> None:
        """Build the graph where there are chunks enough for one; blocks until done."""
        self._changed = True
        self._shard.optimize()

    def flush(self) -> None:
        """Write what is still in memory."""
        self._shard.flush()

    def close(self) -> None:
        """See ``Index``. A reader writes nothing: its folder may have been replaced by a newer version."""
        if self._changed:
            self.flush()
        self._shard.close()


def create_edge(folder: Path, dimension: int) -> EdgeIndex:
    """A new, empty index in ``folder``, which must not hold one, for dense vectors of ``dimension``.

    Raises:
        StepladderError: the folder holds an index or is not writable.
    """
    import qdrant_edge as edge

    config = edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=GRAPH_FROM * dimension * 4 // 1024),
        wal_enabled=False,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return EdgeIndex(edge.EdgeShard.create(str(folder), config))
    except Exception as error:  # the binding raises bare Exception
        if is_full_disk(error):
            raise
        raise StepladderError(
            f"cannot create the index: {error}", where=str(folder), remedy="choose an empty, writable folder"
        ) from error


def open_edge(folder: Path) -> EdgeIndex:
    """The index in ``folder``.

    Raises:
        StepladderError: there is none, it is damaged, or another process holds it.
    """
    import qdrant_edge as edge

    try:
        return EdgeIndex(edge.EdgeShard.load(str(folder)))
    except Exception as error:  # the binding raises bare Exception
        held = "WouldBlock" in str(error)
        raise StepladderError(
            "another process holds the index" if held else f"cannot open the index: {error}",
            where=str(folder),
            remedy="close the other process, or set knowledge.store to the URL of a Qdrant server"
            if held
            else "build it again: delete the folder and run dvc repro",
        ) from error


def seal_edge(folder: Path) -> None:
    """Open and close a fresh index once: the first opening still tidies its files, later ones read only.

    So readers, also several at once, leave the files and their digest as they are.

    Raises:
        StepladderError: it does not open.
    """
    fresh = open_edge(folder)
    fresh.flush()
    fresh.close()


def _sparse(vector: SparseVector) -> Any:
    import qdrant_edge as edge

    return edge.SparseVector(indices=vector.indices, values=vector.values)
