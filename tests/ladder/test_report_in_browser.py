"""The report in a real browser: it loads nothing, fits a phone, and unfolds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepladder.ladder.report import write_report
from stepladder.ladder.verdict import decide

from .conftest import SCORES, make_evidence, make_outcomes
from .test_report import FAILURES, SUSPECT

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    evidence = make_evidence({rung: make_outcomes(rung, score) for rung, score in SCORES.items()})
    path = tmp_path_factory.mktemp("report") / "report.html"
    failures = FAILURES.model_copy(update={"suspects": [SUSPECT]})
    write_report(decide(evidence), evidence.summaries, evidence.outcomes, [3.0, 2.0, 1.0], path, failures)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])


@pytest.mark.parametrize("width", [390, 1200])
def test_it_opens_offline_without_a_fault_and_fits_the_window(browser: Any, report: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: faults.append(asked.url) if asked.url != report.as_uri() else None)
    page.goto(report.as_uri())
    for heading in (
        "The ladder",
        "How it follows",
        "What it costs",
        "By slice",
        "Where the failures come from",
        "References to look at",
        "Cases that some rung fails",
    ):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults == []


def test_a_case_unfolds_to_every_rungs_answer(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    case = page.locator("details").filter(has=page.locator(".case")).first
    assert not case.locator(".case").is_visible()
    case.locator("summary").click()
    assert all(case.get_by_role("heading", name=rung).first.is_visible() for rung in SCORES)


def test_on_paper_every_case_stands_unfolded_and_nothing_is_cut_off(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport={"width": 700, "height": 900})  # about a page of A4 within its margins
    page.goto(report.as_uri())
    assert not page.locator(".case").first.is_visible()
    page.emulate_media(media="print")
    cases = page.locator(".case")
    assert cases.count() > 1
    assert all(cases.nth(place).is_visible() for place in range(cases.count()))
    assert cases.first.get_by_role("heading", name="lora+rag").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
