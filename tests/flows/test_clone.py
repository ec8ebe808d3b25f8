"""A throwaway clone has the data of its commit, from the project's cache, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from flows.clone import throwaway
from tests.flows.project import add_example, commit, dvc, make_project, run, state_of


def test_data_that_dvc_holds_is_in_the_clone_and_what_it_makes_is_in_the_projects_cache(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path / "project")
    run(project, "git", "rm", "-q", "--cached", "tasks/tiny/examples.jsonl")
    dvc(project, "add", "-q", "tasks/tiny/examples.jsonl")
    wanted = commit(project, "Give the examples to DVC")
    rows = (project / "tasks/tiny/examples.jsonl").read_bytes()
    before = state_of(project)

    with throwaway(project, project / "var/flows", "one", wanted) as clone:
        assert (clone / "tasks/tiny/examples.jsonl").read_bytes() == rows
        dvc(clone, "repro", "-q")
        made = (clone / "build/trained.txt").read_bytes()
        lock = (clone / "dvc.lock").read_bytes()
        assert (clone / "build/trained.txt").stat().st_nlink == 1, "a link into the cache would corrupt it"
    assert not clone.exists()
    assert state_of(project) == before

    (project / "dvc.lock").write_bytes(lock)
    dvc(project, "checkout", "-q", "train")
    assert (project / "build/trained.txt").read_bytes() == made


def test_a_clone_is_of_its_commit_whatever_the_checkout_holds_since(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    first = run(project, "git", "rev-parse", "HEAD")
    rows = (project / "tasks/tiny/examples.jsonl").read_bytes()
    add_example(project, 1)
    with throwaway(project, project / "var/flows", "one", first) as clone:
        assert (clone / "tasks/tiny/examples.jsonl").read_bytes() == rows
