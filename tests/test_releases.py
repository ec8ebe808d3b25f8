"""Releases in a real registry: found by alias, refused when they are not what was registered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.files import write_json
from stepladder.prompting.compose import Plan
from stepladder.releases import CHALLENGER, CHAMPION, Release, register, registered_name, use_mlflow, with_alias
from stepladder.settings import Knowledge, Mlflow

pytestmark = pytest.mark.slow


def release(base: str = "b") -> Release:
    return Release(
        task="demo",
        plan=Plan(rung="prompt", context_tokens=10),
        base="base",
        base_digest=base,
        embedder="e",
        knowledge=Knowledge(),
        task_digest="t",
        prompt_digest="p",
        index_version=None,
        adapter_digest=None,
        verdict_digest="v",
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An MLflow store in a folder, with one registered release, and a scratch folder for copies."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    use_mlflow(Mlflow(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"))
    write_json(tmp_path / "frozen" / "release.json", release().model_dump(mode="json"))
    with mlflow.start_run() as run:
        register(tmp_path / "frozen", release(), "It won.", run.info.run_id)
    yield tmp_path / "scratch"
    mlflow.set_tracking_uri(before)


def test_a_release_is_found_by_its_alias_and_by_no_other(store: Path) -> None:
    import mlflow

    found = with_alias("demo", CHALLENGER, store)
    assert found
    assert (found.release, found.version) == (release(), "1")
    assert with_alias("demo", CHAMPION, store) is None
    assert with_alias("nobody", CHAMPION, store) is None

    mlflow.MlflowClient().set_registered_model_alias(registered_name("demo"), CHAMPION, "1")
    assert with_alias("demo", CHAMPION, store) == found


def test_a_copy_that_was_changed_is_refused(store: Path) -> None:
    found = with_alias("demo", CHALLENGER, store)
    assert found
    write_json(found.folder / "release.json", release(base="other").model_dump(mode="json"))
    with pytest.raises(StepladderError, match="not the one that was registered"):
        with_alias("demo", CHALLENGER, store)
