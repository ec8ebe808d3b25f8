"""The ids of a Markdown page's sections: what a case's evidence, ``page#heading/heading``, points at.

They follow the ids that ``stepladder.knowledge.chunk`` gives to chunks, which stands above this package
and cannot be used here; ``tests/data/test_headings.py`` holds the two together.
"""

from __future__ import annotations

import re
from itertools import pairwise


def slug(heading: str) -> str:
    """A heading as a part of an id: lowercase, each run of other than ``[a-z0-9_]`` one ``-``."""
    return re.sub(r"[^a-z0-9_]+", "-", heading.lower()).strip("-") or "section"


def section_ids(page: str, markdown: str) -> set[str]:
    """The ids that evidence may name in a page: the page, ``page#`` (its start), and each section.

    The page's title (a heading of level 1) is left out of the path; sections without text of their own
    count, for evidence names all that stands below them.
    """
    ids = {page, f"{page}#"}
    path: list[tuple[int, str]] = []
    for level, heading in _headings(markdown):
        path = [(above, name) for above, name in path if above < level]
        path.append((level, slug(heading)))
        ids.add(f"{page}#" + "/".join(name for depth, name in path if depth > 1))
    return ids


def without_part(evidence: str) -> str:
    """An id without the ``~2`` of a section's later parts: how a section is cut is not the task's affair."""
    return re.sub(r"~\d+$", "", evidence)


def _headings(markdown: str) -> list[tuple[int, str]]:
    """(level, plain text) of the headings that stand in no list or quotation."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    # Inline parsing is most of the time, and only the headings' text is wanted.
    tokens = parser.disable("inline").parse(markdown)
    parser.enable("inline")
    found = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.level == 0:
            children = parser.parseInline(inline.content)[0].children or []
            breaks = ("softbreak", "hardbreak")
            text = "".join(" " if child.type in breaks else child.content for child in children)
            found.append((int(opening.tag[1:]), " ".join(text.split())))
    return found
