"""`stepladder plan`: from assumptions before a task was climbed, from its verdict after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.files import write_json, write_jsonl
from stepladder.ladder.verdict import decide
from stepladder.stages.plan import measured_spread
from tests.end_to_end.project import ROOT
from tests.ladder.conftest import SCORES, make_evidence, make_outcomes

TASK = "title: t\nscorer: exact\nbars: {score: 0.7}\nmargin: 0.05\nmonthly_requests: 1000\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    folder = tmp_path / "tasks" / "module-qa"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(TASK)
    (folder / "prompt.md").write_text("Answer.")
    (folder / "examples.jsonl").write_text("")
    cases = [{"id": f"c{i}", "input": f"q{i}", "reference": "a", "cluster": f"p{i // 3}"} for i in range(90)]
    write_jsonl(folder / "cases.jsonl", cases)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(*options: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["plan", "module-qa", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_before_a_climb_it_states_what_it_assumes(project: Path) -> None:
    found = plan()
    assert found["wanted"]["cases"] == 90
    assert "assumed, for want of a verdict" in found["assumptions"][0]
    assert "3.0 cases to a cluster" in found["assumptions"][0]


def test_after_a_climb_it_uses_what_was_measured(project: Path) -> None:
    verdict = decide(make_evidence({rung: make_outcomes(rung, score) for rung, score in SCORES.items()}))
    write_json(project / "build/module-qa/verdict.json", verdict.model_dump(mode="json"))
    assert "measured in the last verdict on 180 cases" in plan()["assumptions"][0]


def test_two_rungs_that_never_differed_are_not_taken_for_the_same() -> None:
    verdict = decide(make_evidence({rung: make_outcomes(rung, 0.9) for rung in ("prompt", "rag")}))
    spread = measured_spread(verdict, 0.05)
    assert spread is not None
    assert spread.pair == pytest.approx((0.05 * 0.95) ** 0.5)


def test_a_smaller_margin_or_more_power_needs_more_cases(project: Path) -> None:
    assert plan("--margin", "0.02")["cases"] > 5 * plan()["cases"]
    assert plan("--power", "0.9")["cases"] > plan()["cases"]


def test_it_reads_well(project: Path) -> None:
    said = CliRunner().invoke(app, ["plan", "module-qa"]).output
    assert "cases; there are 90" in said
    assert "to show that a score of 0.75 holds the bar of 0.70" in said
