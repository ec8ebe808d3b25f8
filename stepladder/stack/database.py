"""Where MLflow and Prefect keep their records: Postgres where it is installed, else SQLite."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from stepladder.errors import StepladderError
from stepladder.stack import postgres
from stepladder.stack.place import Place

CHOICE = "STEPLADDER_DATABASE"


@dataclass(frozen=True)
class Database:
    """The addresses of both databases, with a password where there is one, and ``why`` it is not Postgres."""

    kind: Literal["postgres", "sqlite"]
    mlflow: str
    prefect: str
    why: str = ""


def may_be_postgres() -> bool:
    """Whether Postgres is installed and not chosen against; `up` also looks whether it may run here."""
    return os.environ.get(CHOICE) != "sqlite" and postgres.program("initdb") is not None


def why_no_postgres(place: Place) -> str:
    """Why it is SQLite; empty where it is Postgres. ``STEPLADDER_DATABASE`` chooses by name.

    Raises:
        StepladderError: Postgres was asked for and cannot be used.
    """
    choice = os.environ.get(CHOICE, "")
    if choice not in {"", "postgres", "sqlite"}:
        raise StepladderError(f"{choice!r} is no database", where=CHOICE, remedy="give postgres or sqlite")
    why = f"{CHOICE} says so" if choice == "sqlite" else postgres.obstacle(place)
    if why and choice == "postgres":
        raise StepladderError(
            f"Postgres cannot be used: {why}", where=CHOICE, remedy="install it, or say sqlite"
        )
    return why


def start_database(place: Place, port: int, why: str) -> Database:
    """Start Postgres unless there is a reason why not, and tell the addresses.

    Raises:
        StepladderError: it cannot be started.
    """
    return _sqlite(place, why) if why else _postgres(place, port)


def _postgres(place: Place, port: int) -> Database:
    postgres.start(place, port)
    login = f"{postgres.USER}:{postgres.password(place)}@127.0.0.1:{port}"
    return Database(
        "postgres", f"postgresql+psycopg2://{login}/mlflow", f"postgresql+asyncpg://{login}/prefect"
    )


def _sqlite(place: Place, why: str) -> Database:
    # MLflow's is the file that climbs write to without a server.
    return Database(
        "sqlite",
        f"sqlite:///{place.root}/mlflow.db",
        f"sqlite+aiosqlite:///{place.prefect}/prefect.db",
        why,
    )
