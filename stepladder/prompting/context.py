"""Retrieved chunks cut to what the context budget allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepladder.knowledge.chunk import Chunk


def fit_context(chunks: Sequence[Chunk], budget: int, count_tokens: Callable[[str], int]) -> list[Chunk]:
    """The best chunks whose texts together stay within ``budget`` tokens; always at least the first."""
    kept: list[Chunk] = []
    used = 0
    for chunk in chunks:
        used += count_tokens(chunk.text)
        if kept and used > budget:
            break
        kept.append(chunk)
    return kept
