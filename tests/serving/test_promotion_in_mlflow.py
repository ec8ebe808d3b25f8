"""A person promotes on MLflow's own page, in a real browser, and the gateway answers with that release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.house import wait_until
from tests.serving.plant import TASK, Plant, plant_in

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.slow


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with plant_in(tmp_path) as made:
        made.release("alpha")
        made.stepladder("promote", TASK)
        made.serve.start()
        made.release("beta")
        yield made


@pytest.fixture
def page(plant: Plant) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(90_000)
        yield page
        browser.close()


def open_version(page: Any, plant: Plant, version: str) -> None:
    page.goto(f"{plant.mlflow.ready.removesuffix('/health')}/#/models/stepladder-{TASK}/versions/{version}")
    page.get_by_role("heading", name=f"Version {version}").wait_for()


def make_champion(page: Any, plant: Plant, version: str) -> None:
    open_version(page, plant, version)
    page.get_by_role("button", name="Edit aliases").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").click()
    page.keyboard.type("champion")
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Save aliases").click()
    dialog.wait_for(state="hidden")


def test_a_click_promotes_and_another_rolls_back(plant: Plant, page: Any) -> None:
    wait_until(lambda: plant.says() == "alpha")
    open_version(page, plant, plant.versions["beta"])
    assert page.get_by_role("row", name="beta 0.913").is_visible(), "the verdict and its figures"
    for part in ("release", "base", "prompt", "verdict"):
        assert page.get_by_role("cell", name=f"{part}.digest", exact=True).is_visible()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="The report").click()
    opened.value.frame_locator("iframe").get_by_text("The report", exact=True).wait_for()
    opened.value.close()

    make_champion(page, plant, plant.versions["beta"])
    wait_until(lambda: plant.says() == "beta")
    make_champion(page, plant, plant.versions["alpha"])
    wait_until(lambda: plant.says() == "alpha")
    told = plant.stepladder("status")
    assert f"{TASK}: wanted version 1, answers version 1: as wanted" in told
