"""What every rung sends the engine, frozen: retrieval and prompts in evaluation and in `ask`, byte for byte.

``golden_messages.json`` holds the engine's body for one question on each rung. A change of it changes what
adapters were trained on and what serves: it should be meant. To write it again, set GOLDEN=write.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.data.prepare import load_prepared
from stepladder.engine import RunningEngine
from stepladder.evaluation.respond import responding
from stepladder.files import digest_file, digest_folder, read_json, write_json, write_jsonl
from stepladder.models import model_digest
from stepladder.prompting.compose import Plan
from stepladder.releases import Registered, Release, files_digest, freeze
from stepladder.settings import Settings, Tuning
from stepladder.stages import answering, index
from stepladder.stages import ask as asking
from stepladder.stages.answering import Assistant, contexts_of, responder_for
from stepladder.stages.evaluate_tuned import tuned_plan
from stepladder.stages.finetune import merged_model
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Case, Example, Rung
from stepladder.tuning.rows import TrainingRow
from stepladder.tuning.train import train
from tests.stub_server import StubServer, stub_server

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).with_name("golden_messages.json")
PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
QUESTION = "On which port does the metrics agent listen?"
SHOT = Example.model_validate({"prompt": "Where are backups kept?", "completion": '{"cost": []}'})
SPEC = {
    "title": "Runbooks",
    "scorer": "issue-f1",
    "bars": {"score": 0.5},
    "margin": 0.05,
    "monthly_requests": 1,
    "max_output_tokens": 32,
    "input_template": "{{ input | numbered }}",
    "output_schema": {"type": "object", "properties": {"cost": {"type": "array"}}},
}
PROMPT = (
    "{% if tuned %}Runbooks.{% else %}Answer as JSON.{% endif %}"
    "{% if retrieval %} From the context.{% endif %}"
)
PAGES = {
    "metrics": "# Metrics\n\n## Port\n\nThe metrics agent listens on port 9100.",
    "tracing": "# Tracing\n\n## Port\n\nThe tracing agent listens on port 9200.",
    "backup": "# Backup\n\n## Place\n\nCopies of the databases lie in /srv/backup.",
    "mail": "# Mail\n\n## Queue\n\nMessages that wait are shown by mailq.",
}


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    with stub_server(lambda _: '{"cost": []}') as server:
        yield server


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Workspace:
    """A task whose documents are indexed with the real embedder."""
    root = tmp_path_factory.mktemp("golden")
    parameters = {**copy.deepcopy(PARAMETERS), "tasks": ["runbooks"], "hardware": "cpu"}
    parameters["models"] = {**PARAMETERS["models"], "base": str(tiny_llama)}
    parameters["knowledge"] = {"chunk_tokens": 96, "top_k": 3, "prefetch": 50, "rrf_k": 2}
    parameters["sizes"]["cpu"]["context_tokens"] = 300
    parameters["engine"] = {**PARAMETERS["engine"], "dtype": "float32"}
    made = Workspace(root, Settings.model_validate(parameters))
    task = root / "tasks/runbooks"
    (task / "knowledge").mkdir(parents=True)
    (task / "task.yaml").write_text(yaml.safe_dump(SPEC))
    (task / "prompt.md").write_text(PROMPT)
    for name, text in PAGES.items():
        (task / "knowledge" / f"{name}.md").write_text(text)
    case = Case(id="c", input=QUESTION, reference={"cost": []}, evidence=["metrics#port"], cluster="c")
    for folder in (task, made.prepared("runbooks")):
        write_jsonl(folder / "cases.jsonl", [case.model_dump(mode="json")])
        for name in ("examples", "dev", "few_shot", "train"):
            write_jsonl(folder / f"{name}.jsonl", [SHOT.model_dump(mode="json")])
    index.run(made, "runbooks")
    return made


@pytest.fixture(scope="module")
def adapter(workspace: Workspace, tiny_llama: Path) -> Path:
    rows = [TrainingRow([5, 6], [40, 1], "a")]
    train(tiny_llama, rows, Tuning(rank=2), 0, workspace.scratch / "training", lambda _: None)
    return workspace.scratch / "training/adapter"


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, stub: StubServer) -> list[str]:
    """The models that an engine was started for; the stub stands in for each."""
    started: list[str] = []

    @contextmanager
    def engine(model: str, *_: object) -> Iterator[RunningEngine]:
        started.append(model)
        yield RunningEngine(stub.url, "stub")

    monkeypatch.setattr(answering, "engine", engine)
    return started


def plan_of(workspace: Workspace, rung: Rung) -> Plan:
    tokens = workspace.settings.size.context_tokens
    plans: dict[str, Callable[[], Plan]] = {
        "prompt": lambda: Plan(rung=rung, shots=(SHOT,), constrained=True, context_tokens=tokens),
        "rag": lambda: Plan(rung=rung, context_tokens=tokens),
    }
    tuned = lambda: tuned_plan(workspace, workspace.task("runbooks"), rung)  # noqa: E731
    return plans.get(rung, tuned)()


def evaluated(workspace: Workspace, rung: Rung, adapter: Path) -> None:
    """Ask as the evaluate stages do."""
    task, base = workspace.task("runbooks"), workspace.settings.models.base
    digest = digest_folder(adapter) if rung.startswith("lora") else None
    model = str(merged_model(workspace, base, adapter, digest)) if digest else base
    with (
        workspace.responses() as cache,
        contexts_of(workspace, task) as contexts,
        responding(responder_for(workspace, cache, model, base, digest)) as responder,
    ):
        cases = load_prepared(workspace.prepared("runbooks")).cases
        Assistant(task, contexts, responder).answer(plan_of(workspace, rung), cases)


def released(workspace: Workspace, rung: Rung, adapter: Path, folder: Path) -> Registered:
    """A release of the rung, as the registry gives it."""
    task, base = workspace.root / "tasks/runbooks", workspace.settings.models.base
    plan = plan_of(workspace, rung)
    release = Release(
        task="runbooks",
        plan=plan,
        base=base,
        base_digest=model_digest(base),
        embedder=workspace.settings.models.embedder,
        knowledge=workspace.settings.knowledge,
        task_digest="t",
        prompt_digest=digest_file(task / "prompt.md"),
        index_version=None,
        adapter_digest=digest_folder(adapter) if plan.tuned else None,
        verdict_digest="v",
    )
    index_folder = workspace.index("runbooks") if plan.retrieval else None
    freeze(release, folder, task=task, files={}, index=index_folder, adapter=adapter if plan.tuned else None)
    return Registered(release=release, version="1", folder=folder, files=files_digest(folder))


@pytest.mark.parametrize("rung", ["prompt", "rag", "lora", "lora+rag"])
def test_evaluation_and_ask_send_what_they_always_sent(
    workspace: Workspace,
    adapter: Path,
    stub: StubServer,
    engines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rung: Rung,
) -> None:
    def sent(ask: Callable[[], object]) -> dict[str, Any]:
        (workspace.scratch / "responses.sqlite").unlink(missing_ok=True)
        before = len(stub.seen)
        ask()
        (body,) = stub.seen[before:]
        return body

    found = sent(lambda: evaluated(workspace, rung, adapter))
    if os.environ.get("GOLDEN") == "write":
        write_json(GOLDEN, {**(read_json(GOLDEN) if GOLDEN.exists() else {}), rung: found})
    assert found == json.loads(GOLDEN.read_text())[rung]

    registered = released(workspace, rung, adapter, tmp_path / "release")
    monkeypatch.setattr(asking, "use_mlflow", lambda _: None)
    monkeypatch.setattr(asking, "newest", lambda *_: registered)
    assert sent(lambda: asking.ask(workspace, "runbooks", QUESTION)) == found
    assert engines[0] == engines[1], "the same model, merged or not"
    assert ("merged" in engines[0]) == rung.startswith("lora")
