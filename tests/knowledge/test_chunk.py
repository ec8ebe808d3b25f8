"""The chunker: ids and paths on a written page, and the rules for every page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.knowledge.chunk import chunk_page, covers

PAGE = """Before any heading.

# apt: packages

Manages packages.

## Options

### state

Whether it is there.

### update_cache

Run `apt-get update` first.

## Examples

```yaml
- apt:
    name: foo
```

## Examples

Again.
"""


def words(text: str) -> int:
    """A token counter: words and punctuation marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def test_a_page_gives_a_chunk_a_section_with_its_heading_path() -> None:
    chunks = chunk_page("apt", PAGE, 60, words)

    assert [chunk.id for chunk in chunks] == [
        "apt#",
        "apt#~2",
        "apt#options/state",
        "apt#options/update_cache",
        "apt#examples",
        "apt#examples~2",
    ]
    assert chunks[0].text == "Before any heading."
    state = chunks[2]
    assert state.heading == ("apt: packages", "Options", "state")
    assert state.text == "apt: packages > Options > state\nWhether it is there."


def test_a_long_section_is_cut_between_sentences() -> None:
    body = "One two three four. Five six seven eight. Nine ten eleven twelve."
    chunks = chunk_page("p", f"# T\n\n{body}", 11, words)
    assert [chunk.text for chunk in chunks] == [
        "T\nOne two three four. Five six seven eight.",
        "T\nNine ten eleven twelve.",
    ]
    assert [chunk.id for chunk in chunks] == ["p#", "p#~2"]


def test_a_fence_that_fits_is_not_cut_and_one_that_does_not_keeps_its_markers() -> None:
    code = "```\na b c\n\nd e f\n```"
    chunks = chunk_page("p", f"one two three four five six seven eight nine\n\n{code}", 14, words)
    assert [chunk.text for chunk in chunks] == ["one two three four five six seven eight nine", code]

    long = "```py\n" + "\n".join(f"x{i} = {i}" for i in range(12)) + "\n```"
    parts = [chunk.text for chunk in chunk_page("p", long, 20, words)]
    assert len(parts) > 1
    assert all(part.startswith("```py\n") and part.endswith("\n```") for part in parts)
    assert re.findall(r"x\d+ = \d+", "\n".join(parts)) == re.findall(r"x\d+ = \d+", long)


def test_a_cut_table_repeats_its_header_and_keeps_rows_whole() -> None:
    rows = [f"| name{i} | {i} |" for i in range(8)]
    chunks = chunk_page("p", "| n | v |\n|---|---|\n" + "\n".join(rows), 30, words)
    assert len(chunks) > 1
    lines = [chunk.text.split("\n") for chunk in chunks]
    assert all(part[:2] == ["| n | v |", "|---|---|"] for part in lines)
    assert [row for part in lines for row in part[2:]] == rows


def test_list_items_stay_whole() -> None:
    items = [f"- item {i} with some words" for i in range(6)]
    chunks = chunk_page("p", "\n".join(items), 14, words)
    assert [line for chunk in chunks for line in chunk.text.split("\n")] == items


def test_headings_without_text_of_their_own() -> None:
    chunks = chunk_page("p", "# T\n\n## Above\n\n### Deep\n\ntext\n\n## Alone\n", 30, words)
    assert [(chunk.id, chunk.text) for chunk in chunks] == [
        ("p#above/deep", "T > Above > Deep\ntext"),
        ("p#alone", "T > Alone"),
    ]


def test_link_definitions_are_kept_and_an_empty_page_gives_nothing() -> None:
    chunks = chunk_page("p", "See [it].\n\n[it]: https://example.test\n", 30, words)
    assert "https://example.test" in chunks[0].text
    assert chunk_page("p", " \n\n", 30, words) == []


def test_a_heading_path_too_long_for_a_chunk_is_shortened() -> None:
    chunks = chunk_page("p", f"# {'long ' * 50}\n\n## short\n\nbody", 16, words)
    assert chunks[-1].text == "short\nbody"
    assert all(words(chunk.text) <= 16 for chunk in chunks)


@pytest.mark.parametrize(
    ("evidence", "chunk", "expected"),
    [
        ("apt", "apt#options/state", True),
        ("apt", "apt_key#options/state", False),
        ("apt#options", "apt#options/state", True),
        ("apt#options", "apt#options~2", True),
        ("apt#options", "apt#options/state~3", True),
        ("apt#options/state", "apt#options/state_dir", False),
        ("apt#options/state~2", "apt#options/state~2", True),
        ("apt#options/state~2", "apt#options/state", False),
        ("apt#", "apt#~2", True),
        ("apt#", "apt#options", False),
    ],
)
def test_covers(evidence: str, chunk: str, expected: bool) -> None:
    assert covers(evidence, chunk) is expected


LINE = st.text(alphabet="ab. -`|#*>_\n\t1é日", max_size=60)
HEADERS = st.lists(st.text(alphabet="abé1", min_size=1, max_size=20), min_size=1, max_size=40).map(
    lambda names: f"| {' | '.join(names)} |\n|{'-|' * len(names)}"
)
MARKDOWN = st.lists(
    st.one_of(
        LINE,
        HEADERS,
        st.sampled_from(
            ["# One", "## Two", "### Three", "## Two", "```\ncode here\n```", "| a | b |\n|-|-|\n| 1 | 2 |"]
        ),
        st.sampled_from(
            ["- item one\n- item two", "    indented code", "> quoted", "Some words. More words here."]
        ),
    ),
    max_size=12,
).map("\n\n".join)


@given(MARKDOWN, st.integers(16, 60))
def test_every_chunk_keeps_the_limit_and_has_an_id_of_its_own(markdown: str, limit: int) -> None:
    chunks = chunk_page("p", markdown, limit, words)
    assert all(words(chunk.text) <= limit for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert all(covers("p", chunk.id) for chunk in chunks)


@given(MARKDOWN, st.integers(16, 60))
def test_no_letter_is_lost(markdown: str, limit: int) -> None:
    """Letters and digits of the page all stand in the chunks' texts or heading paths."""
    chunks = chunk_page("p", markdown, limit, words)
    kept: dict[str, int] = {}
    for letter in "".join(chunk.text + "".join(chunk.heading) for chunk in chunks):
        kept[letter] = kept.get(letter, 0) + 1
    for letter in {letter for letter in markdown if letter.isalnum()}:
        assert kept.get(letter, 0) >= markdown.count(letter)


@given(st.lists(st.text(alphabet="abcdefgh ", min_size=1, max_size=80), max_size=8), st.integers(16, 24))
def test_plain_paragraphs_come_back_in_order(paragraphs: list[str], limit: int) -> None:
    markdown = "\n\n".join(paragraph.strip() for paragraph in paragraphs)
    texts = [chunk.text for chunk in chunk_page("p", markdown, limit, words)]
    assert " ".join(" ".join(texts).split()) == " ".join(markdown.split())
