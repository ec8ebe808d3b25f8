"""What a climb leaves in MLflow: runs that belong together, and a release that stays as it was registered."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml

from stepladder.evaluation.looks import Look, look_of, note_look, noted_looks
from stepladder.evaluation.variants import Choice
from stepladder.files import digest_folder, write_json, write_jsonl, write_text, writing
from stepladder.knowledge.build import build_index
from stepladder.ladder.verdict import decide
from stepladder.model_copies import fetch_copy
from stepladder.prompting.compose import Plan
from stepladder.releases import fetch, require_contents, short
from stepladder.settings import load_settings
from stepladder.stages import release as stage
from stepladder.stages.release import _climb, _log_looks, _register
from stepladder.stages.workspace import Workspace, outcomes_file, save
from tests.knowledge.conftest import WordEmbedder
from tests.ladder.conftest import SPEC, make_evidence, make_outcomes

PARAMETERS = Path(__file__).parents[2] / "params.yaml"
TASK = "module-qa"
PAGES = {"apt": "# apt\n\nInstalls debian packages.", "dnf": "# dnf\n\nInstalls fedora packages."}
VERDICT = decide(make_evidence({"rag": make_outcomes("rag", 0.9)})).model_copy(
    update={"decision": "promote", "rung": "rag"}
)


def test_a_climb_is_named_by_what_dvc_locked(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, load_settings(PARAMETERS))
    assert _climb(workspace) is None, "a verdict without a climb"
    names = []
    for locked in ("one", "two", "one"):
        (tmp_path / "dvc.lock").write_text(locked)
        names.append(_climb(workspace))
    assert names[0] == names[2] != names[1]


def test_looks_at_another_tasks_cases_are_left_to_its_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path, load_settings(PARAMETERS))
    logged: list[Look] = []
    monkeypatch.setattr(stage, "log_look", logged.append)
    earlier: dict[str, Look] = {}
    for name, score in ((TASK, 0.9), ("terraform-review", 0.8)):
        said = make_outcomes("rag", score).model_copy(update={"task": name})
        save(outcomes_file(workspace.base(name), "rag"), said)
        earlier[name] = look_of(name, {"rag": make_outcomes("rag", score / 2)}, {})
        note_look(workspace.looks, earlier[name])
        note_look(workspace.looks, look_of(name, {"rag": said}, VERDICT.rule.model_dump(mode="json")))
    _log_looks(workspace, TASK, VERDICT)
    assert logged == [earlier[TASK]]
    assert {look.task for look in noted_looks(workspace.looks)} == {"terraform-review"}
    _log_looks(workspace, "terraform-review", VERDICT)
    assert logged == list(earlier.values())
    assert noted_looks(workspace.looks) == []


@dataclass(frozen=True)
class Climbed:
    """A workspace whose verdict promotes ``rag``."""

    workspace: Workspace

    def build_index(self, embed_s: float) -> None:
        """The same version each time, which took so long."""
        folder, knowledge = self.workspace.index(TASK), self.workspace.settings.knowledge
        with self.workspace.embeddings() as cache, writing(folder) as draft:
            manifest = build_index(PAGES, knowledge, WordEmbedder(), draft, cache, TASK)
            timed = manifest.timings.model_copy(update={"embed_s": embed_s})
            save(draft / "manifest.json", manifest.model_copy(update={"timings": timed}))
            write_json(draft / "version.json", {"version": manifest.version})

    def register(self) -> str | None:
        """As a climb does after a new verdict."""
        import mlflow

        save(self.workspace.verdict(TASK), VERDICT)
        with mlflow.start_run() as run:
            return _register(self.workspace, TASK, VERDICT, "v", run.info.run_id)

    @property
    def frozen(self) -> list[Path]:
        return list(self.workspace.releases.iterdir())


@pytest.fixture
def climbed(tmp_path: Path, mlflow_store: Path) -> Climbed:
    settings = load_settings(PARAMETERS)
    base = tmp_path / "base"
    write_json(base / "config.json", {"made for": str(tmp_path)})  # a release of its own for each test
    models = settings.models.model_copy(update={"base": str(base)})
    workspace = Workspace(tmp_path, settings.model_copy(update={"models": models}))
    task = tmp_path / "tasks" / TASK
    write_text(task / "task.yaml", yaml.safe_dump(SPEC.model_dump(mode="json", exclude_none=True)))
    write_text(task / "prompt.md", "Answer.")
    write_jsonl(task / "cases.jsonl", [{"id": "c", "input": "q", "reference": "a", "cluster": "p"}])
    write_text(task / "examples.jsonl", "")
    write_text(workspace.report(TASK), "<html></html>")
    plan = Plan(rung="rag", context_tokens=100)
    choice = Choice(plan=plan, dev_scores={plan.variant: 1.0}, dev_rows=1)
    save(workspace.base(TASK) / "rag.plan.json", choice)
    save(outcomes_file(workspace.base(TASK), "rag"), make_outcomes("rag", 0.9))
    made = Climbed(workspace)
    made.build_index(embed_s=1.0)
    return made


def test_a_release_registered_again_after_a_rebuild_of_its_index_is_the_one_registered_first(
    climbed: Climbed,
) -> None:
    version = climbed.register()
    for gone in (False, True):
        climbed.build_index(embed_s=2.0)
        if gone:
            shutil.rmtree(climbed.workspace.releases)
        assert climbed.register() == version, "no version of its own"
        found = fetch(TASK, "challenger", climbed.workspace.releases)
        require_contents(found, found.files)


def test_a_copy_that_is_not_the_registered_one_gives_way_to_it(climbed: Climbed) -> None:
    """As a kill between freezing and registering leaves it where another machine registers meanwhile."""
    climbed.register()
    (frozen,) = climbed.frozen
    write_json(frozen / "index" / "upkeep.json", {"query_ms": 2})
    climbed.register()
    assert climbed.frozen == []
    found = fetch(TASK, "challenger", climbed.workspace.releases)
    assert found.folder.name == short(found.release.digest) == frozen.name
    require_contents(found, found.files)


def test_the_base_model_goes_into_mlflow_with_the_release(climbed: Climbed, tmp_path: Path) -> None:
    climbed.register()
    fetch_copy(digest_folder(tmp_path / "base"), tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/config.json").is_file()


def test_a_release_is_registered_though_its_models_cannot_be_kept(
    climbed: Climbed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "keep_copy", Mock(side_effect=OSError("413 Request Entity Too Large")))
    assert climbed.register()
    assert "its models are not in MLflow (413 Request Entity Too Large)" in capsys.readouterr().err
