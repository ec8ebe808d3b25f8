"""Build a fresh, immutable index of a task's knowledge: chunk, embed what is new, write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from stepladder.cache import Cache
from stepladder.console import OnProgress
from stepladder.errors import StepladderError
from stepladder.files import digest_value, write_json
from stepladder.knowledge import server, sparse
from stepladder.knowledge.chunk import Chunk, chunk_page
from stepladder.knowledge.edge import create_edge, seal_edge
from stepladder.knowledge.embed import Embedder, Vectors, encode_cached
from stepladder.knowledge.index import IndexedChunk
from stepladder.knowledge.manifest import MANIFEST, EmbedderRecord, Manifest, Parameters, Timings
from stepladder.settings import Knowledge


def build_index(
    pages: Mapping[str, str],
    knowledge: Knowledge,
    embedder: Embedder,
    folder: Path,
    cache: Cache,
    task: str,
    progress: OnProgress | None = None,
) -> Manifest:
    """Chunk ``pages``, embed the chunks that ``cache`` lacks, and write the index and its manifest.

    With the embedded store the index lies in ``folder/edge``; with a server, in a collection
    ``<task>-<version>`` beside those of other versions, and the alias ``<task>`` is left as it is
    (``publish_index`` switches it). The index is closed when this returns.

    Args:
        pages: Markdown by page id.
        folder: an empty place for the result, as ``files.writing`` gives it.
        progress: called with (chunks embedded, chunks to embed).

    Raises:
        StepladderError: the pages hold no text, a chunk is longer than the embedder reads, or the
            store cannot be written.
    """
    chunks = chunk_pages(pages, knowledge.chunk_tokens, embedder)
    texts = [chunk.text for chunk in chunks]
    started = time.perf_counter()
    dense, embedded = encode_cached(embedder, texts, cache, progress)
    embed_s = time.perf_counter() - started
    average = sparse.average_length(texts)
    parameters = Parameters(
        chunk_tokens=knowledge.chunk_tokens, bm25_k1=sparse.K1, bm25_b=sparse.B, average_terms=average
    )
    version = index_version(chunks, embedder.digest, parameters)
    started = time.perf_counter()
    collection = _write(_points(chunks, dense, average), knowledge.store, folder, f"{task}-{version[:12]}")
    manifest = Manifest(
        task=task,
        version=version,
        store="edge" if collection is None else "server",
        collection=collection,
        pages=len(pages),
        chunks=len(chunks),
        embedder=EmbedderRecord(
            name=embedder.name, digest=embedder.model_digest, dimension=embedder.dimension
        ),
        parameters=parameters,
        timings=Timings(
            embedded=embedded,
            embed_s=round(embed_s, 3),
            index_s=round(time.perf_counter() - started, 3),
        ),
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def publish_index(manifest: Manifest, store: str) -> None:
    """Let the task's alias on a server name this version; the embedded store needs none.

    Raises:
        StepladderError: the server cannot be asked, or lacks the collection.
    """
    if manifest.collection is None:
        return
    client = server.connect(store)
    try:
        server.publish(client, manifest.task, manifest.collection)
    finally:
        client.close()


def chunk_pages(pages: Mapping[str, str], limit: int, embedder: Embedder) -> list[Chunk]:
    """Chunks of all pages, in order of page id.

    Raises:
        StepladderError: ``limit`` is more than the embedder reads, or there is no text.
    """
    if limit > embedder.max_tokens:
        raise StepladderError(
            f"chunks of {limit} tokens are longer than the embedder reads ({embedder.max_tokens})",
            where="knowledge.chunk_tokens",
            remedy=f"set it to {embedder.max_tokens} or less in params.yaml, or choose another embedder",
        )
    chunks = [
        chunk
        for page in sorted(pages)
        for chunk in chunk_page(page, pages[page], limit, embedder.count_tokens)
    ]
    if not chunks:
        raise StepladderError(
            "the knowledge holds no text", where="knowledge", remedy="add Markdown files with text"
        )
    return chunks


def index_version(chunks: Sequence[Chunk], embedder_digest: str, parameters: Parameters) -> str:
    """Digest of all that decides what a search finds: chunks, embedder, number format, parameters."""
    rows = [[chunk.id, chunk.text] for chunk in chunks]
    made_of = {"chunks": rows, "embedder": embedder_digest, "parameters": parameters.model_dump(mode="json")}
    if not all(chunk.text.isascii() for chunk in chunks):
        # Such texts had other terms once: an index of then, on a server, is not to pass for one of now.
        made_of["terms"] = "of all scripts"
    return digest_value(made_of)


def _points(chunks: Sequence[Chunk], dense: Vectors, average: float) -> list[IndexedChunk]:
    return [
        IndexedChunk(chunk, vector, sparse.document_vector(chunk.text, average))
        for chunk, vector in zip(chunks, dense, strict=True)
    ]


def _write(points: Sequence[IndexedChunk], store: str, folder: Path, name: str) -> str | None:
    """Write the points; the name of the collection where the store is a server."""
    dimension = len(points[0].dense)
    folder.mkdir(parents=True, exist_ok=True)
    if store == "edge":
        shard = create_edge(folder / "edge", dimension)
        try:
            shard.upsert(points)
            shard.optimize()
        finally:
            shard.close()
        seal_edge(folder / "edge")
        return None
    remote = server.create_collection(server.connect(store), name, dimension)
    try:
        # Equal versions hold equal points: a whole one is left alone, one cut short by a kill is filled up.
        if remote.count() != len(points):
            remote.upsert(points)
    finally:
        remote.close()
    return name
