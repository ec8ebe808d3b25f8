"""The loop, for real and unattended: a file is dropped, and the gateway answers otherwise.

Everything is real: MLflow, Prefect with a worker, DVC with a remote, vLLM under the climb and under the
gateway. Only the task is small. After the stack is up, files are put into the inbox and nothing else is done.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepladder.files import digest_folder
from stepladder.models import PACKAGED_BASE
from stepladder.settings import load_settings
from tests.end_to_end.project import ROOT
from tests.end_to_end.runbooks import (
    SERVICES,
    SHOWN,
    SPARE,
    TASK,
    example,
    page,
    port,
    question,
    runbooks_project,
)
from tests.flows.project import wait_until
from tests.stack.project import SERVERS, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

NEW_PORT = "9871"  # of the kind that the others are: so small a model copies no stranger one surely
_PATIENCE_S = 900.0  # for a climb and a promotion on two busy cores
_LOOK_EVERY_S = 4.0  # to ask the gateway takes a core from the climb


@dataclass
class Stack:
    """A project whose stack runs."""

    root: Path
    environment: dict[str, str]
    key: str = ""

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def stepladder(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "stepladder", *arguments)

    def ask(self, service: str) -> dict[str, Any] | None:
        """The gateway's answer about a service; None while no champion answers."""
        answer = httpx.post(
            f"http://127.0.0.1:{self.environment['STEPLADDER_GATEWAY_PORT']}/v1/chat/completions",
            json={"model": TASK, "messages": [{"role": "user", "content": question(service)}]},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=120,
        )
        return answer.json() if answer.is_success else None

    def answer(self, service: str) -> str:
        said = self.ask(service)
        return said["choices"][0]["message"]["content"] if said else ""

    def drop(self, name: str, text: str) -> None:
        """Put a file into the task's inbox, whole."""
        path = self.root / "inbox" / TASK / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}")
        draft.write_text(text)
        draft.rename(path)

    def states(self, deployment: str | None = None) -> list[str]:
        """States of the runs that began, of a deployment or of all, oldest first."""
        port = self.environment["STEPLADDER_PREFECT_PORT"]
        found = httpx.post(
            f"http://127.0.0.1:{port}/api/flow_runs/filter",
            json={"deployments": {"name": {"any_": [deployment]}}} if deployment else {},
            timeout=60,
        ).json()
        begun = sorted((one for one in found if one["start_time"]), key=lambda one: one["start_time"])
        return [one["state"]["name"] for one in begun]

    def logs(self) -> str:
        """The end of every service's log, for a test that fails."""
        logs = sorted((self.root / ".stepladder/logs").glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A champion answers, chosen by a real climb; the stack is up, and nobody will touch it."""
    base = ROOT / load_settings(ROOT / "params.yaml").models.base
    if not (ROOT / PACKAGED_BASE / "config.json").is_file():
        pytest.skip("the base model is not built: run `make setup`")
    # Not pytest's folder, which only its own user may enter: where Postgres is installed, it runs as another.
    around = Path(tempfile.mkdtemp(prefix="stepladder-loop-"))
    around.chmod(0o755)
    root = runbooks_project(
        around / "project",
        {
            "models": {"base": str(base)},
            "climb": {"mode": "full"},
            "tuning": {"min_examples": 10, "learning_rate": 0.001},  # few steps
            "cost": {"training_per_hour": 1000},  # so that an adapter is the dearer way, whatever the seconds
            "evaluation": {"resamples": 1000},
            "sizes": {"cpu": {"cases": None, "dev_rows": 4, "train_tokens": 2000}},
        },
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    ports = zip(SERVERS, free_ports(len(SERVERS)), strict=True)
    environment = {
        **kept,
        **{f"STEPLADDER_{name.upper()}_PORT": str(number) for name, number in ports},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "160",
    }
    made = Stack(root, environment)
    made.run("git", "add", ".")
    made.run("git", "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qm", "Begin")
    made.key = made.run(sys.executable, "-m", "serving", "keys", "create", "test", "--scope", "chat")
    try:
        made.stepladder("up")
        made.environment |= addresses_of(root)
        made.stepladder("climb")
        made.stepladder("promote", TASK)
        await_that(lambda: made.ask(SPARE[0]) is not None, made, "a champion to answer")
        yield made
    finally:
        made.stepladder("down")
        shutil.rmtree(around)


def addresses_of(root: Path) -> dict[str, str]:
    """What `source .stepladder/stack/env` does."""
    lines = shlex.split((root / ".stepladder/stack/env").read_text().replace("export ", ""))
    return dict(line.split("=", 1) for line in lines)


def await_that(true: Callable[[], Any], stack: Stack, what: str) -> None:
    try:
        wait_until(true, _PATIENCE_S, what, _LOOK_EVERY_S)
    except AssertionError:
        print(stack.logs())
        raise


def rows(pairs: list[tuple[str, str]]) -> str:
    return "".join(json.dumps(example(service, answer)) + "\n" for service, answer in pairs)


def test_a_dropped_page_changes_the_answer_and_a_poisoned_batch_does_not(
    stack: Stack, tmp_path: Path
) -> None:
    service = next(one for one in SPARE if port(one) in stack.answer(one))
    before = stack.ask(service)
    assert before

    stack.drop(f"knowledge/{service}.md", page(service, NEW_PORT))
    more = [(f"{one}lin", str(8000 + number)) for number, one in enumerate(SERVICES[:12])]
    for one, number in more:
        stack.drop(f"knowledge/{one}.md", page(one, number))
    stack.drop("examples/labelled.jsonl", rows(more))
    gone = next(one for one in SPARE if one != service)
    stack.drop(f"knowledge/{gone}.md.removed", "")
    dropped = time.monotonic()
    await_that(lambda: NEW_PORT in stack.answer(service), stack, "the gateway to answer from the new page")
    print(f"document in, answer out: {time.monotonic() - dropped:.0f} s")

    after = stack.ask(service)
    assert after
    assert after["stepladder"]["release"] != before["stepladder"]["release"]
    assert after["stepladder"]["sources"][0]["page"] == service
    without = stack.ask(gone)
    assert without
    assert gone not in {source["page"] for source in without["stepladder"]["sources"]}
    assert stack.states("climb") == ["Completed"]
    stack.run("git", "rev-parse", "--verify", f"refs/tags/{tags_of(stack)[-1]}")
    reproduced_at_a_desk(stack, tmp_path / "desk")

    # Known questions with other answers: every row is bad.
    stack.drop("examples/poisoned.jsonl", rows([(one, "1") for one in SHOWN]))
    await_that(lambda: "poisoned" in quarantined(stack), stack, "the poisoned rows to be quarantined")
    still = stack.ask(service)
    assert still
    assert still["stepladder"]["release"] == after["stepladder"]["release"]
    assert stack.states("climb") == ["Completed"]
    assert not {"Failed", "Crashed"} & set(stack.states())


def tags_of(stack: Stack) -> list[str]:
    return stack.run("git", "tag", "--list", f"data/{TASK}/*").splitlines()


def quarantined(stack: Stack) -> str:
    return stack.stepladder("quarantine", "list", TASK, "--json")


def reproduced_at_a_desk(stack: Stack, desk: Path) -> None:
    """The run's commit in a clean clone: nothing runs; what is deleted is made again, to the same digests."""
    branch = stack.run(
        "git", "for-each-ref", "--sort=-creatordate", "--format=%(refname:short)", "refs/heads/runs/"
    ).splitlines()[0]
    subprocess.run(["git", "clone", "-q", "-b", branch, stack.root, desk], check=True)
    there = Stack(desk, stack.environment)
    dvc = (sys.executable, "-m", "dvc")
    there.run(*dvc, "pull", "-q")
    assert "Running stage" not in there.run(*dvc, "repro")
    made = desk / "build"
    before = _digests(made)
    for name in (f"prepared/{TASK}", f"{TASK}/tuned"):
        shutil.rmtree(made / name)
    assert f"finetune@{TASK}" in there.run(*dvc, "repro", f"finetune@{TASK}")
    shutil.rmtree(made / "index" / TASK)
    assert f"index@{TASK}" in there.run(*dvc, "repro", f"index@{TASK}")
    assert _digests(made) == before


def _digests(made: Path) -> dict[str, str]:
    """What is the same wherever it is made. Times that were measured stand beside it, and are not."""
    return {
        "prepared": digest_folder(made / "prepared" / TASK),
        "index": json.loads((made / "index" / TASK / "version.json").read_text())["version"],
        "adapter": digest_folder(made / TASK / "tuned" / "adapter"),
    }
