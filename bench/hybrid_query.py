"""Hybrid query time over 20,000 chunks in the embedded index: p50 and p95, and against dense search alone.

Dense vectors are random unit vectors and the texts are drawn from a Zipf vocabulary, so this measures
speed, not quality. The time is that of ``Index.search``: both searches, fusion, payload and parsing.

    python bench/hybrid_query.py [--chunks 20000] [--queries 200] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from stepladder.knowledge.chunk import Chunk
from stepladder.knowledge.edge import create_edge, open_edge
from stepladder.knowledge.index import IndexedChunk
from stepladder.knowledge.sparse import SparseVector, average_length, document_vector, query_vector

DIMENSION = 384


def main() -> None:
    options = _options()
    random = np.random.default_rng(0)
    texts = [_text(random, 50) for _ in range(options.chunks)]
    dense = random.standard_normal((options.chunks + options.queries, DIMENSION)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    average = average_length(texts)
    points = [
        IndexedChunk(
            Chunk(id=f"page-{i}#", page=f"page-{i}", heading=(), text=text),
            dense[i],
            document_vector(text, average),
        )
        for i, text in enumerate(texts)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "edge"
        started = time.perf_counter()
        index = create_edge(folder, DIMENSION)
        index.upsert(points)
        index.optimize()
        index.close()
        built = time.perf_counter() - started
        index = open_edge(folder)
        queries = [query_vector(_text(random, 12)) for _ in range(options.queries)]
        times: dict[str, list[float]] = {"hybrid": [], "dense only": []}
        for vector, words in zip(dense[options.chunks :], queries, strict=True):
            for name, sparse in (("hybrid", words), ("dense only", SparseVector([], []))):
                started = time.perf_counter()
                index.search(vector, sparse, limit=10, prefetch=50, rrf_k=2)
                times[name].append(1000 * (time.perf_counter() - started))
        index.close()
    result: dict[str, Any] = {"chunks": options.chunks, "build_s": round(built, 2)}
    for name, values in times.items():
        p50, p95 = np.percentile(values, [50, 95])
        result[name] = {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}
    result["ratio"] = round(result["hybrid"]["p50_ms"] / result["dense only"]["p50_ms"], 2)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.chunks} chunks, built in {built:.1f} s")
    for name in times:
        print(f"{name:<12} p50 {result[name]['p50_ms']:>7} ms   p95 {result[name]['p95_ms']:>7} ms")
    print(f"hybrid / dense only, p50: {result['ratio']}")


def _text(random: np.random.Generator, words: int) -> str:
    return " ".join(f"w{number}" for number in np.minimum(random.zipf(1.3, words), 30_000))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
