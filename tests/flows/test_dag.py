"""Stages in order, which are stale, and how one that fails is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.branch import commit_run, push_data, run_name
from flows.clone import is_held, keep_state, sweep, throwaway
from flows.dag import StageError, is_stale, run_stage, stage_environment, stages_in_order
from tests.flows.project import add_example, commit, dvc, make_project, run, state_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("dag") / "project")


def climb(project: Path, name: str, commit_id: str = "HEAD") -> list[str]:
    """What the climb flow does, without Prefect; the stages that ran."""
    ran = []
    with throwaway(project, project / "var/flows", name, commit_id) as clone:
        assert is_held(clone)
        for stage in stages_in_order(clone):
            if is_stale(clone, stage):
                run_stage(clone, stage, print, 60, stage_environment())
                keep_state(clone)
                ran.append(stage)
        assert push_data(clone, 60)
        assert commit_run(clone, name, f"Climb {name}") == commit_run(clone, name, f"Climb {name}")
    assert not clone.exists()
    return ran


def test_a_climb_in_a_clone_runs_what_is_stale_and_is_reproduced_at_a_desk(
    project: Path, tmp_path: Path
) -> None:
    before = state_of(project)
    assert climb(project, "first") == ["gather", "train", "judge"]
    assert climb(project, "again") == []
    shutil.rmtree(project / "var/flows/last")  # as on another machine: the branch says what was made
    assert climb(project, "elsewhere") == []
    assert state_of(project) == before
    old = run(project, "git", "rev-parse", "HEAD")
    add_example(project, 1)
    assert climb(project, "old", old) == []
    assert climb(project, "more") == ["gather", "train", "judge"]

    run(tmp_path, "git", "clone", "-q", str(project), "desk")
    desk = tmp_path / "desk"
    run(desk, "git", "checkout", "-q", "runs/more")
    dvc(desk, "pull")
    told = dvc(desk, "repro")
    assert "Running stage" not in told
    made = (desk / "build/trained.txt").read_bytes()
    lock = (desk / "dvc.lock").read_bytes()
    (desk / "build/trained.txt").unlink()
    assert "Running stage 'train'" in dvc(desk, "repro", "--force", "--single-item", "train")
    assert (desk / "build/trained.txt").read_bytes() == made
    assert (desk / "dvc.lock").read_bytes() == lock


def test_a_climb_that_fails_is_gone_on_with(project: Path) -> None:
    add_example(project, 2)
    (project / "rule.txt").write_text("leak\n")
    commit(project, "Rule: leak")
    with pytest.raises(StageError, match="a case stands in the examples"):
        climb(project, "failing")
    (project / "rule.txt").write_text("work\n")
    commit(project, "Rule: work")
    assert climb(project, "mended") == ["train", "judge"]


def test_a_clone_of_a_climb_that_was_killed_is_swept(project: Path) -> None:
    climbs = project / "var/flows/climbs"
    (climbs / "dead").mkdir(parents=True)
    (climbs / "dead.lock").touch()
    with throwaway(project, project / "var/flows", "alive", "HEAD") as clone:
        assert not (climbs / "dead").exists()
        sweep(climbs)
        assert clone.is_dir()


@pytest.mark.parametrize(
    ("rule", "may_pass", "told"),
    [
        ("leak", False, "a case stands in the examples"),
        ("passes after {mark}", True, "the engine is away"),
    ],
)
def test_a_stage_that_fails_says_why_and_whether_it_may_pass(
    *, project: Path, tmp_path: Path, rule: str, may_pass: bool, told: str
) -> None:
    (project / "rule.txt").write_text(rule.format(mark=tmp_path / "mark"))
    commit(project, f"Rule: {rule}")
    with throwaway(project, project / "var/flows", f"failing-{tmp_path.name}", "HEAD") as clone:
        if is_stale(clone, "gather"):
            run_stage(clone, "gather", print, 60, stage_environment())
        with pytest.raises(StageError, match=told) as caught:
            run_stage(clone, "train", print, 60, stage_environment())
    assert caught.value.may_pass == may_pass
    assert caught.value.where == "train"


def test_a_run_is_named_by_time_and_commit() -> None:
    from datetime import UTC, datetime

    assert run_name(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "abcdef0123") == "20260102-030405-abcdef0"
