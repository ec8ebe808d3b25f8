"""The index on a Qdrant server: a collection a version, and an alias that names the one in use.

A version is immutable: its collection is written once, and later ones are built beside it. Old ones stay,
for the releases that name them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stepladder.errors import StepladderError
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
from stepladder.knowledge.manifest import build_again
from stepladder.knowledge.sparse import SparseVector

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


class ServerIndex:
    """An ``Index`` in one collection. Make one with ``create_collection`` or ``open_collection``."""

    def __init__(self, client: QdrantClient, collection: str) -> None:
        self._client = client
        self._collection = collection

    def upsert(self, points: Sequence[IndexedChunk]) -> None:
        """See ``Index``."""
        from qdrant_client import models

        rows = [
            models.PointStruct(
                id=point_id(point.chunk.id),
                vector={DENSE: point.dense.tolist(), SPARSE: _sparse(point.sparse)},
                payload=payload(point.chunk),
            )
            for point in points
        ]
        with _asking(self._collection):
            for start in range(0, len(rows), BATCH):
                self._client.upsert(self._collection, rows[start : start + BATCH], wait=True)

    def search(
        self, dense: Vector, sparse: SparseVector, *, limit: int, prefetch: int, rrf_k: int
    ) -> list[Retrieved]:
        """See ``Index``."""
        from qdrant_client import models

        searches = [models.Prefetch(query=dense.tolist(), using=DENSE, limit=prefetch)]
        if sparse.indices:
            searches.append(models.Prefetch(query=_sparse(sparse), using=SPARSE, limit=prefetch))
        with _asking(self._collection):
            answer = self._client.query_points(
                self._collection,
                prefetch=searches,
                query=models.RrfQuery(rrf=models.Rrf(k=rrf_k)),
                limit=2 * prefetch,
                with_payload=True,
            )
        return ranked(((str(hit.id), hit.score, hit.payload) for hit in answer.points), limit)

    def delete(self, ids: Iterable[str]) -> None:
        """See ``Index``."""
        from qdrant_client import models

        selector = models.PointIdsList(points=[point_id(chunk_id) for chunk_id in ids])
        with _asking(self._collection):
            self._client.delete(self._collection, selector, wait=True)

    def chunks(self) -> list[Chunk]:
        """See ``Index``."""
        found: list[Chunk] = []
        offset: Any = None
        with _asking(self._collection):
            while True:
                records, offset = self._client.scroll(
                    self._collection, limit=BATCH, offset=offset, with_payload=True
                )
                found += [Chunk.model_validate(record.payload) for record in records]
                if offset is None:
                    return sorted(found, key=lambda chunk: chunk.id)

    def ids(self) -> list[str]:
        """See ``Index``."""
        return [chunk.id for chunk in self.chunks()]

    def count(self) -> int:
        """See ``Index``."""
        with _asking(self._collection):
            return self._client.count(self._collection, exact=True).count

    def close(self) -> None:
        """See ``Index``."""
        self._client.close()


def connect(url: str) -> QdrantClient:
    """A client of the server at ``url``; the environment's ``QDRANT_API_KEY`` is sent if set.

    Raises:
        StepladderError: the URL is none.
    """
    from qdrant_client import QdrantClient

    with _asking(url):
        return QdrantClient(url=url, api_key=os.environ.get("QDRANT_API_KEY"), check_compatibility=False)


def create_collection(client: QdrantClient, collection: str, dimension: int) -> ServerIndex:
    """A new, empty collection, or the one of that name as it is: nothing in it is lost.

    Raises:
        StepladderError: the server cannot be asked.
    """
    from qdrant_client import models

    with _asking(collection):
        if client.collection_exists(collection):
            return ServerIndex(client, collection)
        client.create_collection(
            collection,
            vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            optimizers_config=models.OptimizersConfigDiff(
                indexing_threshold=GRAPH_FROM * dimension * 4 // 1024
            ),
        )
    return ServerIndex(client, collection)


def open_collection(client: QdrantClient, collection: str, task: str = "TASK") -> ServerIndex:
    """The index, of a task, in a collection or under an alias.

    Raises:
        StepladderError: there is none of that name, or the server cannot be asked.
    """
    with _asking(collection):
        aliases = [alias.alias_name for alias in client.get_aliases().aliases]
        if collection not in aliases and not client.collection_exists(collection):
            raise StepladderError(
                "the Qdrant server has no such collection",
                where=collection,
                remedy=f"build the index on that server: `{build_again(task)}`",
            )
    return ServerIndex(client, collection)


def publish(client: QdrantClient, alias: str, collection: str) -> None:
    """Point ``alias`` at ``collection``, in one step: no reader sees it missing.

    Raises:
        StepladderError: the server cannot be asked, or has no such collection.
    """
    from qdrant_client import models

    create = models.CreateAlias(collection_name=collection, alias_name=alias)
    steps: list[Any] = [models.CreateAliasOperation(create_alias=create)]
    with _asking(collection):
        if any(known.alias_name == alias for known in client.get_aliases().aliases):
            drop = models.DeleteAlias(alias_name=alias)
            steps.insert(0, models.DeleteAliasOperation(delete_alias=drop))
        client.update_collection_aliases(steps)


@contextmanager
def _asking(collection: str) -> Iterator[None]:
    """Turn the client's errors into one that says what to do."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except (ApiException, OSError, ValueError) as error:
        raise StepladderError(
            f"the Qdrant server did not do it: {error}",
            where=collection,
            remedy="check that the server of knowledge.store (or QDRANT_URL) is up, and QDRANT_API_KEY",
            may_pass=True,
        ) from error


def _sparse(vector: SparseVector) -> Any:
    from qdrant_client import models

    return models.SparseVector(indices=vector.indices, values=vector.values)
