"""A small project under git and DVC, with a task, a DVC remote and an inbox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.data.ingest.run import Ingested, ingest
from stepladder.data.ingest.screen import Finders
from stepladder.settings import Settings, load_settings

Rows = list[dict[str, Any]]

_SIZE = {"cases": 2, "dev_rows": 2, "train_tokens": 100, "context_tokens": 100}
PARAMS: dict[str, Any] = {
    "tasks": ["tiny"],
    "models": {"base": "b", "embedder": "e"},
    "cost": {"engine_per_hour": 1, "training_per_hour": 1, "adapter_life_months": 1},
    "mlflow": {"tracking_uri": "sqlite:///x.db"},
    "sizes": {"cpu": _SIZE, "gpu": _SIZE},
}
TASK = {"title": "T", "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.05, "monthly_requests": 10}

_WORDS = ("amber", "birch", "coral", "delta", "ember", "fjord", "grove", "heath", "inlet", "jetty", "knoll")

# Long enough that a word more leaves it nearly the same.
LONG = " ".join(f"On watch {n} the {_WORDS[n % 11]} lamp burned low past hour {n * n}" for n in range(12))

# What is sent in tests was written long before: it is settled.
_WRITTEN = 1_000_000_000


def question(number: int) -> str:
    """A question like no other."""
    chosen = [_WORDS[(number * step) % len(_WORDS)] for step in (1, 3, 5)]
    return f"Where does entry {number} of the {' '.join(chosen)} register stand?"


def example(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"e{number}", "prompt": question(number), "completion": f"On shelf {number}."} | more


def case(number: int, **more: Any) -> dict[str, Any]:
    asked = f"Which keeper signed ledger {number} in the {number * 7} th harbour?"
    row = {"id": f"c{number}", "input": asked, "reference": f"Keeper {number}", "cluster": f"ledger {number}"}
    return row | more


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


class Project:
    """The project's folder, and what tests do with it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sent = 0

    @property
    def settings(self) -> Settings:
        return load_settings(self.root / "params.yaml")

    def send(self, name: str, content: Rows | str | bytes) -> None:
        """Put a file into the inbox, each a second younger than the one before."""
        path = self.root / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self._sent += 1
        os.utime(path, (_WRITTEN + self._sent, _WRITTEN + self._sent))

    def ingest(self) -> Ingested:
        return ingest(self.root, self.settings)

    def ids(self, kind: str = "examples") -> list[str]:
        text = (self.root / "tasks/tiny" / f"{kind}.jsonl").read_text()
        return [json.loads(line)["id"] for line in text.splitlines()]

    def set(self, **ingest_parameters: Any) -> None:
        params = yaml.safe_load((self.root / "params.yaml").read_text())
        params["ingest"] = params.get("ingest", {}) | ingest_parameters
        (self.root / "params.yaml").write_text(yaml.safe_dump(params))


def make_project(root: Path) -> None:
    """A project with a task, under git; nothing is in DVC yet."""
    task = root / "tasks/tiny"
    (task / "knowledge").mkdir(parents=True)
    (root / ".dvc").mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / ".gitignore").write_text("/inbox/\n/quarantine/\n/.ingest/\n/.stepladder/\n/build/\n")
    (task / "task.yaml").write_text(yaml.safe_dump(TASK))
    (task / "prompt.md").write_text("Answer.\n")
    (task / "cases.jsonl").write_text("".join(json.dumps(case(n)) + "\n" for n in range(3)))
    (task / "examples.jsonl").write_text("".join(json.dumps(example(n)) + "\n" for n in range(5)))
    (task / "knowledge/harbour.md").write_text("# Harbour\n\n## Tides\n\nTwice a day.\n")
    run(root, "git", "init", "-q", "-b", "main")


def commit_all(root: Path) -> None:
    run(root, "git", "add", ".")
    run(root, "git", "-c", "user.name=T", "-c", "user.email=t@t", "commit", "-q", "-m", "Begin")


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its DVC remote, made once."""
    root = tmp_path_factory.mktemp("template") / "project"
    make_project(root)
    for command in (
        ("init", "-q", "-f"),
        ("config", "core.analytics", "false"),
        ("remote", "add", "-q", "-d", "store", "../store"),
        ("add", "-q", "tasks/tiny/examples.jsonl", "tasks/tiny/knowledge"),
        ("push", "-q"),
    ):
        run(root, sys.executable, "-m", "dvc", *command)
    commit_all(root)
    return root


@pytest.fixture(autouse=True)
def _no_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "QDRANT_URL", "STEPLADDER_ENGINE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(_template: Path, tmp_path: Path) -> Project:
    """A copy of the project with its DVC remote: real git, DVC and Great Expectations."""
    shutil.copytree(_template.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Project(tmp_path / "project")


def without_checks(patch: pytest.MonkeyPatch) -> None:
    """Let every row pass, and give nothing to DVC: what is tested is the rest, and it is fast."""
    passing = Finders(secret=lambda _: None, personal=lambda _: None, language=lambda _: None)
    for user in ("plan", "screen"):
        patch.setattr(f"stepladder.data.ingest.{user}.finders", lambda _: passing)
    patch.setattr("stepladder.data.ingest.row_plans.run_suites", lambda *_: [])
    patch.setattr("stepladder.data.ingest.pages.run_suites", lambda *_: [])
    patch.setattr("stepladder.data.ingest.versions.store", lambda *_: None)


@pytest.fixture
def plain_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project without checks and without DVC: all files are git's."""
    make_project(tmp_path / "project")
    commit_all(tmp_path / "project")
    without_checks(monkeypatch)
    return Project(tmp_path / "project")
