"""The stages of dvc.yaml and those that can be run are the same, and each module can be imported."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml

from stepladder.errors import StepladderError
from stepladder.settings import Settings, load_settings
from stepladder.stages import ALL_TASKS, STAGES, run_stage
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Task, TaskSpec

ROOT = Path(__file__).parents[2]
DAG = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, load_settings(ROOT / "params.yaml"))


def test_dvc_runs_every_stage_and_no_other() -> None:
    assert list(DAG) == list(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_each_stage_is_run_by_its_own_name(name: str) -> None:
    stage = DAG[name]
    command = stage["cmd"] if name in ALL_TASKS else stage["do"]["cmd"]
    assert command.split()[:6] == ["exec", "python", "-m", "stepladder", "stage", name]
    assert hasattr(import_module(f"stepladder.stages.{STAGES[name]}"), "run")


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ALL_TASKS])
def test_stages_of_one_task_run_for_every_task_of_the_parameters(name: str) -> None:
    assert DAG[name]["foreach"] == "${tasks}"


def test_parameters_that_a_stage_names_exist() -> None:
    known = yaml.safe_load((ROOT / "params.yaml").read_text())
    for stage in DAG.values():
        for name in stage.get("do", stage).get("params", []):
            section = known
            for part in name.split("."):
                assert part in section, name
                section = section[part]


def test_training_depends_on_sizes_and_tuning_by_its_decision_alone() -> None:
    """Whole sections would train every adapter anew for what concerns another task, or none."""
    training = DAG["finetune"]["do"]
    assert "build/${item}/decision.json" in training["deps"]
    assert {"sizes", "tuning"}.isdisjoint(training["params"])
    assert {"sizes", "tuning", "hardware"} <= set(DAG["diagnose"]["do"]["params"])


def test_the_verdict_depends_on_every_part_of_the_task_whose_digest_it_states(tmp_path: Path) -> None:
    for name in ("prompt.md", "cases.jsonl", "examples.jsonl"):
        (tmp_path / name).write_text(name)
    (tmp_path / "knowledge").mkdir()
    spec = {"title": "t", "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.1, "monthly_requests": 1}
    parts = Task(tmp_path, TaskSpec.model_validate(spec), "").digests()
    declared = {
        "task": "tasks/${item}/task.yaml",
        "prompt": "tasks/${item}/prompt.md",
        "cases": "tasks/${item}/cases.jsonl",
        "examples": "tasks/${item}/examples.jsonl",
        "knowledge": "build/checked/${item}/pages.json",  # digests of the pages: a dependency must exist
    }
    assert set(parts) == set(declared)
    assert set(declared.values()) <= set(DAG["verdict"]["do"]["deps"])


def test_an_unknown_stage_names_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(StepladderError, match="no stage named 'sing'") as caught:
        run_stage("sing", workspace, None)
    assert "validate" in caught.value.remedy


def test_a_stage_of_one_task_asks_for_it(workspace: Workspace) -> None:
    with pytest.raises(StepladderError, match="works on one task"):
        run_stage("prepare", workspace, None)


def test_an_unknown_task_names_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(StepladderError, match="no task named 'sing'") as caught:
        run_stage("prepare", workspace, "sing")
    assert "module-qa" in caught.value.remedy


def test_a_task_that_was_not_built_says_how(workspace: Workspace) -> None:
    with pytest.raises(StepladderError, match="no such task folder") as caught:
        run_stage("prepare", workspace, "module-qa")
    assert "stepladder setup" in caught.value.remedy


def test_a_parameter_of_no_task_is_refused_and_one_of_a_folder_that_stays_is_not(tmp_path: Path) -> None:
    known = yaml.safe_load((ROOT / "params.yaml").read_text())
    known |= {"tasks": ["mine"]}
    known["sizes"]["cpu"]["train_tokens_of"] = {"mine": 1, "samples": 1}
    known["sizes"]["gpu"]["train_tokens_of"] = {}
    known["tuning"]["by_task"] = {"mine": {"batch_size": 1}, "minr": {}}
    workspace = Workspace(tmp_path, Settings.model_validate(known))
    with pytest.raises(StepladderError, match="'samples' is neither a task nor a folder") as caught:
        run_stage("prepare", workspace, "mine")
    assert caught.value.where == "sizes.cpu.train_tokens_of in params.yaml"
    (tmp_path / "tasks/samples").mkdir(parents=True)
    with pytest.raises(StepladderError, match="'minr' is neither") as caught:
        run_stage("prepare", workspace, "mine")
    assert caught.value.where == "tuning.by_task in params.yaml"
    assert "mine" in caught.value.remedy
    (tmp_path / "tasks/minr").mkdir()
    with pytest.raises(StepladderError, match="no such task folder"):
        run_stage("prepare", workspace, "mine")
