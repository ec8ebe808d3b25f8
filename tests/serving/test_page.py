"""The chat page in a real browser: ask, see the sources, give a thumb, correct, choose a release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.router import Lineup
from tests.serving.house import ABSTENTION, Gate, answering, house_in, task_of, wait_until

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.slow


def says(body: dict[str, Any]) -> str:
    asked = body["messages"][-1]["content"]
    return ABSTENTION if "weather" in asked else "The default is enabled."


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with house_in(tmp_path, says) as house:
        champion = house.router.lineups["plain"].champion
        challenger = house.serving(task_of("plain", tmp_path), version="2")
        assert champion
        house.router.put("plain", Lineup({"champion": champion, "challenger": challenger}))
        with answering(house) as made:
            yield made


@pytest.fixture
def page(gate: Gate) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 800})
        page.set_default_timeout(20_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request", lambda request: faults.append(request.url) if gate.url not in request.url else None
        )
        page.goto(gate.url)
        yield page
        browser.close()
        assert faults == [], "an error on the page, or a request to somewhere else"


def enter(page: Any, gate: Gate, key: str) -> None:
    page.get_by_label("API key").fill(gate.house.keys[key])
    page.get_by_role("button", name="Open").click()
    page.get_by_label("Your question").wait_for()


def ask(page: Any, question: str) -> Any:
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")
    answer = page.locator(".answered").last
    answer.get_by_role("button", name="Good").wait_for()
    return answer


def test_a_person_asks_and_sees_the_sources(page: Any, gate: Gate) -> None:
    enter(page, gate, "admin")
    answer = ask(page, "What is the default of state of ufw?")
    assert answer.locator(".text").inner_text() == "The default is enabled."
    answer.get_by_text("3 sources").click()
    assert answer.locator(".sources li").first.inner_text().startswith("ufw > Options > state (ufw, score ")

    unknown = ask(page, "What is the weather?")
    assert unknown.get_by_text("The documents do not hold the answer.").is_visible()
    assert unknown.get_by_text("3 sources read, none holds the answer").is_visible()


def test_a_person_gives_a_thumb_and_a_correction(page: Any, gate: Gate) -> None:
    enter(page, gate, "admin")
    answer = ask(page, "What is the default of state of ufw?")
    answer.get_by_role("button", name="Bad").click()
    answer.get_by_text("Thank you.").wait_for()
    assert answer.get_by_role("button", name="Bad").get_attribute("aria-pressed") == "true"

    answer.get_by_role("button", name="Correct it").click()
    correction = answer.get_by_label("What should the answer have been?")
    assert correction.input_value() == "The default is enabled."
    correction.fill("enabled")
    answer.get_by_role("button", name="Send the correction").click()
    answer.get_by_text("kept for the next climb").wait_for()

    assert [record.get("thumb") for record in gate.records("feedback")] == ["down", None]
    row = next((Path(gate.house.settings.inbox) / "docs" / "corrections").glob("*.jsonl"))
    assert json.loads(row.read_text())["messages"][-1]["content"] == "enabled"


def test_a_person_chooses_task_and_release(page: Any, gate: Gate) -> None:
    enter(page, gate, "admin")
    page.get_by_label("Task").select_option("plain")
    page.get_by_label("Release").select_option("challenger")
    answer = ask(page, "Why?")
    assert answer.locator(".release").inner_text() == "version 2, prompt"


def test_a_wrong_key_is_told_and_asked_for_again(page: Any, gate: Gate) -> None:
    page.get_by_label("API key").fill("sl-wrong")
    page.get_by_role("button", name="Open").click()
    page.get_by_text("this API key is not known here").wait_for()
    enter(page, gate, "chat")


def test_a_key_without_the_scope_may_ask_and_is_told_what_it_may_not(page: Any, gate: Gate) -> None:
    enter(page, gate, "chat")
    answer = ask(page, "Why?")
    answer.get_by_role("button", name="Good").click()
    answer.get_by_text("lacks the scope feedback").wait_for()
    assert answer.get_by_role("button", name="Good").get_attribute("aria-pressed") == "false"


def test_a_failure_is_told_in_place_and_the_next_question_works(page: Any, gate: Gate) -> None:
    enter(page, gate, "admin")
    gate.house.engine.says = lambda _: 500
    page.get_by_label("Your question").fill("Why?")
    page.keyboard.press("Enter")
    page.get_by_text("the engine of this task failed").wait_for()
    gate.house.engine.says = says
    ask(page, "And now?")


def test_a_person_can_stop_an_answer(page: Any, gate: Gate) -> None:
    enter(page, gate, "admin")
    gate.house.engine.latency_s = 60
    page.get_by_label("Your question").fill("Why?")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("(stopped)").wait_for()
    wait_until(lambda: gate.house.engine.cancelled == 1)


def test_it_is_used_by_keyboard_and_every_control_has_a_name(page: Any, gate: Gate) -> None:
    page.keyboard.type(gate.house.keys["admin"])
    page.keyboard.press("Enter")
    page.get_by_label("Your question").wait_for()
    page.keyboard.type("Why?")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Good").wait_for()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, textarea, select, button")]
            .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel)).length"""
    )
    assert unnamed == 0
    assert page.evaluate("() => document.activeElement.id") == "question"
