"""Copies of models and releases are kept while something needs them, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.files import write_json
from stepladder.settings import load_settings
from stepladder.stages import prune as module
from stepladder.stages.prune import keep_only, prune
from stepladder.stages.workspace import Workspace
from tests.knowledge.test_upkeep import manifest
from tests.test_releases import release

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    settings = load_settings(ROOT / "params.yaml").model_copy(update={"tasks": ["qa"]})
    return Workspace(tmp_path, settings)


def add_merged(workspace: Workspace, adapter: str) -> str:
    folder = workspace.merged / f"{adapter[:16]}-float32"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"0" * 3_000_000)
    return folder.name


def add_release(workspace: Workspace, prompt: str, adapter: str | None) -> str:
    made = release("qa", prompt).model_copy(update={"adapter_digest": adapter})
    write_json(workspace.releases / made.digest[:16] / "release.json", made.model_dump(mode="json"))
    return made.digest


def add_build(workspace: Workspace, adapter: str) -> None:
    result = {
        "rows": 1,
        "steps": 1,
        "tokens": 1,
        "seconds": 1,
        "tokens_per_s": 1,
        "losses": [1],
        "final_loss": 1,
    }
    write_json(
        workspace.tuned("qa") / "training.json",
        {
            "adapter_digest": adapter,
            "base_digest": "b",
            "estimate": {"tokens": 1, "seconds": 1, "cost": 0, "tokens_per_s": 1},
            "result": {**result, "resumed_from": None},
            "forgetting": {"before": 1, "after": 1, "relative_rise": 0, "items": 1},
            "dropped": {},
        },
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_the_build_or_an_aliased_release_needs_stays(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built, released, old = "b" * 64, "r" * 64, "o" * 64
    kept = {add_merged(workspace, built), add_merged(workspace, released)}
    add_merged(workspace, old)
    (workspace.merged / ".half-written").mkdir()
    add_build(workspace, built)
    champion = add_release(workspace, "one", released)
    add_release(workspace, "two", old)
    monkeypatch.setattr(module, "in_use", lambda name: {champion} if name == "qa" else set())

    prune(workspace)

    assert names(workspace.releases) == {champion[:16]}
    assert names(workspace.merged) == kept | {".half-written"}
    said = capsys.readouterr().err
    assert "pruned releases: 1 that nothing needs any more" in said
    assert "pruned merged models: 1 that nothing needs any more, 3 MB" in said


def test_a_machine_that_only_serves_keeps_what_the_releases_in_use_need(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, old = "r" * 64, "o" * 64
    merged = add_merged(workspace, adapter)
    add_merged(workspace, old)
    champion = add_release(workspace, "one", adapter)
    add_release(workspace, "two", old)
    for model in ("b" * 16, "e" * 16, "x" * 16):
        write_json(workspace.model_copies / model / "config.json", {})
    written = manifest(1, 1.0).model_dump(mode="json")
    written["embedder"]["digest"] = "e" * 64
    write_json(workspace.releases / champion[:16] / "index/manifest.json", written)

    keep_only(workspace, {champion})

    assert names(workspace.releases) == {champion[:16]}
    assert names(workspace.merged) == {merged}
    assert names(workspace.model_copies) == {"b" * 16, "e" * 16}
    assert "pruned models: 1 that nothing needs any more" in capsys.readouterr().err


def test_there_is_nothing_to_prune_in_a_fresh_project(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "in_use", lambda _: set())
    prune(workspace)
    assert capsys.readouterr().err == ""
