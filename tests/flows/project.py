"""A project under git and DVC with a small DAG, gather -> train -> judge, that climbs in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

_SIZE = {"cases": 2, "dev_rows": 2, "train_tokens": 100, "context_tokens": 100}
PARAMS: dict[str, Any] = {
    "tasks": ["tiny"],
    "models": {"base": "models/b", "embedder": "e"},
    "cost": {"engine_per_hour": 1, "training_per_hour": 1, "adapter_life_months": 1},
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
    "ingest": {"settle_s": 0.5},
    "flows": {"retry_after_s": 0.5},
    "sizes": {"cpu": _SIZE, "gpu": _SIZE},
}
TASK = {"title": "T", "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.05, "monthly_requests": 10}

# Each stage tells what it does and joins what it depends on. `train` waits, and ticks, while the file of
# TRAIN_WAITS_FOR exists; it does what its file `train.rule` says.
WORK = """
import json, os, sys, time
from pathlib import Path

name, out, *sources = sys.argv[1:]
print(f"{name}: reading {len(sources)} files")
rule = Path("rule.txt").read_text().strip()
hold = os.environ.get("TRAIN_WAITS_FOR")
if name == "train" and hold:
    while Path(hold).exists():
        with open(hold + ".ticks", "a") as ticks:
            ticks.write(f"{os.getpid()}\\n")
        time.sleep(0.05)
time.sleep(float(os.environ.get("STAGE_SECONDS", "0")))
if name == "train" and rule == "leak":
    print("error: a case stands in the examples", file=sys.stderr)
    sys.exit(1)
if name == "train" and rule.startswith("passes after "):
    mark = Path(rule.removeprefix("passes after "))
    if not mark.exists():
        mark.touch()
        print("error: the engine is away", file=sys.stderr)
        sys.exit(75)
Path(out).parent.mkdir(parents=True, exist_ok=True)
made = name + ":" + "".join(Path(one).read_text() for one in sources)
Path(out).write_text(json.dumps({"letters": len(made)}) if out.endswith(".json") else made)
print(f"{name}: wrote {out}")
"""
DVC: dict[str, Any] = {
    "stages": {
        "gather": {
            "cmd": "python work.py gather build/gathered.txt tasks/tiny/examples.jsonl",
            "deps": ["tasks/tiny/examples.jsonl"],
            "outs": [{"build/gathered.txt": {"persist": True}}],
        },
        "train": {
            "cmd": "python work.py train build/trained.txt build/gathered.txt",
            "deps": ["build/gathered.txt", "rule.txt"],
            "outs": [{"build/trained.txt": {"persist": True}}],
        },
        "judge": {
            "cmd": "python work.py judge build/judged.json build/trained.txt",
            "deps": ["build/trained.txt"],
            "metrics": [{"build/judged.json": {"cache": False, "persist": True}}],
        },
    }
}
IGNORED = "/build/\n/models/\n/.stepladder/\n/var/\n/inbox/\n/quarantine/\n/.ingest/\n/mlflow.db*\n"


def make_project(folder: Path) -> Path:
    """The project, committed, with a DVC remote beside it."""
    (folder / "tasks" / "tiny").mkdir(parents=True)
    (folder / "models" / "b").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (folder / "dvc.yaml").write_text(yaml.safe_dump(DVC, sort_keys=False))
    (folder / "work.py").write_text(WORK)
    (folder / "rule.txt").write_text("work\n")
    (folder / ".gitignore").write_text(IGNORED)
    (folder / "tasks/tiny/task.yaml").write_text(yaml.safe_dump(TASK))
    (folder / "tasks/tiny/prompt.md").write_text("Answer.\n")
    (folder / "tasks/tiny/cases.jsonl").write_text(
        "".join(
            json.dumps(
                {"id": f"c{n}", "input": f"Who signed {n}?", "reference": f"K {n}", "cluster": f"l{n}"}
            )
            + "\n"
            for n in range(4)
        )
    )
    (folder / "tasks/tiny/examples.jsonl").write_text(row(0))
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    remote = folder.with_name(f"{folder.name}-remote")
    run(folder, sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", str(remote))
    commit(folder, "Begin")
    return folder


def row(number: int) -> str:
    """A labelled example, as a line."""
    return (
        json.dumps({"id": f"e{number}", "prompt": f"Where is {number}?", "completion": f"On {number}."})
        + "\n"
    )


def commit(folder: Path, message: str) -> str:
    """Commit everything; the commit's id."""
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-q", "-m", message)
    return run(folder, "git", "rev-parse", "HEAD")


def add_example(folder: Path, number: int) -> str:
    """One more example, committed."""
    with (folder / "tasks/tiny/examples.jsonl").open("a") as rows:
        rows.write(row(number))
    return commit(folder, f"Add example {number}")


def run(folder: Path, *command: str) -> str:
    """The output of a command."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str) -> str:
    """The output of a dvc command."""
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def state_of(folder: Path) -> dict[str, bytes]:
    """All of a checkout that someone may care for, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", "var", ".dvc", ".stepladder"} & set(path.relative_to(folder).parts)
    }


def wait_until(true: Callable[[], Any], timeout_s: float = 60, what: str = "", every_s: float = 0.1) -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or true}"
        time.sleep(every_s)
    return found
