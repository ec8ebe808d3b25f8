"""A small task folder with knowledge, to be spoilt by each test in its own way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.settings import Settings
from stepladder.tasks import Task, load_task

Rows = list[dict[str, Any]]

SPEC = {"title": "T", "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.05, "monthly_requests": 10}


@pytest.fixture
def cases() -> Rows:
    return [
        {"id": f"c{n}", "input": f"What is held {n}?", "reference": "a", "cluster": f"held{n}"}
        | {"evidence": ["copy#options/mode"], "slice": "xy"[n % 2]}
        for n in range(4)
    ]


@pytest.fixture
def examples() -> Rows:
    return [
        {"id": f"e{n}", "prompt": f"What is known {n}?", "completion": "a", "cluster": f"known{n}"}
        | {"evidence": ["copy"], "slice": "xy"[n % 2]}
        for n in range(10)
    ]


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    """Write a task folder and load it; rows may be given as lines of text."""

    def make(
        cases: Rows | str, examples: Rows | str, pages: dict[str, str] | None = None, **spec: Any
    ) -> Task:
        folder = tmp_path / "tasks" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "task.yaml").write_text(yaml.safe_dump(SPEC | spec))
        (folder / "prompt.md").write_text("Answer.\n")
        for name, rows in {"cases": cases, "examples": examples}.items():
            text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(text)
        pages = {"copy": "# copy\n\n## Options\n\n### mode\n\nBits.\n"} if pages is None else pages
        for page, text in pages.items():
            path = folder / "knowledge" / f"{page}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return load_task(folder)

    return make


@pytest.fixture
def settings() -> Settings:
    size = {"cases": 2, "dev_rows": 2, "train_tokens": 100, "context_tokens": 100}
    return Settings.model_validate(
        {
            "tasks": ["tiny"],
            "models": {"base": "b", "embedder": "e"},
            "cost": {"engine_per_hour": 1, "training_per_hour": 1, "adapter_life_months": 1},
            "mlflow": {"tracking_uri": "sqlite:///x.db"},
            "sizes": {"cpu": size, "gpu": size},
        }
    )
