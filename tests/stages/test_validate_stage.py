"""The stage ``validate``: what was found sound stays when the next look finds a bad row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.files import digest_folder
from stepladder.settings import load_settings
from stepladder.stages.validate import run
from stepladder.stages.workspace import Workspace

ROOT = Path(__file__).parents[2]
ROWS = {
    "cases": [{"id": f"c{n}", "input": f"What is held {n}?", "reference": "a"} for n in range(3)],
    "examples": [{"id": f"e{n}", "prompt": f"What is known {n}?", "completion": "a"} for n in range(4)],
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project whose one task was found sound."""
    root = tmp_path_factory.mktemp("validate")
    folder = root / "tasks/tiny"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "task.yaml").write_text(
        "title: T\nscorer: exact\nbars: {score: 0.5}\nmargin: 0.05\nmonthly_requests: 10\n"
    )
    (folder / "prompt.md").write_text("Answer.")
    (folder / "knowledge/copy.md").write_text("# copy\n\n## Options\n\nBits.\n")
    for kind, rows in ROWS.items():
        lines = [{**row, "cluster": f"{kind} {n}", "evidence": ["copy"]} for n, row in enumerate(rows)]
        (folder / f"{kind}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = load_settings(ROOT / "params.yaml").model_copy(update={"tasks": ["tiny"]})
    workspace = Workspace(root, settings)
    run(workspace, "tiny")
    return workspace


@pytest.mark.parametrize(
    ("kind", "old", "new", "told"),
    [
        ("examples", '"completion": "a"', '"completion": 7', "examples.jsonl:1"),
        ("cases", '"id": "c1"', '"id": "c0"', "(id 'c0'): id"),
        (
            "cases",
            "What is held 1?",
            "what is  held 0?",
            "cases.jsonl:2 (id 'c1'): twin: case 'c0' asks the same",
        ),
        ("cases", '["copy"]', '["gone"]', "no such page or section: gone"),
    ],
)
def test_a_bad_row_is_named_and_what_was_sound_stays(
    workspace: Workspace, kind: str, old: str, new: str, told: str
) -> None:
    path = workspace.root / f"tasks/tiny/{kind}.jsonl"
    original, sound = path.read_text(), digest_folder(workspace.checked("tiny"))
    assert old in original
    path.write_text(original.replace(old, new, 1))
    try:
        with pytest.raises(StepladderError) as caught:
            run(workspace, "tiny")
    finally:
        path.write_text(original)
    assert told in str(caught.value)
    assert digest_folder(workspace.checked("tiny")) == sound
    report = json.loads((workspace.unchecked("tiny") / "report.json").read_text())
    assert report["bad_rows"]


def test_the_first_warnings_are_told(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    path = workspace.root / "tasks/tiny/examples.jsonl"
    original = path.read_text()
    path.write_text(original.replace('"completion"', '"slice": "typo", "completion"'))
    try:
        run(workspace, "tiny")
    finally:
        path.write_text(original)
    lines = capsys.readouterr().err.splitlines()
    assert "  warning: examples.jsonl:1 (id 'e0'): slice_known: no case is of slice 'typo'" in lines
    assert sum("slice 'typo'" in line for line in lines) == 3
    assert lines[-1] == "  warning: and 1 more"


def test_rows_that_were_mended_leave_no_report_of_their_faults(workspace: Workspace) -> None:
    run(workspace, "tiny")
    assert not workspace.unchecked("tiny").exists()
