import json
import re
from pathlib import Path
from typing import Any

import pytest

from stepladder.errors import StepladderError
from stepladder.tasks import Case, Example, load_task, read_rows

CASE = {"id": "c1", "input": "What?", "reference": "that", "cluster": "k"}
SPEC = "title: T\nscorer: exact\nbars: {score: 0.5}\nmargin: 0.05\nmonthly_requests: 10\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound task."""
    path = tmp_path / "tasks" / "tiny"
    (path / "knowledge" / "sub").mkdir(parents=True)
    (path / "task.yaml").write_text(SPEC)
    (path / "prompt.md").write_text("Answer.")
    (path / "cases.jsonl").write_text(json.dumps(CASE) + "\n")
    (path / "examples.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (path / "knowledge" / "sub" / "page.md").write_text("# Page\n")
    return path


def test_a_task_is_loaded_with_all_its_parts(folder: Path) -> None:
    task = load_task(folder)
    assert (task.name, task.prompt, task.spec.title) == ("tiny", "Answer.", "T")
    assert task.cases == [Case.model_validate(CASE)]
    assert [(row.id, row.input, row.output) for row in task.examples] == [("line-1", "a", "b")]
    assert task.pages == {"sub/page": "# Page\n"}
    assert task.rungs == ["prompt", "rag", "lora", "lora+rag"]
    assert set(task.digests()) == {"task", "prompt", "cases", "examples", "knowledge"}


def test_a_task_without_knowledge_has_two_rungs(folder: Path) -> None:
    (folder / "knowledge" / "sub" / "page.md").unlink()
    (folder / "knowledge" / "sub").rmdir()
    (folder / "knowledge").rmdir()
    task = load_task(folder)
    assert task.rungs == ["prompt", "lora"]
    assert task.pages == {}
    assert "knowledge" not in task.digests()


def test_digests_tell_what_changed(folder: Path) -> None:
    before = load_task(folder).digests()
    (folder / "prompt.md").write_text("Answer well.")
    after = load_task(folder).digests()
    assert {name for name in before if before[name] != after[name]} == {"prompt"}


@pytest.mark.parametrize("name", ["task.yaml", "prompt.md", "cases.jsonl", "examples.jsonl"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(StepladderError, match=re.escape(f"the task has no {name}")) as caught:
        load_task(folder)
    assert caught.value.where == str(folder / name)
    assert "stepladder sample tiny" in caught.value.remedy


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="no such task folder") as caught:
        load_task(tmp_path / "gone")
    assert "stepladder setup" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "row: Input should be a valid dictionary"),
        ("title: [", "not valid YAML"),
        (SPEC + "colour: red\n", "colour: Extra inputs are not permitted"),
        (SPEC.replace("margin: 0.05\n", ""), "margin: Field required"),
        (SPEC.replace("0.5", "50"), "bars.score: Input should be less than or equal to 1"),
        (SPEC.replace("exact", "vibes"), "scorer: Input should be"),
    ],
)
def test_a_wrong_task_yaml_is_told(folder: Path, text: str, told: str) -> None:
    (folder / "task.yaml").write_text(text)
    with pytest.raises(StepladderError) as caught:
        load_task(folder)
    assert caught.value.what.startswith(told)
    assert caught.value.where == str(folder / "task.yaml")


def test_an_empty_prompt_is_refused(folder: Path) -> None:
    (folder / "prompt.md").write_text(" \n")
    with pytest.raises(StepladderError, match="the prompt is empty"):
        load_task(folder)


@pytest.mark.parametrize("name", ["task.yaml", "prompt.md"])
def test_a_file_that_is_not_utf8_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff\xfe")
    with pytest.raises(StepladderError, match="not UTF-8") as caught:
        load_task(folder)
    assert caught.value.where == str(folder / name)


def test_a_page_that_is_not_utf8_is_named(folder: Path) -> None:
    (folder / "knowledge" / "sub" / "page.md").write_bytes(b"caf\xe9")
    with pytest.raises(StepladderError, match="not UTF-8") as caught:
        _ = load_task(folder).pages
    assert caught.value.where.endswith("page.md")


@pytest.mark.parametrize("content", [None, " \n"])
def test_empty_knowledge_is_refused(folder: Path, content: str | None) -> None:
    page = folder / "knowledge" / "sub" / "page.md"
    page.unlink() if content is None else page.write_text(content)
    with pytest.raises(StepladderError, match="holds no text") as caught:
        _ = load_task(folder).pages
    assert "remove the folder" in caught.value.remedy


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not valid JSON"),
        ("[]", "row: Input should be a valid dictionary"),
        (json.dumps(CASE | {"id": ""}), "id: String should have at least 1 character"),
        (json.dumps(CASE | {"id": 7}), "id: Input should be a valid string"),
        (json.dumps({k: v for k, v in CASE.items() if k != "reference"}), "reference: Field required"),
        (json.dumps(CASE | {"answer": 1}), "answer: Extra inputs are not permitted"),
        (json.dumps(CASE), "id 'c1' stands on line 1 too"),
    ],
)
def test_a_wrong_case_is_named_by_its_line(folder: Path, line: str, told: str) -> None:
    path = folder / "cases.jsonl"
    path.write_text(f"{json.dumps(CASE)}\n\n{line}\n")
    task = load_task(folder)
    with pytest.raises(StepladderError) as caught:
        _ = task.cases
    assert caught.value.what.startswith(told)
    assert caught.value.where == f"{path}:3"
    assert caught.value.remedy


def test_a_file_without_rows_is_refused(folder: Path) -> None:
    (folder / "examples.jsonl").write_text("\n")
    with pytest.raises(StepladderError, match="no rows"):
        read_rows(folder / "examples.jsonl", Example)


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"instruction": "Sum up.", "input": "Text.", "output": "T."}, "Sum up.\n\nText."),
        ({"instruction": "Sum up.", "input": "", "output": "T."}, "Sum up."),
        ({"instruction": "Sum up.", "output": "T."}, "Sum up."),
        ({"prompt": "Sum up.", "completion": "T."}, "Sum up."),
    ],
)
def test_alpaca_and_completion_rows_become_messages(row: dict[str, str], asked: str) -> None:
    example = Example.model_validate(row | {"id": "x", "slice": "s"})
    assert (example.id, example.slice, example.input, example.output) == ("x", "s", asked, "T.")
    assert Example.model_validate(example.model_dump(mode="json")) == example


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": 5, "input": "x", "output": "y"},
        {"instruction": "x", "input": ["y"], "output": "y"},
        {"instruction": "", "output": "y"},
        {"instruction": "x", "output": None},
        {"prompt": {"a": 1}, "completion": "y"},
        {"instruction": "x"},
        {"messages": "hello"},
        {"messages": [{"role": "tool", "content": "x"}]},
    ],
)
def test_a_row_of_wrong_types_is_told_and_does_not_crash(folder: Path, row: dict[str, Any]) -> None:
    (folder / "examples.jsonl").write_text(json.dumps(row))
    with pytest.raises(StepladderError, match="messages") as caught:
        _ = load_task(folder).examples
    assert caught.value.where.endswith("examples.jsonl:1")


@pytest.mark.parametrize(
    ("roles", "sound"),
    [
        ("ua", True),
        ("sua", True),
        ("uaua", True),
        ("suaua", True),
        ("", False),
        ("s", False),
        ("u", False),
        ("au", False),
        ("uaa", False),
        ("uua", False),
        ("usa", False),
        ("ssua", False),
        ("uas", False),
    ],
)
def test_roles_alternate_after_one_system_message_at_most(roles: str, sound: bool) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    row = {"messages": [{"role": names[role], "content": role} for role in roles]}
    if sound:
        assert Example.model_validate(row).input == "u"
    else:
        with pytest.raises(ValueError, match="must alternate"):
            Example.model_validate(row)


def test_history_is_what_was_said_before_the_last_question() -> None:
    turns = [("system", "Hi."), ("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", "2")]
    example = Example.model_validate({"messages": [{"role": r, "content": c} for r, c in turns]})
    assert [(turn.role, turn.content) for turn in example.history] == [("user", "One?"), ("assistant", "1")]
    assert (example.input, example.output) == ("Two?", "2")
