"""What an index costs to keep does not depend on what a cache spared its last build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from stepladder.knowledge.embed import Vectors
from stepladder.knowledge.manifest import EmbedderRecord, Manifest, Parameters, Timings
from stepladder.knowledge.upkeep import Upkeep, mean_query_ms, upkeep_of


class CountingEmbedder:
    """Counts what it encodes."""

    name, digest, model_digest, dimension, max_tokens = "e", "d", "m", 2, 256

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, texts: Sequence[str], _progress: object = None) -> Vectors:
        self.encoded += len(texts)
        return np.zeros((len(texts), 2), dtype=np.float32)

    def count_tokens(self, text: str) -> int:
        return len(text)


def manifest(embedded: int, embed_s: float) -> Manifest:
    return Manifest(
        task="t",
        version="v",
        store="edge",
        pages=10,
        chunks=1000,
        embedder=EmbedderRecord(name="e", digest="m", dimension=2),
        parameters=Parameters(chunk_tokens=96, bm25_k1=1.2, bm25_b=0.75, average_terms=20),
        timings=Timings(embedded=embedded, embed_s=embed_s, index_s=2.0),
    )


def test_a_full_build_measures_itself(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    found = upkeep_of(manifest(1000, 10.0), embedder, ["x"], tmp_path / "rates.json", "2 cores")
    assert (found.chunks_per_s, found.rebuild_s, found.hardware) == (100, 12.0, "2 cores")
    assert embedder.encoded == 0


def test_a_build_from_the_cache_costs_as_much_to_keep_as_the_full_one_before_it(tmp_path: Path) -> None:
    embedder = CountingEmbedder()
    full = upkeep_of(manifest(1000, 10.0), embedder, ["x"], tmp_path / "rates.json", "2 cores")
    cached = upkeep_of(manifest(3, 0.5), embedder, ["x"], tmp_path / "rates.json", "2 cores")
    assert cached.rebuild_s == full.rebuild_s
    assert embedder.encoded == 0


def test_a_query_is_timed_alone_and_without_what_the_first_one_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = [0.0], []

    def retrieve(question: str) -> None:
        clock[0] += 0.004 if asked else 3.0  # the first one loads the embedder
        asked.append(question)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert mean_query_ms(retrieve, [f"question {i}" for i in range(80)]) == pytest.approx(4.0)
    assert len(asked) == 1 + 50
    assert mean_query_ms(retrieve, []) == 0


def test_an_upkeep_of_before_queries_were_timed_still_loads() -> None:
    old = {"chunks": 1, "chunks_per_s": 1.0, "index_s": 0.0, "hardware": "2 cores"}
    assert Upkeep.model_validate(old).query_ms == 0


@pytest.mark.parametrize("known_on", [None, "a GPU"])
def test_where_no_rate_is_known_here_it_is_measured_on_a_sample(tmp_path: Path, known_on: str | None) -> None:
    rates, embedder = tmp_path / "rates.json", CountingEmbedder()
    if known_on:
        upkeep_of(manifest(1000, 10.0), embedder, ["x"], rates, known_on)
    found = upkeep_of(manifest(0, 0.0), embedder, ["x"] * 500, rates, "2 cores")
    assert embedder.encoded == 1 + 64
    assert found.chunks_per_s > 0
