"""A pilot really trains on growing slices, asks each adapter the dev rows, and leaves no model behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from stepladder.cache import Cache
from stepladder.data.prepare import Prepared
from stepladder.engine import RunningEngine
from stepladder.evaluation.respond import Responder
from stepladder.settings import Settings
from stepladder.stages import pilot as stage
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Bars, Example, Task, TaskSpec
from stepladder.tuning.estimate import training_rate
from tests.stub_server import StubServer, stub_server

PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
SPEC = TaskSpec(title="t", scorer="exact", bars=Bars(score=0.8), margin=0.05, monthly_requests=1)
EXAMPLES = [
    Example.model_validate(
        {"id": f"e{i}", "prompt": f"What is the default {i}?", "completion": f"state {i % 2}"}
    )
    for i in range(40)
]


@pytest.fixture
def workspace(tmp_path: Path, tiny_llama: Path) -> Workspace:
    parameters = {**PARAMETERS, "tasks": ["t"], "hardware": "cpu"}
    parameters["models"] = {**PARAMETERS["models"], "base": str(tiny_llama)}
    return Workspace(tmp_path, Settings.model_validate(parameters))


def attach(monkeypatch: pytest.MonkeyPatch, server: StubServer, folder: Path) -> list[str]:
    """Let each adapter's engine be the stub; the digests of the adapters asked, in order."""
    asked: list[str] = []

    @contextmanager
    def start() -> Iterator[RunningEngine]:
        yield RunningEngine(server.url, "stub")

    def responder(_workspace: object, _cache: object, model: str, _base: str, digest: str) -> Responder:
        assert (Path(model) / "config.json").is_file(), "the merged model is there while it is asked"
        asked.append(digest)
        return Responder("m", digest, Cache(folder / "r.sqlite"), start, 4, 5)

    monkeypatch.setattr(stage, "responder_for", responder)
    return asked


def test_too_few_examples_for_a_curve_train_nothing_and_say_so(workspace: Workspace, tmp_path: Path) -> None:
    rows = Prepared(cases=[], dev=EXAMPLES[:6], few_shot=[], train=EXAMPLES[6:])
    found = stage.run_pilot(workspace, Task(tmp_path, SPEC, "Answer."), rows, 30, 20_000)
    assert isinstance(found, stage.NoPrediction)
    assert "which makes no curve" in found.reason


def test_slices_grow_and_each_adapter_is_asked(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Prepared(cases=[], dev=EXAMPLES[:6], few_shot=[], train=EXAMPLES[6:])
    with stub_server(lambda _: "state 0") as server:
        asked = attach(monkeypatch, server, tmp_path)
        found = stage.run_pilot(workspace, Task(tmp_path, SPEC, "Answer."), rows, 2100, 20_000)
        assert len(set(asked)) == 3, "three trainings, three adapters"
        assert len(server.seen) == 3 * 6
        again = stage.run_pilot(workspace, Task(tmp_path, SPEC, "Answer."), rows, 2100, 20_000)
        assert again == found
        assert len(server.seen) == 3 * 6, "what is known is not asked again"
    read = [point.tokens for point in found.points]
    assert read == sorted(read)
    assert sum(read) <= 2100
    assert read[-1] > 3 * read[0]
    assert {point.score for point in found.points} == {0.5}
    assert found.score == pytest.approx(0.5, abs=1e-3)
    assert not list((workspace.scratch / "merged").iterdir()), "no model is left behind"
    rate = training_rate(workspace.rates, workspace.settings, tmp_path.name)
    assert rate != workspace.settings.stated_tokens_per_s
