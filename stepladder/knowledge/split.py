"""Blocks of text packed into as few pieces as fit, cut where it hurts least."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from stepladder.data.markdown import Block

Fits = Callable[[str], bool]

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+(?=\S)")
_SPACE = re.compile(r"\s+")


def pack(blocks: Sequence[Block], fits: Fits) -> list[str]:
    """Join blocks into pieces for which ``fits`` holds; a block that does not fit is cut.

    ``fits`` must hold for every single character; nothing but white space is dropped, and only
    fence markers and table headers are repeated.
    """
    return _join((piece for block in blocks for piece in _cut(block, fits)), "\n\n", fits)


def _cut(block: Block, fits: Fits) -> list[str]:
    if fits(block.text):
        return [block.text]
    if block.kind == "fence":
        return _cut_fence(block.text, fits)
    if block.kind == "table":
        return _cut_table(block.text, fits)
    if block.kind == "list":
        pieces = (
            piece for item in block.items for piece in ([item] if fits(item) else _cut_text(item, fits))
        )
        return _join(pieces, "\n", fits)
    return _cut_text(block.text, fits)


def _cut_fence(text: str, fits: Fits) -> list[str]:
    opening, *lines = text.split("\n")
    mark = opening.strip()[0]
    closing = lines.pop() if lines and set(lines[-1].strip()) == {mark} else mark * 3

    def wrap(code: str) -> str:
        return f"{opening}\n{code}\n{closing}"

    if not fits(wrap("x")):  # no room for the markers
        return _cut_text(text, fits)
    return [
        wrap(code) for code in _join(_atoms(lines, lambda c: fits(wrap(c))), "\n", lambda c: fits(wrap(c)))
    ]


def _cut_table(text: str, fits: Fits) -> list[str]:
    rows = text.split("\n")
    head = "\n".join(rows[:2])

    def with_head(body: str) -> str:
        return f"{head}\n{body}"

    # Without room for the header beside every row, the header stands in the first piece only.
    # A table of a header alone is cut like any text.
    if rows[2:] and all(fits(with_head(row)) for row in rows[2:]):
        return [with_head(body) for body in _join(rows[2:], "\n", lambda body: fits(with_head(body)))]
    return _join(_atoms(rows, fits), "\n", fits)


def _cut_text(text: str, fits: Fits) -> list[str]:
    """Sentences, packed; a sentence that is too long is cut at words."""
    return _join(_atoms(_SENTENCE_END.split(text), fits), " ", fits)


def _atoms(pieces: Iterable[str], fits: Fits) -> Iterator[str]:
    """The pieces, each that does not fit cut at words, and a word too long cut anywhere."""
    for piece in pieces:
        if fits(piece):
            yield piece
            continue
        words = (part for word in _SPACE.split(piece.strip()) for part in _cut_word(word, fits))
        yield from _join(words, " ", fits)


def _cut_word(word: str, fits: Fits) -> Iterator[str]:
    while word:
        length = len(word)
        while length > 1 and not fits(word[:length]):
            length = max(1, length * 3 // 4)
        yield word[:length]
        word = word[length:]


def _join(pieces: Iterable[str], glue: str, fits: Fits) -> list[str]:
    """Pieces joined greedily, in order, while the whole fits."""
    joined: list[str] = []
    for piece in pieces:
        if joined and fits(joined[-1] + glue + piece):
            joined[-1] += glue + piece
        else:
            joined.append(piece)
    return joined
