from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.headings import section_ids, slug, without_part
from stepladder.knowledge.chunk import chunk_page

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
    assert section_ids("p", "#### A\n\ntext\n\n## B\n") == {"p", "p#", "p#a", "p#b"}


def test_slug_keeps_underscores_and_names_a_heading_without_letters() -> None:
    assert slug("Foo_bar: Baz!") == "foo_bar-baz"
    assert slug("???") == "section"


def test_a_part_number_is_dropped_from_the_end_only() -> None:
    assert without_part("p#a/b~12") == "p#a/b"
    assert without_part("p~2#a") == "p~2#a"


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
def test_every_chunk_lies_in_a_section_that_evidence_can_name(lines: list[str]) -> None:
    markdown = "\n".join(lines)
    chunks = chunk_page("page", markdown, 64, lambda text: len(text.split()))
    assert {without_part(chunk.id) for chunk in chunks} <= section_ids("page", markdown)
