import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.headings import section_ids
from stepladder.knowledge.chunk import chunk_page, covers

PAGE = """# copy module

Copies files.

## Options

### `dest_file` (required)

Where to.

#### Deep *down*

```
## not a heading
```

> ## quoted

Set ext
-------

text
"""


def test_sections_are_named_by_their_heading_path_without_the_title() -> None:
    assert section_ids("copy", PAGE) == {
        "copy",
        "copy#",
        "copy#options",
        "copy#options/dest_file-required",
        "copy#options/dest_file-required/deep-down",
        "copy#set-ext",
    }


def test_a_heading_level_that_is_left_out_does_not_hide_the_section() -> None:
    assert section_ids("p", "#### A\n\ntext\n\n## B\n") == {"p", "p#a", "p#b"}


def test_evidence_can_name_headings_of_any_script() -> None:
    assert section_ids("p", "# T\n\n## Größe\n\ntext\n\n## 設定\n\ntext\n") == {"p", "p#größe", "p#設定"}


@pytest.mark.parametrize("empty", ["", " \n", "\n\n\t\n"])
def test_a_page_without_text_has_nothing_to_name(empty: str) -> None:
    assert section_ids("p", empty) == set()


def test_the_start_is_named_only_where_text_stands_there() -> None:
    assert "p#" not in section_ids("p", "# T\n\n## A\n\ntext\n")
    assert "p#" in section_ids("p", "# T\n\nintro\n\n## A\n")


LINES = st.sampled_from(
    [
        "# T",
        "## A b",
        "### `c_d`",
        "## x\\_y",
        "#### [l](http://u)",
        "text",
        "",
        "```",
        "- ## i",
        "=====",
        "~~~",
    ]
)


@given(st.lists(LINES, max_size=14))
def test_evidence_can_name_every_chunk_and_names_no_section_without_one(lines: list[str]) -> None:
    markdown = "\n".join(lines)
    chunks = [chunk.id for chunk in chunk_page("page", markdown, 64, lambda text: len(text.split()))]
    ids = section_ids("page", markdown)
    assert {re.sub(r"~\d+$", "", chunk) for chunk in chunks} <= ids
    assert all(any(covers(evidence, chunk) for chunk in chunks) for evidence in ids)
