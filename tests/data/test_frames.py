from collections.abc import Callable
from typing import Any

import pytest

from stepladder.data.frames import COLUMNS, Record, task_frames
from stepladder.data.suites import SUITES
from stepladder.errors import StepladderError
from stepladder.tasks import Task

MakeTask = Callable[..., Task]
Rows = list[dict[str, Any]]
FAULTS = ("form", "roles", "answer", "evidence", "support", "slice_known")


def faults(record: Record) -> dict[str, str]:
    return {name: record[name] for name in FAULTS if record.get(name) is not None}


def test_sound_rows_have_no_fault(make_task: MakeTask, cases: Rows, examples: Rows) -> None:
    frames = task_frames(make_task(cases, examples))
    assert {kind: len(records) for kind, records in frames.items()} == {
        "examples": 10,
        "cases": 4,
        "knowledge": 1,
    }
    assert not any(faults(record) for records in frames.values() for record in records)


def test_a_task_without_knowledge_has_no_such_frame(make_task: MakeTask, cases: Rows, examples: Rows) -> None:
    rows = [[row | {"evidence": []} for row in kind] for kind in (cases, examples)]
    frames = task_frames(make_task(*rows, pages={}))
    assert set(frames) == {"examples", "cases"}
    assert not any(faults(record) for record in frames["cases"])


@pytest.mark.parametrize(
    ("change", "column", "told"),
    [
        ({"input": 3}, "form", "input: Input should be a valid string"),
        ({"colour": 1}, "form", "colour: Extra inputs are not permitted"),
        ({"evidence": ["gone", "copy"]}, "evidence", "no such page or section: gone"),
        ({"evidence": ["copy#options/owner"]}, "evidence", "no such page or section: copy#options/owner"),
        ({"evidence": ["copy#"]}, "evidence", "no text stands before the page's first section: copy#"),
        ({"evidence": ["blank"]}, "evidence", "the page has no text: blank"),
        ({"evidence": ["copy#options/mode~2"]}, "evidence", "names a part, which depends on how long"),
        ({"evidence": []}, "support", "answerable, but names no evidence"),
        ({"reference": "text"}, "answer", "the answer is not JSON"),
    ],
)
def test_a_fault_of_a_case_is_told(
    *,
    make_task: MakeTask,
    cases: Rows,
    examples: Rows,
    change: dict[str, Any],
    column: str,
    told: str,
) -> None:
    good = [row | {"reference": []} for row in cases]
    good[2] |= change
    pages = {"copy": "# copy\n\n## Options\n\n### mode\n\nBits.\n", "blank": "\n"}
    frames = task_frames(make_task(good, examples, pages, output_schema={"type": "array"}))
    assert [bool(faults(record)) for record in frames["cases"]] == [False, False, True, False]
    record = frames["cases"][2]
    assert record["where"] == "cases.jsonl:3"
    assert list(faults(record)) == [column]
    assert record[column].startswith(told)


def test_a_case_that_asks_the_same_as_an_earlier_one_is_told(
    make_task: MakeTask, cases: Rows, examples: Rows
) -> None:
    cases[1]["input"] = 3
    cases[3]["input"] = f"\n{cases[0]['input'].upper()}  "
    twins = [record.get("twin") for record in task_frames(make_task(cases, examples))["cases"]]
    assert twins == [None, None, None, "case 'c0' asks the same: one question would count as two"]


def test_the_tasks_abstention_is_a_right_reference_for_an_unanswerable_case(
    make_task: MakeTask, cases: Rows, examples: Rows
) -> None:
    rows = [row | {"reference": "None.", "answerable": False, "evidence": []} for row in cases]
    frames = task_frames(make_task(rows, examples, output_schema={"type": "array"}, abstention="None."))
    assert not any(faults(record) for record in frames["cases"])


def test_turns_that_do_not_alternate_are_a_fault_of_their_own(
    make_task: MakeTask, cases: Rows, examples: Rows
) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    examples[0] = {"messages": turns}
    record = task_frames(make_task(cases, examples))["examples"][0]
    assert (record["id"], list(faults(record))) == ("line-1", ["roles"])


def test_a_slice_that_no_case_has_is_told(make_task: MakeTask, cases: Rows, examples: Rows) -> None:
    examples[1]["slice"] = "typo"
    record = task_frames(make_task(cases, examples))["examples"][1]
    assert faults(record) == {"slice_known": "no case is of slice 'typo'"}


def test_a_line_that_is_not_json_is_a_row_without_its_form(
    make_task: MakeTask, cases: Rows, examples: Rows
) -> None:
    records = task_frames(make_task('{"id": "c0"\n\n[1]\n', examples))["cases"]
    assert [record["where"] for record in records] == ["cases.jsonl:1", "cases.jsonl:3"]
    assert records[0]["form"].startswith("not valid JSON")
    assert records[1]["form"].startswith("row: Input should be a valid dictionary")


def test_evidence_of_a_task_without_knowledge_is_a_fault(
    make_task: MakeTask, cases: Rows, examples: Rows
) -> None:
    record = task_frames(make_task(cases, examples, pages={}))["cases"][0]
    assert faults(record) == {"evidence": "names evidence, but the task has no knowledge folder"}


def test_a_page_whose_name_would_break_ids_is_a_fault(
    make_task: MakeTask, cases: Rows, examples: Rows
) -> None:
    pages = {"copy": "# copy\n\n## Options\n\n### mode\n", "c#": "text", "empty": " \n"}
    records = {row["id"]: row for row in task_frames(make_task(cases, examples, pages))["knowledge"]}
    assert "must not hold '#'" in records["c#"]["form"]
    assert records["empty"]["content"] is None


def test_empty_knowledge_and_a_wrong_schema_are_errors(
    make_task: MakeTask, cases: Rows, examples: Rows
) -> None:
    with pytest.raises(StepladderError, match="holds no text"):
        task_frames(make_task(cases, examples, {"copy": "\n"}))
    with pytest.raises(StepladderError, match="not a JSON schema"):
        task_frames(make_task(cases, examples, output_schema={"type": 3}))


def test_the_suites_speak_of_columns_that_exist() -> None:
    for kind, suite in SUITES.items():
        columns = {item["kwargs"]["column"] for item in suite if "column" in item["kwargs"]}
        assert columns <= set(COLUMNS[kind])
