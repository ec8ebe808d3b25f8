"""What the runs of one climb in MLflow have in common."""

from __future__ import annotations

from pathlib import Path

from stepladder.settings import load_settings
from stepladder.stages.release import _climb
from stepladder.stages.workspace import Workspace


def test_a_climb_is_named_by_what_dvc_locked(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, load_settings(Path(__file__).parents[2] / "params.yaml"))
    assert _climb(workspace) is None, "a verdict without a climb"
    names = []
    for locked in ("one", "two", "one"):
        (tmp_path / "dvc.lock").write_text(locked)
        names.append(_climb(workspace))
    assert names[0] == names[2] != names[1]
