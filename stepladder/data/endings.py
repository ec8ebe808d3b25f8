"""What stands at the end of a text, after a blank line.

An instruction before a question must not hide the question: Alpaca's ``instruction`` and ``input`` become
one user turn, with a blank line between them. A turn of n paragraphs has n - 1 such endings, so they are
looked for without writing all of them out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from stepladder.data.duplicates import (
    EDGE,
    FEWEST_WORDS,
    WORDS_PER_SHINGLE,
    Pair,
    Shingle,
    index_rarest,
    jaccard,
    least_shared,
    shingles,
    shingles_of,
    words_of,
)

_BLANK_LINES = re.compile(r"\n\s*\n")


def endings(text: str, lengths: Collection[int] | None = None) -> Iterator[str]:
    """The normal forms of what follows each blank line, the longest first.

    Args:
        text: of any number of paragraphs.
        lengths: numbers of words that matter; other endings are left out. None: all matter.
    """
    folded = text.casefold().strip()
    words = folded.split()
    left = len(words)
    for paragraph in _BLANK_LINES.split(folded)[:-1]:
        left -= len(paragraph.split())
        if lengths is None or left in lengths:
            yield " ".join(words[len(words) - left :])


def near_endings(wanted: Sequence[str], texts: Sequence[str], threshold: float) -> Iterator[Pair]:
    """Pairs of a text of ``wanted`` (``i``) and one of ``texts`` (``j``) with an ending nearly like it.

    Exact: an ending so like a wanted text holds ``threshold`` of its shingles at least, so the endings of a
    text are looked at one by one only where together they hold as many. Of a pair the most similar ending
    counts.

    Args:
        wanted: whole texts.
        texts: those whose endings are compared.
        threshold: least Jaccard similarity, in (0, 1].
    """
    sets = [shingles(text) for text in wanted]
    frequency = Counter(shingle for item in sets for shingle in item)
    index = index_rarest(sets, frequency, threshold)
    for j, text in enumerate(texts):
        tails = _tails(text)
        reach = _reach(tails)
        candidates = {i for shingle in reach for i in index.get(shingle, ())}
        close = [i for i in sorted(candidates) if len(sets[i] & reach) >= least_shared(sets[i], threshold)]
        of_tails = [shingles_of(tail) for tail in tails] if close else []
        for i in close:
            similarity = max(jaccard(sets[i], tail) for tail in of_tails)
            if similarity >= threshold:
                yield Pair(i, j, similarity)


def _tails(text: str) -> list[tuple[str, ...]]:
    """The words of each ending that has any, the longest first."""
    paragraphs = _BLANK_LINES.split(text.casefold().strip())
    if len(paragraphs) == 1:
        return []
    words = words_of(text)
    tails = []
    start = 0
    for paragraph in paragraphs[:-1]:
        start += len(words_of(paragraph))
        tails.append(words[start:])
    return [tail for tail in tails if tail]


def _reach(tails: Sequence[tuple[str, ...]]) -> set[Shingle]:
    """The shingles of all endings: those of the longest, and of each other one what stands at its start."""
    reach: set[Shingle] = set()
    for number, tail in enumerate(tails):
        if number == 0 or len(tail) < FEWEST_WORDS:
            reach |= shingles_of(tail)
        else:
            start = (*EDGE, *tail[: len(EDGE)])
            reach.update(start[n : n + WORDS_PER_SHINGLE] for n in range(len(EDGE)))
    return reach
