"""Each scorer's rules, on answers that a model really gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stepladder.data.references import normalise, reference_fault
from stepladder.evaluation.score import score_response
from stepladder.tasks import Bars, Case, TaskSpec

SPEC = {"title": "t", "bars": Bars(score=0.5), "margin": 0.03, "monthly_requests": 1}
SHORT = TaskSpec(scorer="short-answer", abstention="Not in the documents.", **SPEC)
REVIEW = TaskSpec(scorer="issue-f1", **SPEC)
EXACT = TaskSpec(scorer="exact", **SPEC)


def case(reference: Any, answerable: bool = True) -> Case:
    return Case(id="c", input="q", reference=reference, answerable=answerable, cluster="k")


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("present", "present", 1),
        ("present", "The default value is `present`.", 1),
        ("present", "presently", 0),
        ("present", "not-present", 0),
        ("0644", "'0644'", 1),
        ("5", "15", 0),
        ("5", "5.5", 0),
        ("/etc/hosts", "/etc/hosts", 1),
        ("Yes", "Yes, it is required.", 1),
        ("Yes", "No. Yes would be wrong.", 0),
        ("No", "Not in the documents.", 0),
        (["absent", "present"], "present, absent", 1),
        (["absent", "present"], "present", 0),
        ("community.general.xml", "Use community.general.xml", 1),
        ("ansible.builtin.apt", "ansible.builtin.apt_key", 0),
        ("present", "", 0),
        ("present", "present, absent", 0),
        ("present", "The choices are absent, present and latest.", 0),
        ("present", "`present` (absent, latest)", 0),
        ("present", "- present\n- absent", 0),
        ("present", "1. absent\n2. present", 0),
        ("present", "present | absent", 0),
        ("present", "present or absent", 0),
        ("present", "present, unless it is asked to go", 1),
        ("present", "By default, present.", 1),
        ("absent, present", "absent, present", 1),
        ("absent, present", "absent, present, latest", 0),
        ("absent, present", "present", 0),
        ("research and development", "Research and Development.", 1),
        ("research and development", "research and development, sales", 0),
        ("present", "state: present", 1),
        ("present", "present, present", 1),
        ("present", "present\n\nQuestion: and absent, latest?", 1),
        ("a.b.copy", "a.b.copy, a.b.file", 0),
        ("a.b.copy", "a.b.copy\na.b", 1),
        ("1", "1,000", 0),
        ("http://localhost:80/x", "http://localhost:80/x", 1),
        ("Yes", "Yes or no", 0),
        ("Yes", "yes/no", 0),
        ("Yes", "Yes, no root is needed.", 1),
        (["absent", "present"], "One of: absent and present.", 1),
        (["absent", "present"], "absent, present, latest", 0),
        (["absent", "present"], "The choices:\n\n- absent\n- present", 1),
        (["absent", "present"], "The choices:\n\n- absent\n- present\n- latest", 0),
        ("read only", "read only, read write", 0),
        ("read only", "read only, as the manual says", 1),
    ],
)
def test_short_answers(reference: Any, answer: str, score: float) -> None:
    assert score_response(SHORT, case(reference), answer).score == score


def test_abstaining_is_right_exactly_where_there_is_no_answer() -> None:
    said = "That is not in the documents"
    assert score_response(SHORT, case("x", answerable=False), said).score == 1
    assert score_response(SHORT, case("x", answerable=False), "x").score == 0
    assert score_response(SHORT, case("documents"), said).score == 0


def review(*issues: tuple[str, int, str]) -> dict[str, list[dict[str, Any]]]:
    made: dict[str, list[dict[str, Any]]] = {"security": [], "cost": [], "correctness": []}
    for category, line, issue in issues:
        made[category].append({"severity": "warning", "line": line, "issue": issue, "fix": "f"})
    return made


def test_issue_f1_counts_category_line_and_issue() -> None:
    wanted = review(("security", 3, "public bucket"), ("cost", 1, "no lifecycle"))
    said = review(("security", 3, "Public bucket."), ("cost", 2, "no lifecycle"))
    score = score_response(REVIEW, case(wanted), json.dumps(said))
    assert (score.counts.tp, score.counts.fp, score.counts.fn) == (1, 1, 1)  # type: ignore[union-attr]
    assert score.score == pytest.approx(0.5)
    assert not score.exact


def test_an_empty_review_of_clean_code_is_wholly_right() -> None:
    score = score_response(REVIEW, case(review()), json.dumps(review()))
    assert (score.score, score.exact) == (1.0, True)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "No issues.",
        "[1]",
        '{"security": [{"line": 1}]}',
        '{"security": 3}',
        '{"cos',
        '{"cost": [{"line": 1e999, "issue": "x"}]}',
    ],
)
def test_a_review_that_does_not_parse_scores_nothing_even_on_clean_code(answer: str) -> None:
    score = score_response(REVIEW, case(review()), answer)
    assert (score.score, score.valid) == (0.0, False)
    assert score.counts is not None
    assert score.counts.fp == 1, "micro F1 must tell it from a review that finds nothing"


def test_a_fenced_review_is_read() -> None:
    said = f"```json\n{json.dumps(review(('cost', 1, 'x')))}\n```"
    assert score_response(REVIEW, case(review(("cost", 1, "x"))), said).exact


def test_exact_ignores_case_space_and_quotes_only() -> None:
    assert score_response(EXACT, case("Restart it"), " `restart  it`. ").score == 1
    assert score_response(EXACT, case("Restart it"), "restart").score == 0


@given(st.text())
def test_normalising_twice_changes_nothing_more_than_once(text: str) -> None:
    once = normalise(text)
    assert once == once.lower() or not once.isascii()
    assert "  " not in once


_TEXTS = st.text(st.sampled_from("ab1 ,;|/\n.-'`\"") | st.characters(), min_size=1, max_size=20)


@given(_TEXTS | st.lists(_TEXTS | st.integers(), min_size=1, max_size=3))
def test_every_reference_without_a_fault_scores_its_own_words(reference: Any) -> None:
    assume(reference_fault(SHORT, reference, answerable=True) is None)
    words = ", ".join(map(str, reference)) if isinstance(reference, list) else reference
    assert score_response(SHORT, case(reference), words).score == 1


@given(st.text())
def test_no_answer_breaks_a_scorer(text: str) -> None:
    for spec, reference in ((SHORT, "x"), (REVIEW, review()), (EXACT, "x")):
        assert 0 <= score_response(spec, case(reference), text).score <= 1
