"""`ask` answers from the release as it was registered, and from no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.files import digest_file
from stepladder.models import model_digest
from stepladder.releases import NotAsRegisteredError, freeze, register
from stepladder.settings import Mlflow, load_settings
from stepladder.stages.ask import ask
from stepladder.stages.workspace import Workspace
from tests.stub_server import stub_server
from tests.test_release_aliases import release as release_of

ROOT = Path(__file__).parents[2]
TASK = "asked"
SPEC = "title: t\nscorer: exact\nbars: {score: 0.8}\nmargin: 0.05\nmonthly_requests: 1\n"


@pytest.fixture
def workspace(tmp_path: Path, mlflow_store: Path) -> Workspace:
    """A task with a registered release of the rung ``prompt``."""
    import mlflow

    task, base = tmp_path / "tasks" / TASK, tmp_path / "base"
    task.mkdir(parents=True)
    for name, text in (
        ("task.yaml", SPEC),
        ("prompt.md", "Answer."),
        ("cases.jsonl", ""),
        ("examples.jsonl", ""),
    ):
        (task / name).write_text(text)
    base.mkdir()
    (base / "config.json").write_text("{}")
    release = release_of(model_digest(str(base))).model_copy(
        update={"task": TASK, "base": str(base), "prompt_digest": digest_file(task / "prompt.md")}
    )
    freeze(release, tmp_path / "release", task=task, files={}, index=None, adapter=None)
    with mlflow.start_run() as run:
        register(tmp_path / "release", release, "because", run.info.run_id)
    store = Mlflow(tracking_uri=f"sqlite:///{mlflow_store}/mlflow.db", experiment="tests")
    settings = load_settings(ROOT / "params.yaml").model_copy(update={"tasks": [TASK], "mlflow": store})
    return Workspace(tmp_path, settings)


@pytest.mark.parametrize(
    ("edited", "what"),
    [("prompt.md", "prompt is not the one"), ("task.yaml", "task or index is not the one")],
)
def test_a_release_that_was_edited_does_not_answer(workspace: Workspace, edited: str, what: str) -> None:
    with stub_server(lambda _: "as said") as server:
        engine = workspace.settings.engine.model_copy(update={"url": server.url})
        mine = Workspace(workspace.root, workspace.settings.model_copy(update={"engine": engine}))
        assert ask(mine, TASK, "What?").answer == "as said"
        (copy,) = workspace.releases.iterdir()
        path = copy / "task" / edited
        path.write_text(path.read_text().replace("Answer.", "Lie.").replace("0.8", "0.1"))
        with pytest.raises(NotAsRegisteredError, match=what):
            ask(mine, TASK, "What?")
        assert len(server.seen) == 1
