"""Ask an index: the one way in which evaluation, ``ask`` and the gateway retrieve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

from stepladder.errors import StepladderError
from stepladder.knowledge import server
from stepladder.knowledge.chunk import Chunk, covers
from stepladder.knowledge.edge import open_edge
from stepladder.knowledge.embed import Embedder, load_embedder
from stepladder.knowledge.index import Index, Retrieved
from stepladder.knowledge.manifest import Manifest, build_again, read_manifest
from stepladder.knowledge.sparse import query_vector
from stepladder.settings import Knowledge


class Retriever:
    """An open index with its embedder. Close it, or use it in a ``with`` block."""

    def __init__(self, index: Index, embedder: Embedder, knowledge: Knowledge, manifest: Manifest) -> None:
        self._index = index
        self._embedder = embedder
        self._knowledge = knowledge
        self.manifest = manifest

    @property
    def version(self) -> str:
        """Digest of the index's content."""
        return self.manifest.version

    def retrieve(self, question: str, limit: int | None = None) -> list[Retrieved]:
        """The best chunks for a question, best first; ``limit`` of them, by default ``knowledge.top_k``."""
        return self.retrieve_many([question], limit)[0]

    def retrieve_many(self, questions: Sequence[str], limit: int | None = None) -> list[list[Retrieved]]:
        """``retrieve`` for each question, in order; embedded together, each distinct question once."""
        distinct = list(dict.fromkeys(questions))
        vectors = self._embedder.encode(distinct)
        most = limit or self._knowledge.top_k
        found = {
            question: self._index.search(
                vector,
                query_vector(question),
                limit=most,
                prefetch=max(self._knowledge.prefetch, most),
                rrf_k=self._knowledge.rrf_k,
            )
            for question, vector in zip(distinct, vectors, strict=True)
        }
        return [found[question] for question in questions]

    def chunks_for(self, evidence: Iterable[str]) -> list[Chunk]:
        """The chunks that evidence ids name, in order of the evidence, then of page; each once.

        Raises:
            StepladderError: an id names no chunk.
        """
        chosen: dict[str, Chunk] = {}
        for wanted in evidence:
            page = wanted.partition("#")[0]
            matches = [chunk for chunk in self._pages.get(page, []) if covers(wanted, chunk.id)]
            if not matches:
                raise StepladderError(
                    "the evidence names no part of the knowledge",
                    where=wanted,
                    remedy="write it as page, or page#heading/heading with headings in lowercase and"
                    " dashes for spaces",
                )
            chosen.update((chunk.id, chunk) for chunk in matches)
        return list(chosen.values())

    def count_tokens(self, text: str) -> int:
        """Tokens of the embedder in a text: what context budgets are counted in."""
        return self._embedder.count_tokens(text)

    @cached_property
    def _pages(self) -> dict[str, list[Chunk]]:
        pages: dict[str, list[Chunk]] = {}
        for chunk in self._index.chunks():
            pages.setdefault(chunk.page, []).append(chunk)
        return pages

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_retriever(folder: Path, knowledge: Knowledge, embedder: str | Embedder) -> Retriever:
    """Open the index that ``build_index`` wrote into ``folder``; the embedder loads at the first question.

    Args:
        embedder: a name as in ``params.yaml``, or one already loaded.

    Raises:
        StepladderError: there is no index, it was built with another embedder, or the store cannot
            be opened.
    """
    manifest = read_manifest(folder)
    model = load_embedder(embedder) if isinstance(embedder, str) else embedder
    if model.model_digest != manifest.embedder.digest:
        raise StepladderError(
            f"the index was built with another embedder ({manifest.embedder.name}) than {model.name}",
            where=str(folder / "manifest.json"),
            remedy=f"build the index again (`{build_again(manifest.task)}`), or put the embedder of"
            " models.embedder back",
        )
    return Retriever(_open(folder, knowledge, manifest), model, knowledge, manifest)


def _open(folder: Path, knowledge: Knowledge, manifest: Manifest) -> Index:
    if manifest.collection is None:
        return open_edge(folder / "edge")
    if knowledge.store == "edge":
        raise StepladderError(
            "the index lies on a Qdrant server, but no server is named",
            where=str(folder / "manifest.json"),
            remedy="set knowledge.store or QDRANT_URL to the server's URL, or build the index here:"
            f" `{build_again(manifest.task)}`",
        )
    return server.open_collection(server.connect(knowledge.store), manifest.collection, manifest.task)
