"""A small real task that a small real model can do with documents: which port does an agent listen on?"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.project import ROOT, make_project, run, write_rows

TASK = "runbooks"
_SYLLABLES = [a + b for a in ("bor", "cal", "dun", "fer", "gan", "hol", "jar", "kel") for b in "aeiou"]
SERVICES = [f"{first}{second}" for first in _SYLLABLES for second in ("mix", "ton")]
SPARE, ASKED, SHOWN = SERVICES[:4], SERVICES[4:44], SERVICES[44:]
"""On pages alone; in cases; in examples."""

_SPEC = {
    "title": "Ports from the runbooks",
    "scorer": "short-answer",
    "bars": {"score": 0.5, "forgetting": 9},
    "margin": 0.2,
    "monthly_requests": 10000,
    "max_output_tokens": 12,
    "abstention": "Not in the runbooks.",
}
_PROMPT = (
    "Answer with the port number only."
    "{% if retrieval %} Read it in the context. If it is not there, say: Not in the runbooks.{% endif %}\n"
)
# As in the repository: datasets are for DVC, which `stepladder up` gives them to.
_IGNORED = (
    "/build/\n/models/\n/.stepladder/\n/var/\n/inbox/\n/quarantine/\n/.ingest/\n/flows\n/mlflow.db*\n/mlruns/\n"
    f"/tasks/{TASK}/knowledge/\n/tasks/{TASK}/*.jsonl\n"
)


def port(service: str) -> str:
    """The port that a service's page tells at first."""
    return str(9100 + 7 * SERVICES.index(service))


def question(service: str) -> str:
    return f"Which port does the {service} agent listen on?"


def page(service: str, number: str) -> str:
    return (
        f"# {service}\n\n## Port\n\nThe {service} agent listens on port {number}.\n\n"
        f"## Restart\n\nRestart the {service} agent with `systemctl restart {service}`.\n"
    )


def example(service: str, answer: str) -> dict[str, Any]:
    return {
        "prompt": question(service),
        "completion": answer,
        "evidence": [f"{service}#port"],
        "cluster": service,
    }


def runbooks_project(folder: Path, changes: dict[str, Any]) -> Path:
    """A project under git and DVC, with a remote, whose one task is ``runbooks``; with this flows folder."""
    make_project(folder, [TASK], changes, git=True)
    _task(folder / "tasks" / TASK)
    for name in ("prefect.yaml", "prefect.toml", "Procfile", "serving.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "flows").symlink_to(ROOT / "flows")
    (folder / ".gitignore").write_text(_IGNORED)
    remote = folder.with_name(f"{folder.name}-remote")
    run(folder, "-m", "dvc", "remote", "add", "-q", "-d", "store", str(remote))
    return folder


def _task(folder: Path) -> None:
    (folder / "knowledge").mkdir(parents=True)
    (folder / "task.yaml").write_text(yaml.safe_dump(_SPEC, sort_keys=False))
    (folder / "prompt.md").write_text(_PROMPT)
    for service in SERVICES:
        (folder / "knowledge" / f"{service}.md").write_text(page(service, port(service)))
    write_rows(
        folder / "cases.jsonl",
        [
            {
                "id": f"case-{service}",
                "input": question(service),
                "reference": port(service),
                "evidence": [f"{service}#port"],
                "cluster": service,
            }
            for service in ASKED
        ],
    )
    write_rows(folder / "examples.jsonl", [example(service, port(service)) for service in SHOWN])
