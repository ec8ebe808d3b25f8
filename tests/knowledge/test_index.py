"""The contract of ``Index``, held by the embedded engine and by the client of a server alike.

The client's in-memory mode stands in for a server; where ``QDRANT_URL`` names one, it is asked too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from stepladder.errors import StepladderError
from stepladder.files import digest_folder
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.edge import create_edge, open_edge, seal_edge
from stepladder.knowledge.index import Index, IndexedChunk, Retrieved
from stepladder.knowledge.server import create_collection, open_collection, publish
from stepladder.knowledge.sparse import SparseVector, document_vector, query_vector
from tests.knowledge.conftest import Qdrant, running_qdrant

TEXTS = {
    "apt#": "apt installs debian packages",
    "apt#options/state": "state of the package on debian",
    "dnf#": "dnf installs fedora packages",
    "user#": "user manages accounts",
    "user#options/shell": "the login shell of the account",
}


def point(chunk_id: str, text: str) -> IndexedChunk:
    chunk = Chunk(id=chunk_id, page=chunk_id.partition("#")[0], heading=("Title",), text=text)
    return IndexedChunk(chunk, dense(text), document_vector(text, 5.0))


def dense(text: str) -> np.ndarray:
    """Letter counts, as a unit vector of 26."""
    counts = np.array([text.count(chr(97 + i)) for i in range(26)], dtype=np.float32)
    return counts / np.linalg.norm(counts)


def search(index: Index, question: str, limit: int = 3) -> list[Retrieved]:
    return index.search(dense(question), query_vector(question), limit=limit, prefetch=5, rrf_k=2)


@pytest.fixture(params=["edge", "memory", "server"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    with empty_index(request.param, tmp_path) as made:
        made.upsert([point(chunk_id, text) for chunk_id, text in TEXTS.items()])
        yield made


@contextmanager
def empty_index(store: str, folder: Path) -> Iterator[Index]:
    if store == "edge":
        with closing(create_edge(folder / "edge", 26)) as made:
            yield made
        return
    with running_qdrant(store) as qdrant, closing(create(qdrant, qdrant.name)) as made:
        yield made


def create(qdrant: Qdrant, collection: str) -> Index:
    return create_collection(qdrant.connect(), collection, 26)


def test_it_gives_back_whole_chunks(index: Index) -> None:
    assert index.count() == 5
    assert index.ids() == sorted(TEXTS)
    assert {chunk.id: chunk.text for chunk in index.chunks()} == TEXTS
    best = search(index, "login shell")[0].chunk
    assert best == point("user#options/shell", TEXTS["user#options/shell"]).chunk


def test_search_is_bounded_and_ordered(index: Index) -> None:
    found = search(index, "debian packages", limit=2)
    assert len(found) == 2
    assert found[0].score >= found[1].score
    assert found == search(index, "debian packages", limit=2)


def test_the_score_is_reciprocal_rank_fusion(index: Index) -> None:
    """First in both searches: 1 / k + 1 / k with ranks from zero and k = 2."""
    assert search(index, TEXTS["apt#"])[0].score == pytest.approx(1.0)


def test_upsert_replaces_and_delete_removes(index: Index) -> None:
    index.upsert([point("apt#", "apt removes things")])
    assert index.count() == 5
    assert {chunk.id: chunk.text for chunk in index.chunks()}["apt#"] == "apt removes things"
    index.delete(["apt#", "never-there#"])
    assert index.ids() == sorted(set(TEXTS) - {"apt#"})


def test_a_question_without_words_still_searches_by_meaning(index: Index) -> None:
    found = index.search(dense("debian"), SparseVector([], []), limit=5, prefetch=5, rrf_k=2)
    assert len(found) == 5


def test_both_stores_rank_alike(tmp_path: Path, qdrant: Qdrant) -> None:
    points = [point(chunk_id, text) for chunk_id, text in TEXTS.items()]
    edge = create_edge(tmp_path / "edge", 26)
    server = create(qdrant, qdrant.name)
    edge.upsert(points)
    server.upsert(points)
    for question in ("debian packages", "login shell of a user", "fedora", "nothing of the kind"):
        ours, theirs = search(edge, question, 5), search(server, question, 5)
        assert [hit.chunk.id for hit in ours] == [hit.chunk.id for hit in theirs]
        assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs])
    edge.close()
    server.close()


def test_edge_survives_closing_and_reading_leaves_its_files_alone(tmp_path: Path) -> None:
    folder = tmp_path / "edge"
    made = create_edge(folder, 26)
    made.upsert([point(chunk_id, text) for chunk_id, text in TEXTS.items()])
    before = search(made, "debian packages")
    made.close()
    seal_edge(folder)
    digest = digest_folder(folder)
    again = open_edge(folder)
    assert search(again, "debian packages") == before
    again.close()
    assert digest_folder(folder) == digest


def test_another_process_may_read_the_edge_index_at_the_same_time(tmp_path: Path) -> None:
    made = create_edge(tmp_path / "edge", 26)
    made.upsert([point("apt#", TEXTS["apt#"])])
    made.close()
    held = open_edge(tmp_path / "edge")
    script = (
        "import sys, pathlib; from stepladder.knowledge.edge import open_edge;"
        "print(open_edge(pathlib.Path(sys.argv[1])).ids())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "edge")], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == "['apt#']"
    held.close()


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="cannot open the index") as caught:
        open_edge(tmp_path / "nothing")
    assert "dvc repro" in caught.value.remedy
    with pytest.raises(StepladderError, match="no such collection") as caught:
        open_collection(QdrantClient(":memory:"), "nothing", "demo")
    assert "`dvc repro --force --single-item index@demo`" in caught.value.remedy


def test_edge_refuses_a_folder_in_use(tmp_path: Path) -> None:
    create_edge(tmp_path / "edge", 26).close()
    with pytest.raises(StepladderError, match="cannot create the index"):
        create_edge(tmp_path / "edge", 26)


def test_publish_switches_the_alias_to_a_new_version(qdrant: Qdrant) -> None:
    client, task = qdrant.connect(), qdrant.name
    create(qdrant, f"{task}-1").upsert([point("apt#", TEXTS["apt#"])])
    create(qdrant, f"{task}-2").upsert([point("dnf#", TEXTS["dnf#"])])
    publish(client, task, f"{task}-1")
    assert open_collection(client, task).ids() == ["apt#"]
    publish(client, task, f"{task}-2")
    assert open_collection(client, task).ids() == ["dnf#"]


def test_an_unreachable_server_says_so() -> None:
    client = QdrantClient(url="http://127.0.0.1:9", check_compatibility=False, timeout=2)
    with pytest.raises(StepladderError, match="Qdrant server") as caught:
        open_collection(client, "task")
    assert "QDRANT_URL" in caught.value.remedy
