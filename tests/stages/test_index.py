"""An index that is built again from the same documents changes no file, so that nothing after it is stale."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from stepladder.files import read_json, write_json, write_text
from stepladder.knowledge.manifest import read_manifest
from stepladder.settings import load_settings
from stepladder.stages import index as stage
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Case
from tests.knowledge.conftest import WordEmbedder
from tests.ladder.conftest import SPEC

TASK = "module-qa"
CASES = [Case(id="c", input="Which packages?", reference="debian", evidence=["apt"], cluster="c")]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    task = tmp_path / "tasks" / TASK
    write_text(task / "task.yaml", yaml.safe_dump(SPEC.model_dump(mode="json", exclude_none=True)))
    write_text(task / "prompt.md", "Answer.")
    write_text(task / "cases.jsonl", "".join(one.model_dump_json() + "\n" for one in CASES))
    write_text(task / "examples.jsonl", "")
    write_text(task / "knowledge" / "apt.md", "# apt\n\nInstalls debian packages.")
    embedder = WordEmbedder()
    opened = stage.open_retriever
    monkeypatch.setattr(stage, "load_embedder", lambda _: embedder)
    monkeypatch.setattr(stage, "open_retriever", lambda folder, how, _: opened(folder, how, embedder))
    monkeypatch.setattr(stage, "load_prepared", lambda _: SimpleNamespace(cases=CASES))
    return Workspace(tmp_path, load_settings(Path(__file__).parents[2] / "params.yaml"))


def built(workspace: Workspace) -> dict[str, bytes]:
    """All files that the stage writes into the index's folder, by name."""
    stage.run(workspace, TASK)
    folder = workspace.index(TASK)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_index_stays_as_it_is_with_what_was_measured_of_it(workspace: Workspace) -> None:
    first = built(workspace)
    assert {"manifest.json", "upkeep.json", "version.json"} < set(first)
    assert built(workspace) == first


def test_an_index_that_is_damaged_is_replaced(workspace: Workspace) -> None:
    first = built(workspace)
    shutil.rmtree(workspace.index(TASK) / "edge" / "segments")
    again = built(workspace)
    assert again["version.json"] == first["version.json"]
    with stage.open_retriever(workspace.index(TASK), workspace.settings.knowledge, "") as retriever:
        assert [one.chunk.id for one in retriever.retrieve("debian packages")] == ["apt#"]


def test_another_index_is_measured_anew(workspace: Workspace) -> None:
    first = built(workspace)
    page = workspace.root / "tasks" / TASK / "knowledge" / "apt.md"
    page.write_text("# apt\n\nInstalls debian packages. Removes them too.")
    second = built(workspace)
    assert second["version.json"] != first["version.json"]
    assert second["upkeep.json"] != first["upkeep.json"]


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"hardware": "another machine"}, "upkeep.json"),
        ({"query_ms": 0}, "upkeep.json"),
        ({"pages": "?"}, "manifest.json"),
    ],
)
def test_what_another_machine_measured_or_nobody_did_or_is_damaged_is_measured_here(
    workspace: Workspace, changed: dict[str, object], name: str
) -> None:
    first = built(workspace)
    path = workspace.index(TASK) / name
    write_json(path, {**read_json(path), **changed})
    again = built(workspace)
    assert again["version.json"] == first["version.json"]
    assert again["upkeep.json"] != first["upkeep.json"]
    assert read_manifest(workspace.index(TASK)).pages == 1
