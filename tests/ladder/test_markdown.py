"""The verdict as Markdown holds every rung and its decision, in a form that Markdown readers accept."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from stepladder.ladder.form import Decision
from stepladder.ladder.markdown import EXIT_CODES, summary
from stepladder.ladder.verdict import decide

from .conftest import SCORES, make_evidence, make_outcomes

VERDICT = decide(make_evidence({rung: make_outcomes(rung, score) for rung, score in SCORES.items()}))


def test_every_rung_has_a_row_of_the_table() -> None:
    html = MarkdownIt("commonmark").enable("table").render(summary(VERDICT))
    assert html.count("<tr>") == 1 + len(VERDICT.rungs)
    assert f"<strong>{VERDICT.rung}</strong>" in html
    assert VERDICT.sentence in html


def test_what_looks_like_a_table_or_a_tag_in_a_text_is_kept_as_text() -> None:
    odd = VERDICT.model_copy(update={"sentence": "a|b <script>"})
    html = MarkdownIt("commonmark").enable("table").render(summary(odd))
    assert "a|b &lt;script&gt;" in html


@pytest.mark.parametrize(
    ("decision", "code"), [("promote", 0), ("keep", 3), ("inconclusive", 4), ("none", 5)]
)
def test_each_decision_has_its_exit_code(decision: Decision, code: int) -> None:
    assert EXIT_CODES[decision] == code
