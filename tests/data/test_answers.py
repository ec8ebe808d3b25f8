from pathlib import Path

import pytest

from stepladder.data.answers import answer_check
from stepladder.errors import StepladderError

SCHEMA = {"type": "object", "properties": {"line": {"type": "integer"}}, "required": ["line"]}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ('{"line": 3}', None),
        ({"line": 3}, None),
        ("{line: 3}", "the answer is not JSON: Expecting property name"),
        ("{}", "the answer at $: 'line' is a required property"),
        ({"line": "x"}, "the answer at $.line: 'x' is not of type 'integer'"),
    ],
)
def test_an_answer_is_checked_as_text_or_as_a_value(answer: object, fault: str | None) -> None:
    told = answer_check(SCHEMA, Path("task.yaml"))(answer)
    assert told is None if fault is None else told is not None and told.startswith(fault)


def test_a_long_fault_is_shortened() -> None:
    told = answer_check(SCHEMA, Path("task.yaml"))({"line": "x" * 5000})
    assert told is not None
    assert len(told) < 300


def test_without_a_schema_every_answer_is_right() -> None:
    assert answer_check(None, Path("task.yaml"))("no JSON") is None


def test_a_wrong_schema_is_the_tasks_fault() -> None:
    with pytest.raises(StepladderError, match="not a JSON schema") as caught:
        answer_check({"type": "objekt"}, Path("tasks/t/task.yaml"))
    assert caught.value.where == "tasks/t/task.yaml"
