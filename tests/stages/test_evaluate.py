"""What the stage leaves of tasks that are no more."""

from __future__ import annotations

from pathlib import Path

from stepladder.settings import load_settings
from stepladder.stages.evaluate import _forget_other_tasks
from stepladder.stages.workspace import Workspace

ROOT = Path(__file__).parents[2]


def test_outcomes_of_other_tasks_go_and_what_is_not_ours_is_left(tmp_path: Path) -> None:
    settings = load_settings(ROOT / "params.yaml").model_copy(update={"tasks": ["mine"]})
    workspace, elsewhere = Workspace(tmp_path, settings), tmp_path / "elsewhere"
    for folder in (workspace.base("mine"), workspace.base("gone"), elsewhere):
        folder.mkdir(parents=True)
        (folder / "prompt.outcomes.json").write_text("{}")
    (workspace.base("") / ".DS_Store").write_text("")
    (workspace.base("") / "link").symlink_to(elsewhere)
    _forget_other_tasks(workspace)
    assert sorted(one.name for one in workspace.base("").iterdir()) == [".DS_Store", "link", "mine"]
    assert (workspace.base("mine") / "prompt.outcomes.json").is_file()
    assert (elsewhere / "prompt.outcomes.json").is_file()
