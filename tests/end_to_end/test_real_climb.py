"""The whole DAG on a cut-down module-qa: real documents, real embedder, real vLLM, a real (short) LoRA."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
import yaml

from stepladder.errors import MAY_PASS
from stepladder.ladder.form import schema
from stepladder.ladder.markdown import EXIT_CODES
from stepladder.models import PACKAGED_BASE
from stepladder.settings import load_settings
from tests.end_to_end.project import ROOT, make_project, read_rows, stepladder, write_rows

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

CASES = 24
EXAMPLES = 120


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sample = ROOT / "tasks" / "module-qa"
    if not (ROOT / PACKAGED_BASE / "config.json").is_file() or not (sample / "cases.jsonl").is_file():
        pytest.skip("the base model or the sample is not built: run `make setup`")
    folder = make_project(
        tmp_path_factory.mktemp("real") / "project",
        ["module-qa"],
        {
            "models": {"base": str(ROOT / load_settings(ROOT / "params.yaml").models.base)},
            "climb": {"mode": "full"},
            "tuning": {"min_examples": 10},
            "evaluation": {"resamples": 1000},
            "sizes": {"cpu": {"cases": CASES, "dev_rows": 4, "train_tokens": 4000}},
        },
    )
    _cut(sample, folder / "tasks" / "module-qa")
    stepladder(folder, "climb")
    return folder


def _cut(sample: Path, task: Path) -> None:
    """Some cases of every slice, some examples, and the pages that they and their distractors stand on."""
    cases = _some_of_each_slice(read_rows(sample / "cases.jsonl"), CASES)
    examples = read_rows(sample / "examples.jsonl")[:EXAMPLES]
    write_rows(task / "cases.jsonl", cases)
    write_rows(task / "examples.jsonl", examples)
    spec = yaml.safe_load((sample / "task.yaml").read_text())
    easy = {**spec, "bars": {"score": 0, "forgetting": 9}, "margin": 0.9}
    (task / "task.yaml").write_text(yaml.safe_dump(easy))
    (task / "prompt.md").write_text((sample / "prompt.md").read_text())
    (task / "knowledge").mkdir()
    for page in {row["cluster"] for row in [*cases, *examples]}:
        source = sample / "knowledge" / f"{page}.md"
        (task / "knowledge" / source.name).write_text(source.read_text())


def _some_of_each_slice(rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    slices = sorted({row["slice"] for row in rows})
    each = -(-number // len(slices))
    return [row for name in slices for row in [one for one in rows if one["slice"] == name][:each]]


@pytest.fixture(scope="module")
def verdict(project: Path) -> dict[str, Any]:
    done = stepladder(project, "verdict", "module-qa", "--json", check=False)
    found = json.loads(done.stdout)
    assert done.returncode == EXIT_CODES[found["decision"]]
    return found


def test_the_verdict_has_its_form(verdict: dict[str, Any]) -> None:
    jsonschema.validate(verdict, schema())


def test_all_four_rungs_were_asked_the_same_cases(verdict: dict[str, Any], project: Path) -> None:
    assert set(verdict["rungs"]) == {"prompt", "rag", "lora", "lora+rag"}
    assert {rung["n"] for rung in verdict["rungs"].values()} == {CASES}


def test_retrieval_helps_where_knowledge_is_missing(verdict: dict[str, Any]) -> None:
    assert verdict["rungs"]["rag"]["score"] > verdict["rungs"]["prompt"]["score"]


def test_training_learned_something_and_says_what_it_forgot(project: Path) -> None:
    record = json.loads((project / "build/module-qa/tuned/training.json").read_text())
    losses = record["result"]["losses"]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert record["forgetting"]["before"] > 1
    assert record["result"]["tokens"] <= 4400


def test_the_base_engine_started_once_and_the_adapters_engine_once(project: Path) -> None:
    starts = [path for path in (project / ".stepladder/logs").iterdir() if path.name.startswith("engine-")]
    assert len(starts) == 2


def test_the_report_and_the_release_are_there(project: Path, verdict: dict[str, Any]) -> None:
    assert verdict["sentence"] in (project / "build/module-qa/report.html").read_text()
    assert list((project / ".stepladder/releases").iterdir())


def test_climbing_again_runs_nothing(project: Path) -> None:
    before = sorted((project / ".stepladder/logs").iterdir())
    done = stepladder(project, "climb")
    assert "Running stage" not in done.stderr
    assert sorted((project / ".stepladder/logs").iterdir()) == before


def test_an_engine_that_dies_in_mid_evaluation_keeps_answers_and_outputs(project: Path) -> None:
    prompt = project / "tasks/module-qa/prompt.md"
    original = prompt.read_text()
    outcomes = project / "build/base/module-qa/prompt.outcomes.json"
    before, known = outcomes.read_bytes(), _responses(project)
    prompt.write_text(original + "\nBe brief.")
    log = project / "stage.log"
    with log.open("w") as output:
        stage = psutil.Popen(
            [sys.executable, "-m", "stepladder", "stage", "evaluate"],
            cwd=project,
            stdout=output,
            stderr=output,
        )
        while _responses(project) < known + 2 and stage.poll() is None:
            time.sleep(0.05)
        for child in stage.children(recursive=True):
            child.kill()
        code = stage.wait(120)
    prompt.write_text(original)
    assert code == MAY_PASS
    assert "the engine went away after" in log.read_text()
    assert "run the same command again" in log.read_text()
    assert outcomes.read_bytes() == before
    assert _responses(project) >= known + 2


def _responses(project: Path) -> int:
    with closing(sqlite3.connect(project / ".stepladder/responses.sqlite")) as connection:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
