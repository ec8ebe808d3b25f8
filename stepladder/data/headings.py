"""A Markdown page's sections and their ids, at which a case's evidence, ``page#heading/heading``, points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stepladder.data.markdown import Block, Heading, parse
from stepladder.slugs import slug


@dataclass(frozen=True)
class Section:
    """The headings that a section stands under, its own the last, and its blocks."""

    path: tuple[Heading, ...]
    blocks: list[Block]

    @property
    def name(self) -> str:
        """Its id within the page: the headings, but not the page's title (level 1), as slugs."""
        return "/".join(slug(heading.text) for heading in self.path if heading.level > 1)


def sections(parts: Iterable[Heading | Block]) -> Iterator[Section]:
    """Sections in order; one without text of its own only where nothing stands below it."""
    section = Section((), [])
    for part in parts:
        if isinstance(part, Block):
            section.blocks.append(part)
            continue
        above = tuple(heading for heading in section.path if heading.level < part.level)
        # A heading above deeper ones lives on in their paths.
        if section.blocks or (section.path and above != section.path):
            yield section
        section = Section((*above, part), [])
    if section.blocks or section.path:
        yield section


def section_ids(page: str, markdown: str) -> set[str]:
    """The ids that evidence may name in a page: the page, and each section that has text or one below it.

    ``page#``, the start, counts only where text stands before the first section; an empty page has none.
    """
    ids: set[str] = set()
    for section in sections(parse(markdown)):
        ids |= {page, f"{page}#{section.name}"}
        names = section.name.split("/")
        ids |= {f"{page}#{'/'.join(names[:depth])}" for depth in range(1, len(names))}
    return ids
