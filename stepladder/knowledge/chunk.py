"""Structure-aware chunks of Markdown: one section or less each, headed by its heading path.

Ids follow the headings: ``page#options/state`` is the section "state" under "Options" of a page; the
page's title (H1) is left out, so text before any heading or right under the title is ``page#``.
Later parts of a section that is cut, and later sections of the same name, are ``...~2``, ``...~3``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from stepladder.data.headings import sections
from stepladder.data.markdown import parse
from stepladder.knowledge.split import pack
from stepladder.tasks import Strict


class Chunk(Strict):
    """A piece of a page. ``text`` is the heading path on one line, then the body."""

    id: str
    page: str
    heading: tuple[str, ...]
    text: str


def chunk_page(page: str, markdown: str, limit: int, count_tokens: Callable[[str], int]) -> list[Chunk]:
    """Cut a page at its headings, and long sections at blocks, sentences, words, at last anywhere.

    A fenced code block, table row or list item that fits in a chunk is never cut. A fence cut in two
    keeps its markers in both parts; a cut table repeats its header where there is room.

    Args:
        page: the page's id.
        markdown: CommonMark with tables.
        limit: most tokens of a chunk's text.
        count_tokens: tokens in a text, without special tokens.

    Returns:
        Chunks in page order, with ids unique in the page; none for a page without text.
    """
    count = lru_cache(maxsize=4096)(count_tokens)
    used: dict[str, int] = {}
    chunks = []
    for section in sections(parse(markdown)):
        heading = tuple(h.text for h in section.path)
        title = _fit_title(heading, limit // 2, count)
        prefix = f"{title}\n" if title else ""

        def fits(body: str, prefix: str = prefix) -> bool:
            return count(prefix + body) <= limit

        base = f"{page}#{section.name}"
        for body in pack(section.blocks, fits) or [""]:
            used[base] = used.get(base, 0) + 1
            part = f"~{used[base]}" if used[base] > 1 else ""
            text = f"{prefix}{body}" if body else title
            chunks.append(Chunk(id=base + part, page=page, heading=heading, text=text))
    return chunks


def covers(evidence_id: str, chunk_id: str) -> bool:
    """Whether a chunk lies in what an evidence id names.

    ``page`` names all of a page; ``page#a/b`` the section, its parts and the sections below it.
    """
    page, mark, _ = evidence_id.partition("#")
    if not mark:
        return chunk_id.partition("#")[0] == page
    whole = re.sub(r"~\d+$", "", chunk_id)
    return evidence_id in (chunk_id, whole) or whole.startswith(f"{evidence_id}/")


def _fit_title(heading: tuple[str, ...], limit: int, count: Callable[[str], int]) -> str:
    """The heading path on one line; where too long, without its first headings, then cut at words."""
    names = [name for name in heading if name]
    while len(names) > 1 and count(" > ".join(names)) > limit:
        names = names[1:]
    title = " > ".join(names)
    while title and count(title) > limit:
        title = title.rpartition(" ")[0] if " " in title else title[: len(title) // 2]
    return title
