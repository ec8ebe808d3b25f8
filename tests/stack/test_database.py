"""Postgres where it can be, SQLite otherwise, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.stack import postgres
from stepladder.stack.database import CHOICE, may_be_postgres, start_database, why_no_postgres
from stepladder.stack.place import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv(CHOICE, raising=False)
    return Place(tmp_path)


def test_without_postgres_both_are_sqlite_files_of_the_project(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "program", lambda _: None)
    found = start_database(place, 1, why_no_postgres(place))
    assert (found.kind, found.why) == ("sqlite", "Postgres is not installed")
    assert found.mlflow == f"sqlite:///{place.root}/mlflow.db"
    monkeypatch.setenv(CHOICE, "postgres")
    with pytest.raises(StepladderError, match="not installed"):
        why_no_postgres(place)


def test_root_without_another_user_falls_back_and_says_why(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "program", lambda name: name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres, "_ACCOUNT", "no-such-user-here")
    assert "no user 'no-such-user-here'" in why_no_postgres(place)


def test_the_environment_chooses(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "sqlite")
    assert start_database(place, 1, why_no_postgres(place)).kind == "sqlite"
    assert not may_be_postgres()
    monkeypatch.setenv(CHOICE, "oracle")
    with pytest.raises(StepladderError, match="oracle"):
        why_no_postgres(place)


def test_postgres_addresses_carry_the_password_and_the_loopback(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "obstacle", lambda _: "")
    monkeypatch.setattr(postgres, "start", lambda *_: None)
    place.postgres.mkdir(parents=True)
    (place.postgres / "password").write_text("secret\n")
    found = start_database(place, 5433, "")
    assert found.mlflow == "postgresql+psycopg2://stepladder:secret@127.0.0.1:5433/mlflow"
    assert found.prefect == "postgresql+asyncpg://stepladder:secret@127.0.0.1:5433/prefect"


def test_a_database_whose_programs_are_gone_does_not_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.postgres / "data").mkdir(parents=True)
    monkeypatch.setattr(postgres, "program", lambda _: None)
    assert not postgres.is_running(place)
    assert not postgres.stop(place)
