"""A Markdown page as a flat list of headings and blocks, each with its source text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

Kind = Literal["text", "list", "fence", "table"]
_KINDS: dict[str, Kind] = {
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "fence": "fence",
    "table_open": "table",
}


@dataclass(frozen=True)
class Heading:
    """A heading's level (1 to 6) and plain text."""

    level: int
    text: str


@dataclass(frozen=True)
class Block:
    """A top-level block's source. ``items`` are a list's items; empty for other kinds."""

    kind: Kind
    text: str
    items: tuple[str, ...] = ()


def parse(markdown: str) -> list[Heading | Block]:
    """Headings and blocks in page order. Every line of the source stands in exactly one of them.

    A block reaches to the start of the next one: so link definitions, of which the parser makes no
    token, stay with the block before them.
    """
    parser = MarkdownIt("commonmark").enable("table")
    links: dict[str, Any] = {}
    # Inline parsing is most of the time, and only the headings' text is wanted.
    tokens = parser.disable("inline").parse(markdown, links)
    parser.enable("inline")
    lines = markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    tops = [i for i, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0 and token.map]
    starts = [_lines_of(tokens[i])[0] for i in tops] + [len(lines)]
    parts: list[Heading | Block] = []
    parts += _block("text", lines[: starts[0]])
    for number, i in enumerate(tops):
        first, last = _lines_of(tokens[i])
        until = starts[number + 1]
        if tokens[i].type == "heading_open":
            parts.append(Heading(int(tokens[i].tag[1:]), _plain(parser, tokens[i + 1], links)))
            parts += _block("text", lines[last:until])
            continue
        kind = _KINDS.get(tokens[i].type, "text")
        if kind in ("fence", "table"):
            parts += _block(kind, lines[first:last])
            parts += _block("text", lines[last:until])
        else:
            items = _items(tokens, i, lines, until) if kind == "list" else ()
            parts += _block(kind, lines[first:until], items)
    return parts


def _block(kind: Kind, lines: Sequence[str], items: tuple[str, ...] = ()) -> list[Block]:
    text = "\n".join(lines).strip("\n").rstrip()
    return [Block(kind, text, items)] if text.strip() else []


def _items(tokens: list[Token], opening: int, lines: list[str], until: int) -> tuple[str, ...]:
    starts = []
    for token in tokens[opening + 1 :]:
        if token.level == 0:
            break
        if token.level == 1 and token.type == "list_item_open":
            starts.append(_lines_of(token)[0])
    ends = [*starts[1:], until]
    return tuple("\n".join(lines[a:b]).rstrip() for a, b in zip(starts, ends, strict=True))


def _lines_of(token: Token) -> tuple[int, int]:
    assert token.map is not None  # callers choose tokens that have lines
    return token.map[0], token.map[1]


def _plain(parser: MarkdownIt, inline: Token, links: dict[str, Any]) -> str:
    """The text of a heading without its markup."""
    children = parser.parseInline(inline.content, links)[0].children or []
    breaks = ("softbreak", "hardbreak")
    return " ".join("".join(" " if one.type in breaks else one.content for one in children).split())
