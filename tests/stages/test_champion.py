"""The champion is weighed on the cases that it was asked, and is never passed over in silence."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from stepladder.errors import StepladderError
from stepladder.evaluation.evaluate import rescored
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import JudgeRecord, RungOutcomes
from stepladder.evaluation.resampling import JudgeErrors
from stepladder.files import write_jsonl
from stepladder.knowledge.upkeep import Upkeep
from stepladder.ladder.evidence import Unweighed
from stepladder.ladder.verdict import decide
from stepladder.prompting.compose import Plan
from stepladder.releases import OUTCOMES, Registered, Release
from stepladder.settings import Knowledge, Settings
from stepladder.stages import champion as stage
from stepladder.stages.champion import champion_at, on_present_cases
from stepladder.stages.costs import champion_cost
from stepladder.stages.index import UPKEEP
from stepladder.stages.workspace import Workspace, save
from stepladder.tasks import Bars
from tests.ladder.conftest import SPEC, make_evidence, make_outcomes

PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
PRESENT = make_outcomes("prompt", 0.5)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    settings = Settings.model_validate({**PARAMETERS, "tasks": ["module-qa"], "hardware": "cpu"})
    return Workspace(tmp_path, settings)


def asked(others: int) -> RungOutcomes:
    """What served, asked the present cases but for so many."""
    said = make_outcomes("rag", 0.8)
    rows = [
        one.model_copy(update={"reference": "another"} if i < others else {"cluster": "as it was then"})
        for i, one in enumerate(said.outcomes)
    ]
    return said.model_copy(update={"outcomes": rows})


def as_stored(said: RungOutcomes) -> RungOutcomes:
    return said


def write_task(workspace: Workspace, **changes: object) -> None:
    folder = workspace.root / "tasks" / "module-qa"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(
        yaml.safe_dump({**SPEC.model_dump(mode="json"), "abstention": "Not there.", **changes})
    )
    (folder / "prompt.md").write_text("Answer.")
    (folder / "examples.jsonl").write_text("")
    write_jsonl(folder / "cases.jsonl", [{"id": "c", "input": "q", "reference": "a", "cluster": "p"}])


def registered(folder: Path) -> Registered:
    release = Release(
        task="module-qa", plan=Plan(rung="rag", context_tokens=1), base="b", base_digest="b", embedder="e",
        knowledge=Knowledge(), task_digest="t", prompt_digest="p", index_version=None, adapter_digest=None,
        verdict_digest="v",
    )  # fmt: skip
    return Registered(release=release, version="3", folder=folder)


def test_half_of_the_cases_are_enough_to_compare_on() -> None:
    found = on_present_cases(asked(others=90), PRESENT, as_stored)
    assert isinstance(found, RungOutcomes)
    assert [(o.id, o.cluster) for o in found.outcomes] == [(o.id, o.cluster) for o in PRESENT.outcomes[90:]]


def test_fewer_are_not_and_it_says_what_to_do() -> None:
    found = on_present_cases(asked(others=91), PRESENT, as_stored)
    assert isinstance(found, Unweighed)
    assert found.rung == "rag"
    assert "it was asked 89 of these 180 cases" in found.why
    assert "`stepladder evaluate module-qa@champion` asks it these" in found.why


def test_a_release_without_outcomes_is_told_apart(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = registered(tmp_path)
    write_task(workspace)
    monkeypatch.setattr(stage, "use_mlflow", lambda _: None)
    monkeypatch.setattr(stage, "fetch", lambda *_: found)
    said = champion_at(workspace, "module-qa", "3", PRESENT).said
    assert isinstance(said, Unweighed)
    assert "version 3, was registered without outcomes" in said.why
    save(tmp_path / OUTCOMES, asked(others=0))
    assert isinstance(champion_at(workspace, "module-qa", "3", PRESENT).said, RungOutcomes)


def test_it_is_priced_from_its_own_outcomes(workspace: Workspace) -> None:
    write_task(workspace)
    save(workspace.index("module-qa") / UPKEEP, Upkeep(chunks=1, chunks_per_s=1, index_s=0, hardware="x"))
    cost = champion_cost(workspace, "module-qa", make_outcomes("rag", 0.8))
    prompt = champion_cost(workspace, "module-qa", PRESENT)
    assert cost.per_request == pytest.approx(prompt.per_request * 0.34 / 0.11)


def test_a_champion_is_scored_as_the_task_scores_now(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(workspace, scorer="exact")
    rung = make_outcomes("rag", 0.8)
    with workspace.responses() as cache:
        strictly = rescored(workspace.task("module-qa"), rung, cache)
        assert {one.score for one in strictly.outcomes} == {0.0}
        shutil.rmtree(workspace.root / "tasks")
        write_task(workspace, scorer="short-answer")
        present = rescored(workspace.task("module-qa"), rung, cache)
    save(tmp_path / OUTCOMES, strictly)
    monkeypatch.setattr(stage, "use_mlflow", lambda _: None)
    monkeypatch.setattr(stage, "fetch", lambda *_: registered(tmp_path))
    said = champion_at(workspace, "module-qa", "3", present).said
    assert said == present
    evidence = make_evidence({"rag": present}, spec=SPEC.model_copy(update={"bars": Bars(score=0.5)}))
    verdict = decide(replace(evidence, champion=said))
    assert verdict.decision == "keep", "the very same answers are not better"


def test_another_judge_than_that_of_the_present_answers_is_refused() -> None:
    judge = JudgeRecord(
        model="m", digest="d", labels=60,
        errors=JudgeErrors(sensitivity=1, right=30, specificity=1, wrong=30),
        kappa=Interval(estimate=0.9, low=0.8, high=1.0, confidence=0.95, method="k"),
    )  # fmt: skip
    with pytest.raises(StepladderError, match="the judge is not the one"):
        on_present_cases(asked(0), PRESENT, lambda said: said.model_copy(update={"judge": judge}))
