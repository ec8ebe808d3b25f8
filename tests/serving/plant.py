"""A serving machine: an MLflow server, ``stepladder serve`` and its engines, each a process of its own.

The machine has no training workspace: params.yaml, serving.yaml, keys and the base model are all that lies
there. Engines are stubs that vLLM's place on PYTHONPATH is given to; each says its release's system prompt.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import yaml

from serving.auth import create_key
from stepladder.evaluation.records import Outcome, Response, RungOutcomes
from stepladder.files import digest_file, write_json
from stepladder.models import model_digest
from stepladder.prompting.compose import Plan
from stepladder.releases import OUTCOMES, Release, freeze, register
from stepladder.settings import Knowledge
from tests.serving.fake_vllm.vllm.entrypoints.openai.api_server import WORDS
from tests.serving.house import ROOT, wait_until

TASK = "plain"
QUESTION = "Who?"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass
class Served:
    """A process with a port that can be killed and started again at the same address."""

    command: list[str]
    folder: Path
    environment: dict[str, str]
    ready: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "out.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.answers, timeout_s=180)

    def answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "out.log").read_text()[-2000:]
        with suppress(httpx.HTTPError):
            return httpx.get(self.ready, timeout=5).is_success
        return False

    def kill(self) -> None:
        """``kill -9`` of it and its workers."""
        assert self.process
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Ctrl-C; ``kill -9`` where that is not heeded."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Plant:
    """All of it. ``versions``: the registered release that says each word."""

    folder: Path
    mlflow: Served
    serve: Served
    url: str
    key: str
    versions: dict[str, str] = field(default_factory=dict)

    def release(self, word: str, base: str = "tiny") -> str:
        """Register a release that answers with a word; its version."""
        make_base(self.folder / "machine", base)
        self.versions[word] = register_release(self.folder / "training", word, base)
        return self.versions[word]

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def says(self) -> str | None:
        """The word of the release that answers now; None where none does."""
        with suppress(httpx.HTTPError), self.client() as client:
            answer = client.post("/v1/chat/completions", json=asking())
            if answer.is_success:
                words = set(answer.json()["choices"][0]["message"]["content"].split())
                assert len(words) == 1
                return str(words.pop())
        return None

    def stepladder(self, *arguments: str) -> str:
        """Run a command on the serving machine."""
        done = subprocess.run(
            [sys.executable, "-m", "stepladder", *arguments],
            cwd=self.folder / "machine",
            env={**os.environ, **self.serve.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def children(self, module: str) -> list[psutil.Process]:
        """Processes of ``stepladder serve`` that run a module."""
        assert self.serve.process
        named = []
        for one in psutil.Process(self.serve.process.pid).children(recursive=True):
            with suppress(psutil.Error):  # it ended meanwhile
                if module in " ".join(one.cmdline()):
                    named.append(one)
        return named


def asking(question: str = QUESTION) -> dict[str, object]:
    return {"model": TASK, "messages": [{"role": "user", "content": question}]}


@contextmanager
def plant_in(folder: Path) -> Iterator[Plant]:
    """A plant whose MLflow runs; start the rest with ``plant.serve.start()``, after the first release."""
    import mlflow

    before = mlflow.get_tracking_uri()
    with ExitStack() as stack:
        server = mlflow_server(folder / "mlflow")
        stack.callback(server.end)
        server.start()
        uri = server.ready.removesuffix("/health")
        mlflow.set_tracking_uri(uri)
        stack.callback(mlflow.set_tracking_uri, before)
        mlflow.set_experiment("stepladder")
        plant = Plant(folder, server, *_machine(folder / "machine", uri))
        stack.callback(plant.serve.end)
        yield plant


def mlflow_server(folder: Path) -> Served:
    folder.mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return Served(command, folder, environment, f"http://127.0.0.1:{port}/health")


def _machine(folder: Path, mlflow_uri: str) -> tuple[Served, str, str]:
    folder.mkdir(parents=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump({**params, "tasks": [TASK]}))
    port = free_port()
    serving = yaml.safe_load((ROOT / "serving.yaml").read_text())
    serving |= {"port": port, "tasks": {}}
    serving["reconcile"] |= {"every_s": 0.3, "pause_s": 0.3}
    margins = dict.fromkeys(serving["canary"]["margins"], 0.9)
    serving["canary"] |= {"every_s": 0.5, "least": 20, "feedback_after_s": 0, "margins": margins}
    (folder / "serving.yaml").write_text(yaml.safe_dump(serving))
    key = create_key(folder / "var/keys.json", "test", frozenset({"chat", "feedback", "admin"}), 1_000_000)
    environment = {
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "PYTHONPATH": f"{ROOT / 'tests/serving/fake_vllm'}{os.pathsep}{ROOT}",
        "STEPLADDER_ENGINE_URL": "",
    }
    command = [sys.executable, "-m", "stepladder", "serve"]
    served = Served(command, folder, environment, f"http://127.0.0.1:{port}/healthz")
    return served, f"http://127.0.0.1:{port}", key


def make_base(folder: Path, name: str = "tiny") -> None:
    """Files of a base model; ``models/`` in its name says that it is a folder."""
    base = folder / "models" / name
    base.mkdir(parents=True, exist_ok=True)
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")


def register_release(training: Path, word: str, base: str = "tiny") -> str:
    """What a climb does at its end, on a machine that has nothing to do with the one that serves."""
    import mlflow

    task = training / "tasks" / TASK
    task.mkdir(parents=True, exist_ok=True)
    spec = {"title": "Plain", "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.1, "monthly_requests": 1}
    (task / "task.yaml").write_text(yaml.safe_dump(spec))
    (task / "prompt.md").write_text(word)
    make_base(training, base)
    for name, text in (("verdict.json", "{}"), ("report.html", "<p>The report</p>")):
        (training / name).write_text(text)
    write_json(training / OUTCOMES, _outcomes(word).model_dump(mode="json"))
    release = Release(
        task=TASK,
        plan=Plan(rung="prompt", context_tokens=100),
        base=f"models/{base}",
        base_digest=model_digest(str(training / "models" / base)),
        embedder="words",
        knowledge=Knowledge(),
        task_digest="t",
        prompt_digest=digest_file(task / "prompt.md"),
        index_version=None,
        adapter_digest=None,
        verdict_digest="v",
    )
    folder = training / "frozen" / word
    files = {name: training / name for name in (OUTCOMES, "verdict.json", "report.html")}
    freeze(release, folder, task=task, files=files, index=None, adapter=None)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(training / "report.html"))
        version = register(
            folder, release, f"| rung | score |\n|---|---|\n| **{word}** | 0.913 |", run.info.run_id
        )
    shutil.rmtree(folder)
    return version


def _outcomes(word: str) -> RungOutcomes:
    text = " ".join([word] * WORDS)
    response = Response(text=text, prompt_tokens=1, completion_tokens=1, latency_ms=1, engine_s=1)
    case = Outcome(
        id="c1",
        input=QUESTION,
        reference="x",
        answerable=True,
        slice="all",
        cluster="c",
        score=1,
        exact=True,
        valid=True,
        response=response,
    )
    return RungOutcomes(
        task=TASK, rung="prompt", variant="zero-shot", model_digest="m", adapter_digest=None, outcomes=[case]
    )
