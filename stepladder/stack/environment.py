"""What the services of the stack find in their environment, and what a shell needs to speak to them."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from stepladder.stack.database import Database
from stepladder.stack.gateway_key import VARIABLE, gateway_key
from stepladder.stack.health import prefect_api
from stepladder.stack.place import Place
from stepladder.stack.ports import Ports, as_variables
from stepladder.stack.processes import MARK


def environment(place: Place, ports: Ports, database: Database) -> dict[str, str]:
    """The environment of every service: this process's, with the stack's own on top."""
    python = str(Path(sys.executable).parent)
    key = gateway_key(place)
    return {
        **os.environ,
        "PATH": os.pathsep.join([python, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        MARK: str(place.root),
        **addresses(place, ports),
        **as_variables(ports),
        "MLFLOW_BACKEND_STORE_URI": database.mlflow,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.prefect,
        "PREFECT_UI_STATIC_DIRECTORY": str(place.prefect / "page"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The watch asks there.
        "STEPLADDER_GATEWAY_URL": f"http://127.0.0.1:{ports['gateway']}",
        **({VARIABLE: key} if key else {}),
    }


def addresses(place: Place, ports: Ports) -> dict[str, str]:
    """What a client of the stack's servers needs."""
    return {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{ports['mlflow']}",
        "PREFECT_API_URL": prefect_api(ports),
        "PREFECT_HOME": str(place.prefect),
        "PREFECT_LOCAL_STORAGE_PATH": str(place.prefect / "storage"),
        "DO_NOT_TRACK": "1",
    }


def as_shell(variables: dict[str, str]) -> str:
    """The text of a file for `source`."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
