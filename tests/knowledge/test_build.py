"""Building an index, and asking it: what is embedded, what the manifest holds, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.files import digest_value, read_json, writing
from stepladder.knowledge import server
from stepladder.knowledge.build import build_index, index_version, publish_index
from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.manifest import Manifest, Parameters, read_manifest
from stepladder.knowledge.retrieve import open_retriever
from stepladder.settings import Knowledge
from tests.knowledge.conftest import Qdrant, WordEmbedder

PAGES = {
    "apt": "# apt\n\nInstalls debian packages.\n\n## Options\n\n### state\n\nWhether the package is there.",
    "dnf": "# dnf\n\nInstalls fedora packages.",
    "user": "# user\n\nManages accounts.\n\n## Options\n\n### shell\n\nThe login shell of the account.",
}
KNOWLEDGE = Knowledge(chunk_tokens=32, top_k=2)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache.db") as opened:
        yield opened


def build(
    folder: Path,
    embedder: WordEmbedder,
    cache: Cache,
    pages: dict[str, str] = PAGES,
    knowledge: Knowledge = KNOWLEDGE,
    task: str = "demo",
) -> Manifest:
    with writing(folder) as draft:
        return build_index(pages, knowledge, embedder, draft, cache, task)


def test_build_then_ask(tmp_path: Path, embedder: WordEmbedder, cache: Cache) -> None:
    manifest = build(tmp_path / "index", embedder, cache)

    assert (manifest.pages, manifest.chunks, manifest.timings.embedded) == (3, 5, 5)
    assert read_manifest(tmp_path / "index") == manifest
    with open_retriever(tmp_path / "index", KNOWLEDGE, embedder) as retriever:
        found = retriever.retrieve("which login shell")
        assert [len(found), found[0].chunk.id] == [2, "user#options/shell"]
        assert retriever.version == manifest.version
        assert len(retriever.retrieve("packages", limit=5)) == 5


def test_only_changed_chunks_are_embedded(tmp_path: Path, embedder: WordEmbedder, cache: Cache) -> None:
    first = build(tmp_path / "index", embedder, cache)
    embedder.embedded.clear()
    changed = {**PAGES, "dnf": "# dnf\n\nInstalls packages on fedora and its kin."}

    second = build(tmp_path / "index", embedder, cache, changed)

    assert embedder.embedded == ["dnf\nInstalls packages on fedora and its kin."]
    assert second.timings.embedded == 1
    assert second.version != first.version


def test_the_same_content_gives_the_same_manifest_but_for_timings(
    tmp_path: Path, embedder: WordEmbedder, cache: Cache
) -> None:
    build(tmp_path / "a", embedder, cache)
    build(tmp_path / "b", embedder, cache)
    one, two = (read_json(tmp_path / name / "manifest.json") for name in "ab")
    assert one.pop("timings")["embedded"] == 5
    assert two.pop("timings")["embedded"] == 0
    assert one == two


def test_only_texts_that_had_other_terms_once_have_another_version() -> None:
    parameters = Parameters(chunk_tokens=32, bm25_k1=1.2, bm25_b=0.75, average_terms=1)

    def version(text: str) -> tuple[str, str]:
        chunk = Chunk(id="a#", page="a", heading=(), text=text)
        before = {"chunks": [["a#", text]], "embedder": "e", "parameters": parameters.model_dump(mode="json")}
        return index_version([chunk], "e", parameters), digest_value(before)

    now, before = version("size")
    assert now == before
    now, before = version("Größe")
    assert now != before


def test_many_questions_come_back_in_order_and_are_embedded_once(
    tmp_path: Path, embedder: WordEmbedder, cache: Cache
) -> None:
    build(tmp_path / "index", embedder, cache)
    embedder.embedded.clear()
    with open_retriever(tmp_path / "index", KNOWLEDGE, embedder) as retriever:
        found = retriever.retrieve_many(["fedora", "accounts", "fedora"])
        assert [hits[0].chunk.page for hits in found] == ["dnf", "user", "dnf"]
        assert retriever.retrieve("accounts") == found[1]
    assert embedder.embedded[:2] == ["fedora", "accounts"]


def test_gold_chunks_of_evidence(tmp_path: Path, embedder: WordEmbedder, cache: Cache) -> None:
    build(tmp_path / "index", embedder, cache)
    with open_retriever(tmp_path / "index", KNOWLEDGE, embedder) as retriever:
        ids = [chunk.id for chunk in retriever.chunks_for(["user", "apt#options/state"])]
        assert ids == ["user#", "user#options/shell", "apt#options/state"]
        with pytest.raises(StepladderError, match="names no part of the knowledge") as caught:
            retriever.chunks_for(["apt#options/nothing"])
        assert caught.value.where == "apt#options/nothing"


def test_another_embedder_is_refused(tmp_path: Path, embedder: WordEmbedder, cache: Cache) -> None:
    build(tmp_path / "index", embedder, cache)
    embedder.model_digest = "other"
    with pytest.raises(StepladderError, match="another embedder") as caught:
        open_retriever(tmp_path / "index", KNOWLEDGE, embedder)
    assert "`dvc repro --force --single-item index@demo`" in caught.value.remedy


def test_chunks_longer_than_the_embedder_reads_are_refused(
    tmp_path: Path, embedder: WordEmbedder, cache: Cache
) -> None:
    with pytest.raises(StepladderError, match="longer than the embedder reads"):
        build(tmp_path / "index", embedder, cache, knowledge=Knowledge(chunk_tokens=500))
    assert not (tmp_path / "index").exists()


def test_pages_without_text_are_refused(tmp_path: Path, embedder: WordEmbedder, cache: Cache) -> None:
    with pytest.raises(StepladderError, match="holds no text"):
        build(tmp_path / "index", embedder, cache, {"empty": "\n"})


def test_a_missing_or_wrong_manifest_is_named(tmp_path: Path, embedder: WordEmbedder) -> None:
    with pytest.raises(StepladderError, match="file not found"):
        open_retriever(tmp_path, KNOWLEDGE, embedder)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(StepladderError, match="not a manifest"):
        open_retriever(tmp_path, KNOWLEDGE, embedder)


REMOTE = KNOWLEDGE.model_copy(update={"store": "http://qdrant.test:6333"})
STORES = pytest.mark.parametrize(
    ("qdrant", "knowledge"),
    [("memory", KNOWLEDGE), ("memory", REMOTE), ("server", REMOTE)],
    indirect=["qdrant"],
    ids=["edge", "memory", "server"],
)


@pytest.fixture
def task(qdrant: Qdrant, monkeypatch: pytest.MonkeyPatch) -> str:
    """A task that the server of ``REMOTE`` has nothing of yet."""
    monkeypatch.setattr(server, "connect", lambda _: qdrant.connect())
    return qdrant.name


def test_a_server_gets_a_collection_a_version(
    tmp_path: Path, embedder: WordEmbedder, cache: Cache, task: str
) -> None:
    manifest = build(tmp_path / "index", embedder, cache, knowledge=REMOTE, task=task)

    assert manifest.collection == f"{task}-{manifest.version[:12]}"
    assert not (tmp_path / "index" / "edge").exists()
    with open_retriever(tmp_path / "index", REMOTE, embedder) as retriever:
        assert retriever.retrieve("which login shell")[0].chunk.id == "user#options/shell"
    with pytest.raises(StepladderError, match="no server is named"):
        open_retriever(tmp_path / "index", KNOWLEDGE, embedder)


@STORES
def test_a_version_stays_what_it_is_when_a_new_one_is_built_beside_it(
    tmp_path: Path, embedder: WordEmbedder, cache: Cache, task: str, knowledge: Knowledge
) -> None:
    index, frozen = tmp_path / "index", tmp_path / "release"
    first = build(index, embedder, cache, knowledge=knowledge, task=task)
    shutil.copytree(index, frozen)
    changed = {**PAGES, "user": "# user\n\nManages people."}
    with open_retriever(index, knowledge, embedder) as reading:
        before = reading.retrieve("which login shell")
        second = build(index, embedder, cache, changed, knowledge, task)
        assert second.version != first.version
        assert reading.retrieve("which login shell") == before
    with open_retriever(index, knowledge, embedder) as retriever:
        assert retriever.version == second.version
        assert "user#options/shell" not in [hit.chunk.id for hit in retriever.retrieve("shell", limit=9)]
    with open_retriever(frozen, knowledge, embedder) as retriever:
        assert retriever.version == first.version
        assert retriever.retrieve("which login shell") == before


def test_a_version_that_the_server_has_is_not_written_again(
    tmp_path: Path,
    embedder: WordEmbedder,
    cache: Cache,
    task: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = build(tmp_path / "index", embedder, cache, knowledge=REMOTE, task=task)
    for change in ("upsert", "delete_collection", "create_collection"):
        monkeypatch.delattr(QdrantClient, change)
    again = build(tmp_path / "again", embedder, cache, knowledge=REMOTE, task=task)
    assert again.collection == first.collection


def test_a_collection_that_a_killed_build_left_is_filled_up(
    tmp_path: Path, embedder: WordEmbedder, cache: Cache, qdrant: Qdrant, task: str
) -> None:
    manifest = build(tmp_path / "index", embedder, cache, knowledge=REMOTE, task=task)
    assert manifest.collection
    collection = server.open_collection(qdrant.connect(), manifest.collection)
    whole = collection.ids()
    collection.delete(whole[:3])
    build(tmp_path / "index", embedder, cache, knowledge=REMOTE, task=task)
    assert collection.ids() == whole


@STORES
def test_the_alias_names_what_was_published_last(
    tmp_path: Path, embedder: WordEmbedder, cache: Cache, qdrant: Qdrant, task: str, knowledge: Knowledge
) -> None:
    client = qdrant.connect()

    def named() -> list[str]:
        aliases = client.get_aliases().aliases
        return [alias.collection_name for alias in aliases if alias.alias_name == task]

    first = build(tmp_path / "index", embedder, cache, knowledge=knowledge, task=task)
    publish_index(first, knowledge.store)
    second = build(tmp_path / "index", embedder, cache, {"dnf": PAGES["dnf"]}, knowledge, task)
    assert named() == ([first.collection] if first.collection else [])
    publish_index(second, knowledge.store)
    assert named() == ([second.collection] if second.collection else [])
    if knowledge is REMOTE:
        assert server.open_collection(client, task).ids() == ["dnf#"]


@pytest.mark.parametrize("url", ["foo://x:1", "http://x:notaport"])
def test_an_address_that_is_no_server_is_named(url: str) -> None:
    with pytest.raises(StepladderError, match="Qdrant server") as caught:
        server.connect(url)
    assert caught.value.where == url
    assert "knowledge.store" in caught.value.remedy
