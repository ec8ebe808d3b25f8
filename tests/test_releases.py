"""Releases in MLflow's registry, and which of them are in use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.files import write_json
from stepladder.promotion import standing
from stepladder.prompting.compose import Plan
from stepladder.releases import CHAMPION, Release, files_digest, in_use, newest, register, registered_name
from stepladder.settings import Knowledge


def release(task: str, prompt: str) -> Release:
    return Release(
        task=task,
        plan=Plan(rung="rag", context_tokens=100),
        base="models/base",
        base_digest="b" * 64,
        embedder="e",
        knowledge=Knowledge(),
        task_digest="t",
        prompt_digest=prompt,
        index_version="i",
        adapter_digest=None,
        verdict_digest="v",
    )


def test_where_an_index_lies_is_no_part_of_a_release() -> None:
    here = release("t", "p")
    server = Knowledge(store="http://user:secret@qdrant:6333")
    there = Release.model_validate({**here.model_dump(), "knowledge": server})
    assert there.digest == here.digest
    assert "secret" not in there.model_dump_json()
    assert there.asked_at("http://mine:6333") == Knowledge(store="http://mine:6333")


def registered(folder: Path, task: str, prompt: str) -> Release:
    import mlflow

    made = release(task, prompt)
    path = folder / made.digest[:16]
    write_json(path / "release.json", made.model_dump(mode="json"))
    with mlflow.start_run() as run:
        register(path, made, "because", run.info.run_id)
    return made


def test_the_releases_in_use_are_those_that_an_alias_names(mlflow_store: Path, tmp_path: Path) -> None:
    import mlflow

    assert in_use("aliases") == set()
    first = registered(tmp_path, "aliases", "one")
    mlflow.MlflowClient().set_registered_model_alias(registered_name("aliases"), CHAMPION, "1")
    assert in_use("aliases") == {first.digest}
    registered(tmp_path, "aliases", "two")
    third = registered(tmp_path, "aliases", "three")
    assert in_use("aliases") == {first.digest, third.digest}
    assert registered(tmp_path, "aliases", "one") == first
    assert in_use("aliases") == {first.digest}
    versions = mlflow.MlflowClient().search_model_versions("name = 'stepladder-aliases'")
    assert len(versions) == 3


def test_a_version_that_a_kill_left_without_its_description_gets_it_when_registered_again(
    mlflow_store: Path, tmp_path: Path
) -> None:
    import mlflow

    client, name = mlflow.MlflowClient(), registered_name("killed")
    registered(tmp_path, "killed", "one")
    client.update_model_version(name, "1", description="")
    registered(tmp_path, "killed", "one")
    told = str(client.get_model_version(name, "1").description)
    assert told.startswith("because")
    assert "/artifacts/report.html" in told
    client.update_model_version(name, "1", description="a person's own words")
    registered(tmp_path, "killed", "one")
    assert client.get_model_version(name, "1").description == "a person's own words"


def test_the_newest_release_is_fetched_once_and_fetched_again_when_its_copy_is_gone(
    mlflow_store: Path, tmp_path: Path
) -> None:
    made = registered(tmp_path / "frozen", "fetched", "one")
    for _ in range(2):
        found = newest("fetched", tmp_path / "copies")
        assert (found.release, found.version) == (made, "1")
        assert found.folder == tmp_path / "copies" / made.digest[:16]
    assert [path.name for path in (tmp_path / "copies").iterdir()] == [found.folder.name], "nothing is left"
    assert standing("fetched").versions["1"].files == files_digest(found.folder)
    (found.folder / "release.json").unlink()
    with pytest.raises(StepladderError, match="file not found"):
        newest("fetched", tmp_path / "copies")
    shutil.rmtree(found.folder)
    assert newest("fetched", tmp_path / "copies").release == made
