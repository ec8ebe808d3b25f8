"""A deterministic embedder that needs no model: likeness by shared words."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest


@dataclass
class WordEmbedder:
    """Unit vectors of hashed words; counts how many texts it embedded."""

    name: str = "words"
    digest: str = "words-float32"
    model_digest: str = "words"
    dimension: int = 32
    max_tokens: int = 128
    embedded: list[str] = field(default_factory=list)

    def encode(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        self.embedded += texts
        vectors = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.strip(".,").encode()) % self.dimension] += 1
        if progress:
            progress(len(texts), len(texts))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        return len(text.split())


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()
