"""Exact and near-duplicate texts.

Two texts are exact duplicates when they are equal but for case and white space, and near-duplicates when
the Jaccard similarity of their sets of word 5-grams reaches a threshold (Broder, "On the resemblance and
containment of documents", 1997). The search is a prefix-filter join (Chaudhuri et al., "A primitive
operator for similarity joins in data cleaning", 2006): if two sets of sizes |a| <= |b| have similarity
>= t, then they share one of the |a| - ceil(t |a|) + 1 globally rarest shingles of a, and likewise of b. So
an inverted index over these few rare shingles finds every pair. Unlike MinHash LSH it misses none, needs no
tuning, and is fast here because at t = .9 a prefix is a tenth of the text.

Each end of a text is padded, so that its first and last words stand in as many shingles as the others:
templated questions often differ in the last word alone ("... of module X?") and ask different things.
One word replaced changes 5 of the n + 4 shingles of n words: at .9 it goes unseen from 91 words on.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

WORDS_PER_SHINGLE = 5

# With fewer words a text has too few shingles to be nearly like another: only equal words count.
FEWEST_WORDS = 10

_WORD = re.compile(r"\w+")
Shingle = tuple[str, ...]
EDGE = ("",) * (WORDS_PER_SHINGLE - 1)


class Pair(NamedTuple):
    """Positions of two similar texts, and their Jaccard similarity in (0, 1]."""

    i: int
    j: int
    similarity: float


def normal_form(text: str) -> str:
    """Case folded, and each run of white space one space: equal for exact duplicates."""
    return " ".join(text.casefold().split())


def shingles(text: str) -> frozenset[Shingle]:
    """The set that stands for a text: its word 5-grams, or for a short text all its words as one."""
    return shingles_of(words_of(text) or (normal_form(text),))


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, case folded."""
    return tuple(_WORD.findall(text.casefold()))


def shingles_of(words: tuple[str, ...]) -> frozenset[Shingle]:
    """The set that stands for a text of these words."""
    if len(words) < FEWEST_WORDS:
        return frozenset([words])
    padded = (*EDGE, *words, *EDGE)
    starts = len(padded) - WORDS_PER_SHINGLE + 1
    return frozenset(padded[start : start + WORDS_PER_SHINGLE] for start in range(starts))


def jaccard(a: frozenset[Shingle], b: frozenset[Shingle]) -> float:
    """Share of the shingles of either text that both have, in [0, 1]."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def near_duplicates(texts_a: Sequence[str], texts_b: Sequence[str] | None, threshold: float) -> list[Pair]:
    """All pairs of texts whose similarity is at least ``threshold``, in order of (i, j).

    Args:
        texts_a: texts that ``i`` counts.
        texts_b: texts that ``j`` counts; None joins ``texts_a`` with itself, and gives i < j only.
        threshold: least Jaccard similarity, in (0, 1].
    """
    sets_a = [shingles(text) for text in texts_a]
    sets_b = sets_a if texts_b is None else [shingles(text) for text in texts_b]
    frequency = Counter(shingle for item in sets_a for shingle in item)
    if texts_b is not None:
        frequency.update(shingle for item in sets_b for shingle in item)
    index = index_rarest(sets_b, frequency, threshold)
    pairs = []
    for i, a in enumerate(sets_a):
        candidates = {j for shingle in rarest(a, frequency, threshold) for j in index.get(shingle, ())}
        for j in sorted(candidates):
            if texts_b is None and j <= i:
                continue
            similarity = jaccard(a, sets_b[j])
            if similarity >= threshold:
                pairs.append(Pair(i, j, similarity))
    return pairs


def index_rarest(
    sets: list[frozenset[Shingle]], frequency: Counter[Shingle], threshold: float
) -> dict[Shingle, list[int]]:
    """Positions of the sets by their rarest shingles: sets that are similar enough meet in one at least."""
    index: dict[Shingle, list[int]] = defaultdict(list)
    for position, item in enumerate(sets):
        for shingle in rarest(item, frequency, threshold):
            index[shingle].append(position)
    return index


def rarest(item: frozenset[Shingle], frequency: Counter[Shingle], threshold: float) -> list[Shingle]:
    """The rarest shingles, of which one is shared by every set that is similar enough."""
    ordered = sorted(item, key=lambda shingle: (frequency[shingle], shingle))
    return ordered[: len(item) - least_shared(item, threshold) + 1]


def least_shared(item: frozenset[Shingle], threshold: float) -> int:
    """How many of its shingles a set must share with one that is similar enough."""
    return math.ceil(threshold * len(item) - 1e-9)
