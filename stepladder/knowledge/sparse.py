"""BM25 as sparse vectors: the document side here, the inverse document frequency in the index.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009). The score of a
document is the dot product of its vector with the query's, each term weighted by the index's IDF
modifier.

Terms are words of any script. Han, Hiragana and Katakana, which have no spaces, give a term a letter; of
Thai and others like it a run without a space is one term, and what is meant within it only dense search
finds.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import regex

K1 = 1.2
B = 0.75

_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}]"
# With the marks of letters, which \w may leave out.
_WORD = regex.compile(rf"(?V1){_UNSPACED}|[\w\p{{M}}--{_UNSPACED}]+")


@dataclass(frozen=True)
class SparseVector:
    """Term ids (32-bit, ascending, unique) and their weights."""

    indices: list[int]
    values: list[float]


def terms(text: str) -> list[str]:
    """Words and numbers, case folded; a name with underscores gives its parts and the whole name."""
    found: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        parts = [part for part in word.split("_") if part]
        found += parts
        if len(parts) > 1:
            found.append("_".join(parts))
    return found


def average_length(texts: Iterable[str]) -> float:
    """Mean number of terms in a text, at least 1."""
    lengths = [len(terms(text)) for text in texts]
    return max(1.0, sum(lengths) / max(1, len(lengths)))


def document_vector(text: str, average: float) -> SparseVector:
    """Weights tf (k1 + 1) / (tf + k1 (1 - b + b L / average)), with L the number of terms."""
    counts = Counter(terms(text))
    length_norm = K1 * (1 - B + B * counts.total() / average)
    return _vector({term: tf * (K1 + 1) / (tf + length_norm) for term, tf in counts.items()})


def query_vector(text: str) -> SparseVector:
    """Weight 1 for every distinct term."""
    return _vector(dict.fromkeys(terms(text), 1.0))


def _vector(weights: dict[str, float]) -> SparseVector:
    """Terms hashed to ids (CRC-32, stable everywhere); of two terms with one id the heavier counts."""
    hashed: dict[int, float] = {}
    for term, weight in weights.items():
        index = zlib.crc32(term.encode())
        hashed[index] = max(weight, hashed.get(index, 0.0))
    indices = sorted(hashed)
    return SparseVector(indices, [hashed[index] for index in indices])
