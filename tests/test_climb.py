"""What a climb refuses before it runs anything: models of the same name whose files changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stepladder.climb import climb
from stepladder.errors import StepladderError
from stepladder.files import digest_folder, write_json, write_jsonl
from stepladder.knowledge.manifest import EmbedderRecord, Manifest, Parameters, Timings, read_manifest
from stepladder.stages.workspace import Workspace, open_workspace, save
from tests.end_to_end.project import ROOT
from tests.ladder.conftest import SPEC

TASKS = ["runbooks", "manuals"]


class ReproducedError(Exception):
    """The climb went on."""


@pytest.fixture
def embedder(tmp_path: Path) -> Path:
    folder = tmp_path / "embedder"
    write_json(folder / "config.json", {"version": 1})
    return folder


@pytest.fixture
def workspace(tmp_path: Path, embedder: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two tasks with an index each, built with the embedder as it is."""

    def reproduce(*_: object, **__: object) -> None:
        raise ReproducedError

    monkeypatch.setattr("stepladder.climb.reproduce", reproduce)
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    parameters["models"]["embedder"] = str(embedder)
    for column in parameters["sizes"].values():
        column["train_tokens_of"] = {}  # of the samples, which are not there
    parameters["tuning"]["by_task"] = {}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**parameters, "tasks": TASKS}))
    made = open_workspace(tmp_path)
    for name in TASKS:
        write_task(tmp_path / "tasks" / name)
        save(made.index(name) / "manifest.json", manifest(name, embedder))
    return made


def write_task(folder: Path) -> None:
    (folder / "knowledge").mkdir(parents=True)
    (folder / "task.yaml").write_text(
        yaml.safe_dump({**SPEC.model_dump(mode="json"), "abstention": "Not there."})
    )
    (folder / "prompt.md").write_text("Answer.")
    (folder / "examples.jsonl").write_text("")
    write_jsonl(folder / "cases.jsonl", [{"id": "c", "input": "q", "reference": "a", "cluster": "p"}])


def manifest(task: str, embedder: Path) -> Manifest:
    return Manifest(
        task=task,
        version="v",
        store="edge",
        pages=1,
        chunks=1,
        embedder=EmbedderRecord(name=str(embedder), digest=digest_folder(embedder), dimension=3),
        parameters=Parameters(chunk_tokens=16, bm25_k1=1.2, bm25_b=0.75, average_terms=1),
        timings=Timings(embedded=1, embed_s=0, index_s=0),
    )


def goes_on(workspace: Workspace, *, force: bool = False) -> None:
    with pytest.raises(ReproducedError):
        climb(workspace, force=force, as_json=False)


def test_with_the_embedder_that_the_indexes_were_built_with_it_goes_on(workspace: Workspace) -> None:
    goes_on(workspace)


def test_other_files_of_the_embedder_are_seen(workspace: Workspace, embedder: Path) -> None:
    write_json(embedder / "config.json", {"version": 2})
    with pytest.raises(StepladderError, match="the index of runbooks and manuals was built with") as caught:
        climb(workspace, force=False, as_json=False)
    assert caught.value.where == str(embedder)
    assert "`dvc repro --force --single-item index@runbooks index@manuals`" in caught.value.remedy
    goes_on(workspace, force=True)


def test_an_index_that_was_built_again_is_not_named(workspace: Workspace, embedder: Path) -> None:
    write_json(embedder / "config.json", {"version": 2})
    save(workspace.index("runbooks") / "manifest.json", manifest("runbooks", embedder))
    with pytest.raises(StepladderError, match="the index of manuals was built with"):
        climb(workspace, force=False, as_json=False)


def test_what_dvc_sees_by_itself_is_left_to_it(workspace: Workspace, embedder: Path) -> None:
    """An embedder of another name, no index yet, a damaged one, a task that has no documents any more."""
    write_json(embedder / "config.json", {"version": 2})
    path = workspace.index("runbooks") / "manifest.json"
    for change in (
        lambda: write_json(path, {}),
        path.unlink,
        lambda: save(path, manifest("runbooks", workspace.root / "tasks")),
    ):
        change()
        (workspace.root / "tasks/manuals/knowledge").rename(workspace.root / "elsewhere")
        goes_on(workspace)
        (workspace.root / "elsewhere").rename(workspace.root / "tasks/manuals/knowledge")


def test_a_manifest_of_another_form_says_how_to_build_it_again(workspace: Workspace) -> None:
    folder = workspace.index("runbooks")
    write_json(folder / "manifest.json", {})
    with pytest.raises(StepladderError) as caught:
        read_manifest(folder)
    assert "`dvc repro --force --single-item index@TASK`" in caught.value.remedy


def test_the_guard_loads_nothing_heavy(workspace: Workspace) -> None:
    """An idle climb takes seconds: the embedder is told by its files."""
    code = (
        "import sys, pathlib\n"
        "from stepladder.climb import _refuse_changed_embedder\n"
        "from stepladder.stages.workspace import open_workspace\n"
        f"_refuse_changed_embedder(open_workspace(pathlib.Path(sys.argv[1])), {TASKS!r})\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(workspace.root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "[]"
