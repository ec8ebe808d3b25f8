import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepladder.data.prepare import load_prepared, prepare_task
from stepladder.errors import StepladderError
from stepladder.files import digest_folder, writing
from stepladder.settings import Settings
from stepladder.tasks import Task

MakeTask = Callable[..., Task]
Rows = list[dict[str, Any]]


def test_rows_are_set_out_by_use_and_read_back(
    make_task: MakeTask, cases: Rows, examples: Rows, settings: Settings, tmp_path: Path
) -> None:
    task = make_task(cases, examples)
    report = prepare_task(task, settings, tmp_path / "out")
    prepared = load_prepared(tmp_path / "out")
    assert report.counts == {
        "cases_given": 4,
        "examples_given": 10,
        "dropped": 0,
        "set_aside": 0,
        "cases": 2,
        "dev": 2,
        "few_shot": 8,
        "train": 8,
    }
    assert report.slices["dev"] == {"x": 1, "y": 1}
    assert {row.id for row in prepared.few_shot} == {row.id for row in prepared.train}
    assert not {row.id for row in prepared.train} & {row.id for row in prepared.dev}
    assert all(case in task.cases for case in prepared.cases)


def test_the_same_task_gives_the_same_bytes(
    make_task: MakeTask, cases: Rows, examples: Rows, settings: Settings, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        prepare_task(make_task(cases, examples), settings, tmp_path / name)
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")


def test_duplicates_are_reported_and_stand_in_no_set(
    make_task: MakeTask, cases: Rows, examples: Rows, settings: Settings, tmp_path: Path
) -> None:
    copy = examples[3] | {"id": "copy", "prompt": "what is  KNOWN 3?", "completion": "b"}
    report = prepare_task(make_task(cases, [*examples, copy]), settings, tmp_path / "out")
    (dropped,) = report.dropped
    assert (dropped.id, dropped.kept, dropped.kind, dropped.conflict) == ("copy", "e3", "exact", True)
    prepared = load_prepared(tmp_path / "out")
    assert "copy" not in {row.id for row in (*prepared.train, *prepared.dev, *prepared.few_shot)}


@pytest.mark.parametrize(
    ("leak", "told"),
    [
        ({"prompt": "WHAT is held 1?"}, "case 'c1' repeats example 'e5' word for word"),
        ({"cluster": "held2"}, "case 'c2' and example 'e5' are of one cluster 'held2'"),
    ],
)
def test_a_leak_stops_the_run_and_leaves_earlier_outputs(
    *,
    make_task: MakeTask,
    cases: Rows,
    examples: Rows,
    settings: Settings,
    tmp_path: Path,
    leak: dict[str, str],
    told: str,
) -> None:
    out = tmp_path / "out"
    with writing(out) as draft:
        prepare_task(make_task(cases, examples), settings, draft)
    before = digest_folder(out)
    examples[5] |= leak
    with pytest.raises(StepladderError, match=re.escape(told)), writing(out) as draft:
        prepare_task(make_task(cases, examples), settings, draft)
    assert digest_folder(out) == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "tasks"] == ["out"]


def test_a_case_left_out_by_size_is_guarded_too(
    make_task: MakeTask, cases: Rows, examples: Rows, settings: Settings, tmp_path: Path
) -> None:
    prepare_task(make_task(cases, examples), settings, tmp_path / "out")
    drawn = {case.id for case in load_prepared(tmp_path / "out").cases}
    left_out = next(case for case in cases if case["id"] not in drawn)
    examples[0]["cluster"] = left_out["cluster"]
    with pytest.raises(StepladderError, match="of one cluster"):
        prepare_task(make_task(cases, examples), settings, tmp_path / "out")


def test_examples_of_a_single_cluster_cannot_be_split(
    make_task: MakeTask, cases: Rows, examples: Rows, settings: Settings, tmp_path: Path
) -> None:
    rows = [row | {"cluster": "same"} for row in examples]
    with pytest.raises(StepladderError, match="all 10 different ones are of one cluster") as caught:
        prepare_task(make_task(cases, rows), settings, tmp_path / "out")
    assert caught.value.where.endswith("examples.jsonl")
    assert "another cluster" in caught.value.remedy


def as_conversation(row: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in row.items() if name not in ("prompt", "completion")}
    turns = [("user", "Hello."), ("assistant", "Hello."), ("user", row["prompt"])]
    turns.append(("assistant", row["completion"]))
    return rest | {"messages": [{"role": role, "content": text} for role, text in turns]}


def test_where_only_conversations_are_left_nothing_is_shown(
    make_task: MakeTask, cases: Rows, examples: Rows, settings: Settings, tmp_path: Path
) -> None:
    rows = [examples[0], *map(as_conversation, examples[1:])]
    prepare_task(make_task(cases, rows), settings, tmp_path / "out")
    prepared = load_prepared(tmp_path / "out")
    assert ([row.id for row in prepared.dev], prepared.few_shot, len(prepared.train)) == (["e0"], [], 9)


def test_conversations_alone_cannot_be_split(
    make_task: MakeTask, cases: Rows, examples: Rows, settings: Settings, tmp_path: Path
) -> None:
    rows = list(map(as_conversation, examples))
    with pytest.raises(StepladderError, match="all 10 different ones are conversations") as caught:
        prepare_task(make_task(cases, rows), settings, tmp_path / "out")
    assert "one question and its answer" in caught.value.remedy


def test_missing_outputs_say_which_stage_writes_them(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="prepared rows are not there") as caught:
        load_prepared(tmp_path)
    assert "dvc repro" in caught.value.remedy
