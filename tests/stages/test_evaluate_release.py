"""`stepladder evaluate` asks a release the present cases, and the next verdict weighs it on them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stepladder.errors import StepladderError
from stepladder.evaluation.records import RungOutcomes
from stepladder.files import digest_file, write_jsonl
from stepladder.ladder.evidence import Unweighed
from stepladder.models import model_digest
from stepladder.releases import CHAMPION, OUTCOMES, freeze, register, registered_name
from stepladder.settings import Mlflow, load_settings
from stepladder.stages.champion import champion_at, champion_of
from stepladder.stages.evaluate_release import evaluate_release
from stepladder.stages.workspace import Workspace, load, save
from tests.ladder.conftest import make_outcomes
from tests.stub_server import StubServer, stub_server
from tests.test_release_aliases import release as release_of

ROOT = Path(__file__).parents[2]
TASK = "served"
SPEC = {"title": "t", "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.05, "monthly_requests": 1}
EXAMPLE = {"id": "e", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def said(body: dict[str, object]) -> str:
    """Right about all but the second case, in a sentence: wrong for the scorer ``exact``."""
    asked = body["messages"][-1]["content"]  # type: ignore[index]
    return f"It is {asked.removeprefix('Question ') if asked != 'Question 2' else 'unknown'}."


def with_server(workspace: Workspace, server: StubServer) -> Workspace:
    engine = workspace.settings.engine.model_copy(update={"url": server.url})
    return Workspace(workspace.root, workspace.settings.model_copy(update={"engine": engine}))


@pytest.fixture
def workspace(tmp_path: Path, mlflow_store: Path) -> Workspace:
    """A task whose champion was asked other cases, by another prompt, for another scorer."""
    import mlflow

    task, base = tmp_path / "tasks" / TASK, tmp_path / "base"
    task.mkdir(parents=True)
    (task / "task.yaml").write_text(yaml.safe_dump(SPEC))
    (task / "prompt.md").write_text("As it was registered.")
    (task / "cases.jsonl").write_text("")
    (task / "examples.jsonl").write_text("")
    base.mkdir()
    (base / "config.json").write_text("{}")
    release = release_of(model_digest(str(base))).model_copy(
        update={"task": TASK, "base": str(base), "prompt_digest": digest_file(task / "prompt.md")}
    )
    save(tmp_path / "then.json", make_outcomes("prompt", 0.5).model_copy(update={"task": TASK}))
    files = {OUTCOMES: tmp_path / "then.json"}
    freeze(release, tmp_path / "release", task=task, files=files, index=None, adapter=None)
    with mlflow.start_run() as run:
        version = register(tmp_path / "release", release, "because", run.info.run_id)
    mlflow.MlflowClient().set_registered_model_alias(registered_name(TASK), CHAMPION, version)
    (task / "prompt.md").write_text("As it is today.")
    (task / "task.yaml").write_text(yaml.safe_dump({**SPEC, "scorer": "short-answer"}))
    store = Mlflow(tracking_uri=f"sqlite:///{mlflow_store}/mlflow.db", experiment="tests")
    settings = load_settings(ROOT / "params.yaml").model_copy(update={"tasks": [TASK], "mlflow": store})
    found = Workspace(tmp_path, settings)
    cases = [
        {"id": f"c{n}", "input": f"Question {n}", "reference": str(n), "cluster": f"c{n}"} for n in range(4)
    ]
    write_jsonl(found.prepared(TASK) / "cases.jsonl", cases)
    for name in ("dev", "few_shot", "train"):
        write_jsonl(found.prepared(TASK) / f"{name}.jsonl", [EXAMPLE])
    return found


def present(workspace: Workspace) -> RungOutcomes:
    """As a rung of a climb that was asked the present cases."""
    (kept,) = (workspace.scratch / "evaluated" / TASK).iterdir()
    return load(RungOutcomes, kept)


def test_the_release_is_asked_as_it_was_frozen_and_scored_as_the_task_scores_now(
    workspace: Workspace,
) -> None:
    with stub_server(said) as server:
        found = evaluate_release(with_server(workspace, server), f"{TASK}@champion")
        assert (found.cases, found.asked, found.score) == (4, 4, 0.75)
        assert {body["messages"][0]["content"] for body in server.seen} == {"As it was registered."}
        again = evaluate_release(with_server(workspace, server), TASK)
    assert again == found.model_copy(update={"asked": 0}), "the champion, and every response is known"


def test_what_it_said_is_what_the_verdict_weighs(workspace: Workspace) -> None:
    with stub_server(said) as server:
        evaluate_release(with_server(workspace, server), f"{TASK}@{CHAMPION}")
    rung = present(workspace)
    found = champion_of(workspace, TASK, rung)
    assert found is not None
    assert (found.said, found.evaluated) == (rung, True)
    assert champion_at(workspace, TASK, found.version, rung, evaluated=True) == found
    before = champion_at(workspace, TASK, found.version, rung)
    assert isinstance(before.said, Unweighed), "a verdict of before rests on what the release came with"
    assert f"`stepladder evaluate {TASK}@champion` asks it these" in before.said.why


def test_a_verdict_whose_answers_of_the_champion_are_gone_says_how_to_get_them(workspace: Workspace) -> None:
    with stub_server(said) as server:
        evaluate_release(with_server(workspace, server), TASK)
    rung = present(workspace)
    (kept,) = (workspace.scratch / "evaluated" / TASK).iterdir()
    kept.unlink()
    found = champion_of(workspace, TASK, rung)
    assert found is not None
    assert not found.evaluated
    with pytest.raises(StepladderError, match="not kept here") as refused:
        champion_at(workspace, TASK, found.version, rung, evaluated=True)
    assert f"`stepladder evaluate {TASK}@{found.version}`" in str(refused.value)


def test_nothing_is_kept_where_the_engine_fails(workspace: Workspace) -> None:
    with stub_server(lambda _: 400) as server, pytest.raises(StepladderError, match="refused"):
        evaluate_release(with_server(workspace, server), TASK)
    assert not (workspace.scratch / "evaluated").exists()


def test_a_release_that_is_not_there_is_named(workspace: Workspace) -> None:
    with pytest.raises(StepladderError, match="no release '99'"):
        evaluate_release(workspace, f"{TASK}@99")
