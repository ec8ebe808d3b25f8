"""Failures that libraries word in their own ways become one clear error; bugs stay what they are."""

from __future__ import annotations

import errno
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from stepladder.errors import StepladderError
from stepladder.failures import explained
from stepladder.files import writing
from stepladder.releases import use_mlflow
from stepladder.settings import Mlflow


def told(failure: Callable[[], object]) -> StepladderError:
    with pytest.raises(StepladderError) as caught, explained():
        failure()
    return caught.value


@pytest.fixture
def short_files() -> Iterator[None]:
    """Files of this process may not grow over 200,000 bytes: the system refuses, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_weights_that_do_not_fit_on_the_disk(tmp_path: Path, short_files: None) -> None:
    import torch
    from safetensors.torch import save_file

    out = tmp_path / "adapter"
    out.mkdir()
    (out / "old").write_text("kept")

    def save() -> None:
        with writing(out) as draft:
            draft.mkdir()
            save_file({"a": torch.zeros(100_000)}, draft / "a.safetensors")

    error = told(save)
    assert error.what.startswith("the disk is full")
    assert "free some disk space" in error.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    assert (out / "old").read_text() == "kept"


def test_an_index_that_does_not_fit_on_the_disk(tmp_path: Path, short_files: None) -> None:
    from stepladder.knowledge.edge import create_edge

    assert told(lambda: create_edge(tmp_path / "edge", 64)).what.startswith("the disk is full")


def test_a_database_that_does_not_fit_on_the_disk(tmp_path: Path) -> None:
    import sqlalchemy

    def fill() -> None:
        with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection:
            connection.execute(sqlalchemy.text("PRAGMA max_page_count = 4"))
            connection.execute(sqlalchemy.text("CREATE TABLE t (a TEXT)"))
            for _ in range(10):
                connection.execute(sqlalchemy.text("INSERT INTO t VALUES (:a)"), {"a": "x" * 4000})

    error = told(fill)
    assert error.what.startswith("the disk is full: (sqlite3.OperationalError) database or disk is full")
    assert "INSERT" not in error.what


def test_a_full_disk_that_lies_below_another_error() -> None:
    def fail() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("could not save") from error

    assert told(fail).what == "the disk is full: could not save"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_folder_that_cannot_be_copied_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    for folder in (source, target):
        folder.mkdir()
    (source / "a").write_text("x" * 100_000)
    (target / "a").symlink_to("/dev/full")
    error = told(lambda: shutil.copytree(source, target, dirs_exist_ok=True))
    assert error.what.startswith("the disk is full: [Errno 28] No space left on device")


def test_a_damaged_file_of_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    (tmp_path / "a.safetensors").write_bytes(b"\x00" * 40)
    assert "weights is damaged" in told(lambda: load_file(tmp_path / "a.safetensors")).what


def test_an_id_that_the_hub_cannot_have() -> None:
    from transformers import AutoModelForCausalLM

    error = told(lambda: AutoModelForCausalLM.from_pretrained("no such id!"))
    assert error.what.startswith("the model hub did not give a model: Repo id must use")
    assert "check the id" in error.remedy


def test_an_mlflow_server_that_is_down(monkeypatch: pytest.MonkeyPatch, keep_mlflow: ModuleType) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    error = told(lambda: use_mlflow(Mlflow(tracking_uri="http://u:secret@127.0.0.1:9")))
    assert "store cannot be used" in error.what
    assert error.where == "http://127.0.0.1:9"
    assert "MLFLOW_TRACKING_URI" in error.remedy
    gone = told(lambda: keep_mlflow.MlflowClient("http://127.0.0.1:9").search_experiments())
    assert gone.what.startswith("MLflow did not do it")


@pytest.mark.parametrize("uri", ["foo://bar", "postgresql+nodriver://u@127.0.0.1:9/db"])
def test_an_address_that_is_no_mlflow_store(uri: str, keep_mlflow: ModuleType) -> None:
    assert "store cannot be used" in told(lambda: use_mlflow(Mlflow(tracking_uri=uri))).what


def test_a_file_that_is_no_database(tmp_path: Path, keep_mlflow: ModuleType) -> None:
    (tmp_path / "a.db").write_text("not a database" * 100)
    error = told(lambda: use_mlflow(Mlflow(tracking_uri=f"sqlite:///{tmp_path}/a.db")))
    assert "file is not a database" in error.what


@pytest.fixture
def keep_mlflow() -> Iterator[ModuleType]:
    """MLflow, its tracking store put back afterwards."""
    import mlflow

    before = mlflow.get_tracking_uri()
    yield mlflow
    mlflow.set_tracking_uri(before)


def test_a_file_that_may_not_be_read() -> None:
    def fail() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/file")

    error = told(fail)
    assert error.where == "/some/file"
    assert "Permission denied" in error.what


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("a"), sqlite3.OperationalError("no such table")])
def test_a_bug_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), explained():
        raise error


def test_an_error_that_says_what_to_do_is_left_alone() -> None:
    error = StepladderError("disk is full", remedy="buy one")
    with pytest.raises(StepladderError) as caught, explained():
        raise error
    assert caught.value is error
