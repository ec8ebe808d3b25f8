"""Embedding speed: ``SentenceEmbedder.encode`` against ``SentenceTransformer.encode`` in fp32 as it comes.

The same chunks, in one run, the two taking turns so that a busy machine slows both; the best round of
each counts. Prints texts a second, the ratio, and how much of the exact top 10 is the same.

    python bench/embedding.py [--knowledge tasks/module-qa/knowledge] [--chunks 512] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepladder.knowledge.build import chunk_pages
from stepladder.knowledge.embed import load_embedder


def main() -> None:
    options = _options()
    embedder = load_embedder(options.embedder)
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(options.knowledge.glob("*.md"))}
    if not pages:
        raise SystemExit(f"no Markdown in {options.knowledge}: run `stepladder sample module-qa` first")
    every = [chunk.text for chunk in chunk_pages(pages, options.chunk_tokens, embedder)]
    texts = every[:: max(1, len(every) // options.chunks)][: options.chunks]

    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(embedder.folder), model_kwargs={"dtype": "float32"})
    runs: dict[str, Callable[[], Any]] = {
        "sentence-transformers fp32": lambda: plain.encode(texts, normalize_embeddings=True),
        f"stepladder {embedder.dtype}": lambda: embedder.encode(texts),
    }
    seconds = {name: float("inf") for name in runs}
    vectors: dict[str, NDArray[np.float32]] = {}
    for run in runs.values():  # warm up
        run()
    for _ in range(options.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            vectors[name] = np.asarray(run(), dtype=np.float32)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    theirs, ours = runs
    result = {
        "chunks": len(texts),
        "texts_per_s": {name: round(len(texts) / best, 1) for name, best in seconds.items()},
        "ratio": round(seconds[theirs] / seconds[ours], 2),
        "same_top_10": round(_overlap(vectors[theirs], vectors[ours]), 4),
    }
    _show(result, options.json)


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32], k: int = 10) -> float:
    """Share of each text's ``k`` nearest others that the two sets of vectors agree on."""
    tops = []
    for vectors in (a, b):
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -np.inf)
        tops.append(np.argsort(-likeness, axis=1)[:, :k])
    return float(np.mean([len(set(x) & set(y)) / k for x, y in zip(*tops, strict=True)]))


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for name, rate in result["texts_per_s"].items():
        print(f"{name:<30}{rate:>10} texts/s")
    print(f"{'ratio':<30}{result['ratio']:>10}")
    print(f"{'same top 10':<30}{result['same_top_10']:>10}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--knowledge", type=Path, default=Path("tasks/module-qa/knowledge"))
    parser.add_argument("--embedder", default="packaged:all-MiniLM-L6-v2")
    parser.add_argument("--chunk-tokens", type=int, default=96)
    parser.add_argument("--chunks", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
