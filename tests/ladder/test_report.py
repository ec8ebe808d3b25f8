"""The report: whole, offline, honest about the verdict's numbers, and safe with hostile text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stepladder.evaluation.cost import BreakEven
from stepladder.evaluation.evidence import Place
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import RungOutcomes
from stepladder.ladder.attribution import CaseLabel, Failures
from stepladder.ladder.causes import CAUSES
from stepladder.ladder.form import Flip, Verdict
from stepladder.ladder.report import MOST_CASES, failing_cases, render_report, write_report
from stepladder.ladder.suspects import Suspect
from stepladder.ladder.tree import branches
from stepladder.ladder.verdict import Evidence, decide
from stepladder.tuning.estimate import Estimate, check_estimate

SHARE = Interval(estimate=2 / 3, low=0.2, high=0.94, confidence=0.95, method="Wilson")
FAILURES = Failures(
    cases=10,
    failing=3,
    gaps=dict.fromkeys(CAUSES, 0.0) | {"retrieval": 2 / 3, "knowledge": 1 / 3},
    shares=dict.fromkeys(CAUSES, SHARE),
    labels=[
        CaseLabel(
            id="case-1",
            cluster="one",
            cause="retrieval",
            place=Place(rank=4, given=False, displaced_by="page#other"),
        )
    ],
    probes={},
    suspects=[],
    adapter_known=True,
)

SUSPECT = Suspect(
    id="case-7",
    input="Which?",
    reference="wrong",
    answer="right",
    agreeing=["rag", "lora"],
    rungs=["lora", "rag"],
    chance=1e-4,
)

Ladder = Callable[..., dict[str, RungOutcomes]]
MakeEvidence = Callable[..., Evidence]

LOSSES = [3.0, 2.0, 1.4, 1.0, 0.8, 0.7]
VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)> & "quoted" {{ 7 * 7 }}'


class Page(HTMLParser):
    """Collects tags, text and values, and fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


MakeReport = Callable[..., tuple[Verdict, str, Page]]


@pytest.fixture
def report(ladder: Ladder, evidence_of: MakeEvidence) -> MakeReport:
    """Evidence, verdict and page of a ladder; some of the evidence may be replaced."""

    def build(
        outcomes: dict[str, RungOutcomes] | None = None,
        losses: Sequence[float] | None = LOSSES,
        flip: list[Flip] | None = None,
        failures: Failures | None = None,
        **more: Any,
    ) -> tuple[Verdict, str, Page]:
        evidence = evidence_of(outcomes or ladder(), **more)
        verdict = decide(evidence)
        verdict = verdict.model_copy(update={"flips": flip or []})
        html = render_report(verdict, evidence.summaries, evidence.outcomes, losses, failures)
        return verdict, html, Page(html)

    return build


def test_it_is_well_formed_and_leads_with_the_verdict(report: MakeReport) -> None:
    verdict, _, page = report()
    assert page.open == []
    assert verdict.sentence in page.text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_it_loads_nothing(report: MakeReport) -> None:
    _, html, page = report()
    assert "http" not in html
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert not re.search(r"@import|url\((?!#)", html)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")


def test_its_numbers_are_the_verdicts(report: MakeReport) -> None:
    verdict, _, page = report()
    shown = {float(attributes["value"]) for attributes in page.all("data")}
    for judged in verdict.rungs.values():
        assert {judged.score, judged.lower_bound, judged.cost_per_1000, judged.latency_p95_ms} <= shown
        assert f"{judged.score:.2f} {judged.interval[0]:.2f} to {judged.interval[1]:.2f}" in page.text
    for pair in verdict.comparisons:
        assert {pair.difference, pair.p} <= shown
    for digest in verdict.digests.values():
        assert digest in page.text


def test_a_screen_reader_is_told_what_figures_and_tables_hold(report: MakeReport) -> None:
    _, html, page = report()
    figures = page.all("svg")
    assert len(figures) == 4
    assert all(figure["role"] == "img" and figure["aria-label"] for figure in figures)
    assert "lora+rag scores 0.83" in figures[0]["aria-label"]
    assert html.count("<caption>") == html.count("<table>")
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"


def test_the_tree_shows_each_question_with_its_evidence(report: MakeReport) -> None:
    verdict, _, page = report()
    for branch in branches(verdict):
        assert branch.question in page.text
        assert branch.evidence[1:] in page.text


def test_what_would_flip_the_decision_is_told(report: MakeReport) -> None:
    flip = Flip(factor="monthly requests", present=10_000, at=250, decision="promote", rung="rag")
    _, _, page = report(flip=[flip])
    assert "10,000250promote rag" in re.sub(r"\s*\n\s*", "", page.text)
    _, _, page = report()
    assert "it rests on the scores" in page.text


def test_where_two_rungs_break_even_is_told_in_words(report: MakeReport) -> None:
    found = [BreakEven(a="rag", b="lora", monthly_requests=12_345.6, below="rag"),
             BreakEven(a="prompt", b="lora", monthly_requests=None, below="prompt")]  # fmt: skip
    _, _, page = report(break_even=found)
    assert "rag is cheaper than lora below 12,346 requests a month, and dearer above." in page.text
    assert page.text.count("requests a month, and dearer above") == 1


def test_suspect_references_are_listed_with_what_the_rungs_say(report: MakeReport) -> None:
    _, html, page = report(failures=FAILURES.model_copy(update={"suspects": [SUSPECT]}))
    assert "References to look at" in page.text
    assert "rag, lora" in page.text
    assert html.count("<caption>") == html.count("<table>")
    assert "References to look at" not in report()[2].text


def test_causes_come_with_their_intervals_and_misses_with_their_rank(report: MakeReport) -> None:
    _, _, page = report(failures=FAILURES)
    assert "3 of 10 cases fail on a cheap rung" in page.text
    assert "0.67 0.20 to 0.94" in page.text
    assert re.search(r"case-1\s*4\s*page#other", page.text)


def test_what_is_not_told_apart_has_a_row_of_its_own_until_an_adapter_answers(
    report: MakeReport, ladder: Ladder
) -> None:
    gaps = dict.fromkeys(CAUSES, 0.0) | {"behaviour": 1.0}
    share = Interval(estimate=1.0, low=0.4, high=1.0, confidence=0.95, method="m")
    failures = FAILURES.model_copy(update={"gaps": gaps, "shares": dict.fromkeys(CAUSES, share)})
    verdict, html, page = report(
        ladder({"lora": None, "lora+rag": None}), gaps=gaps, failures=failures, losses=None
    )
    assert verdict.gaps["behaviour"] == 1, "the record keeps the key"
    assert '<th scope="row">behaviour or capability, not told apart</th>' in html
    assert "behaviour or capability, not told apart 100%" in html, "the plot in words"
    assert "capability 0%" not in html
    _, html, page = report(gaps=gaps, failures=failures)
    assert '<th scope="row">behaviour</th>' in html
    assert "not told apart" not in page.text


def test_slices_are_compared_with_holms_p(report: MakeReport) -> None:
    verdict, _, page = report()
    assert verdict.slices is not None
    assert f"{verdict.slices.a} against {verdict.slices.b}, by slice" in page.text


def test_hostile_text_is_shown_not_run(report: MakeReport, ladder: Ladder) -> None:
    outcomes = ladder()
    for rung, one in outcomes.items():
        rows = [
            row.model_copy(
                update={
                    "input": f"{HOSTILE} {row.id}",
                    "reference": {"fix": HOSTILE},
                    "slice": "odd." + HOSTILE,
                    "retrieved": [HOSTILE],
                    "response": row.response.model_copy(update={"text": HOSTILE}),
                }
            )
            for row in one.outcomes
        ]
        outcomes[rung] = one.model_copy(update={"outcomes": rows, "variant": HOSTILE})
    _, _, page = report(
        outcomes, sizes={HOSTILE: HOSTILE}, digests={HOSTILE: HOSTILE}, gaps={"<script>": 1.0}
    )
    assert not page.all("script")
    assert not page.all("img")
    assert HOSTILE in page.text


def test_failing_cases_lead_with_those_on_which_the_rungs_differ_and_end_with_those_that_all_fail(
    ladder: Ladder,
) -> None:
    outcomes = ladder()
    cases = failing_cases(outcomes, list(outcomes))
    assert len(cases) == MOST_CASES
    passing = [any(outcome.score == 1 for outcome in case.by_rung.values()) for case in cases]
    every = [[one.outcomes[i].score for one in outcomes.values()] for i in range(180)]
    hopeless = sum(max(scores) < 1 for scores in every) / sum(min(scores) < 1 for scores in every)
    assert passing == sorted(passing, reverse=True)
    assert passing.count(False) == math.ceil(MOST_CASES * hopeless) > 0
    spreads = [len({outcome.score for outcome in case.by_rung.values()}) for case in cases]
    assert spreads[0] == 2
    assert spreads == sorted(spreads, reverse=True)
    assert all(any(outcome.score < 1 for outcome in case.by_rung.values()) for case in cases)


def test_where_every_rung_fails_all_cases_they_are_shown(ladder: Ladder) -> None:
    outcomes = ladder(dict.fromkeys(("prompt", "rag", "lora", "lora+rag"), 0.0), clusters=10, size=1)
    assert len(failing_cases(outcomes, list(outcomes))) == 10
    right = ladder(dict.fromkeys(("prompt", "rag", "lora", "lora+rag"), 1.0), clusters=10, size=1)
    assert failing_cases(right, list(right)) == []


def test_every_rungs_answer_and_sources_stand_beside_the_reference(report: MakeReport) -> None:
    _, _, page = report()
    assert len([part for part in page.all("div") if part.get("class") == "case"]) == MOST_CASES
    assert "The default is value 1." in page.text
    assert "ansible.builtin.module_00#options/option_1" in page.text


def test_no_training_no_documents_no_gaps_leave_no_empty_sections(report: MakeReport, ladder: Ladder) -> None:
    outcomes = ladder({"prompt": 1.0, "rag": None, "lora": None, "lora+rag": None})
    _, _, page = report(outcomes, losses=None, retrieval={}, gaps={}, forgetting=None, sizes={}, digests={})
    assert len(page.all("svg")) == 2
    assert "Retrieval" not in page.text.replace("EngineRetrieval", "")
    assert "Training loss" not in page.text
    assert "Every rung answers every case rightly." in page.text


def test_training_is_told_in_seconds_and_dollars_beside_its_estimate(report: MakeReport) -> None:
    estimated = Estimate(tokens=1000, seconds=600, cost=0.25, tokens_per_s=2)
    _, _, page = report(training=check_estimate(estimated, tokens=900, seconds=720, price_per_hour=2.0))
    assert "Training was estimated at 600 s and $0.25; it took 720 s and $0.40." in page.text


def test_a_rung_without_an_interval_is_drawn(report: MakeReport, ladder: Ladder) -> None:
    _, _, page = report(ladder(clusters=1, size=20))
    assert "no interval" in page.text


def test_the_same_inputs_write_the_same_bytes(
    ladder: Ladder, evidence_of: MakeEvidence, tmp_path: Path
) -> None:
    evidence = evidence_of(ladder())
    verdict = decide(evidence)
    for name in ("one.html", "two.html"):
        write_report(verdict, evidence.summaries, evidence.outcomes, LOSSES, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
