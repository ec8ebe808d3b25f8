"""The champion is weighed on the cases that it was asked, and is never passed over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stepladder.evaluation.records import RungOutcomes
from stepladder.files import write_jsonl
from stepladder.knowledge.upkeep import Upkeep
from stepladder.ladder.evidence import Unweighed
from stepladder.prompting.compose import Plan
from stepladder.releases import OUTCOMES, Registered, Release
from stepladder.settings import Knowledge, Settings
from stepladder.stages import champion as stage
from stepladder.stages.champion import champion_at, on_present_cases
from stepladder.stages.costs import champion_cost
from stepladder.stages.index import UPKEEP
from stepladder.stages.workspace import Workspace, save
from tests.ladder.conftest import SPEC, make_outcomes

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


def test_half_of_the_cases_are_enough_to_compare_on() -> None:
    found = on_present_cases(asked(others=90), PRESENT)
    assert isinstance(found, RungOutcomes)
    assert [(o.id, o.cluster) for o in found.outcomes] == [(o.id, o.cluster) for o in PRESENT.outcomes[90:]]


def test_fewer_are_not_and_it_says_what_to_do() -> None:
    found = on_present_cases(asked(others=91), PRESENT)
    assert isinstance(found, Unweighed)
    assert found.rung == "rag"
    assert "it was asked 89 of these 180 cases" in found.why
    assert "evaluated on these cases first" in found.why


def test_a_release_without_outcomes_is_told_apart(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release(
        task="module-qa", plan=Plan(rung="rag", context_tokens=1), base="b", base_digest="b", embedder="e",
        knowledge=Knowledge(), task_digest="t", prompt_digest="p", index_version=None, adapter_digest=None,
        verdict_digest="v",
    )  # fmt: skip
    found = Registered(release=release, version="3", folder=tmp_path)
    monkeypatch.setattr(stage, "use_mlflow", lambda _: None)
    monkeypatch.setattr(stage, "fetch", lambda *_: found)
    said = champion_at(workspace, "module-qa", "3", PRESENT).said
    assert isinstance(said, Unweighed)
    assert "version 3, was registered without outcomes" in said.why
    save(tmp_path / OUTCOMES, asked(others=0))
    assert isinstance(champion_at(workspace, "module-qa", "3", PRESENT).said, RungOutcomes)


def test_it_is_priced_from_its_own_outcomes(workspace: Workspace) -> None:
    folder = workspace.root / "tasks" / "module-qa"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(SPEC.model_dump(mode="json")))
    (folder / "prompt.md").write_text("Answer.")
    (folder / "examples.jsonl").write_text("")
    write_jsonl(folder / "cases.jsonl", [{"id": "c", "input": "q", "reference": "a", "cluster": "p"}])
    save(workspace.index("module-qa") / UPKEEP, Upkeep(chunks=1, chunks_per_s=1, index_s=0, hardware="x"))
    cost = champion_cost(workspace, "module-qa", make_outcomes("rag", 0.8))
    prompt = champion_cost(workspace, "module-qa", PRESENT)
    assert cost.per_request == pytest.approx(prompt.per_request * 0.34 / 0.11)
