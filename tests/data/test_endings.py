from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.duplicates import jaccard, normal_form, shingles
from stepladder.data.endings import endings, near_endings

PARAGRAPH = st.lists(st.sampled_from(["a", "B", "c", "?"]), min_size=1, max_size=16).map(" ".join)
TEXT = st.lists(PARAGRAPH, min_size=1, max_size=5).map("\n \n".join)


def written_out(text: str) -> list[str]:
    return [text[gap.end() :] for gap in re.finditer(r"\n\s*\n", text.strip())]


def test_endings_follow_blank_lines_and_not_line_breaks() -> None:
    assert list(endings("\n\nDo  this.\n\t\nTo\nTHAT.\n\n\nNow.\n\n")) == ["to that. now.", "now."]
    assert list(endings("One\nparagraph.")) == []
    assert list(endings("a\n\nb c\n\nd", {1})) == ["d"]


@given(TEXT)
def test_endings_are_those_written_out(text: str) -> None:
    assert list(endings(text)) == [normal_form(ending) for ending in written_out(text.strip())]


@given(st.lists(TEXT, max_size=4), st.lists(TEXT, max_size=4), st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_near_endings_are_those_that_comparing_all_with_all_finds(
    wanted: list[str], texts: list[str], threshold: float
) -> None:
    best = {
        (i, j): max(jaccard(shingles(asked), shingles(ending)) for ending in some)
        for i, asked in enumerate(wanted)
        for j, text in enumerate(texts)
        if (some := [e for e in written_out(text) if re.search(r"\w", e)])
    }
    found = {(i, j): similarity for i, j, similarity in near_endings(wanted, texts, threshold)}
    assert found == {pair: similarity for pair, similarity in best.items() if similarity >= threshold}
