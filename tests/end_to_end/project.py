"""A small project in a folder of its own: parameters, DAG and one task, ready for `stepladder climb`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def make_project(folder: Path, tasks: list[str], changes: dict[str, Any], *, git: bool = False) -> Path:
    """``params.yaml`` with ``changes`` merged in, ``dvc.yaml``, and DVC, under git or without."""
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    for column in parameters["sizes"].values():
        column["train_tokens_of"] = {}  # of the samples, which are not there
    parameters["tuning"]["by_task"] = {}
    _merge(parameters, {"tasks": tasks, **changes})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    if git:
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
    run(folder, "-m", "dvc", "init", "-q", *([] if git else ["--no-scm"]))
    return folder


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON value a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run this Python with arguments in the project's folder."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "COLUMNS": "160",
    }
    for name in ("MLFLOW_TRACKING_URI", "QDRANT_URL", "STEPLADDER_ENGINE_URL"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if check:
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def stepladder(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's folder."""
    return run(folder, "-m", "stepladder", *arguments, check=check)
