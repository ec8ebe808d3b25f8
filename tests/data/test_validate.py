import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepladder.data.validate import BadRow, ValidationReport, require_valid, validate_task
from stepladder.errors import StepladderError
from stepladder.tasks import Task

MakeTask = Callable[..., Task]
Rows = list[dict[str, Any]]


def report_of(bad: int) -> ValidationReport:
    rows = [
        BadRow(kind="cases", where=f"cases.jsonl:{n}", id=f"c{n}", column="form", reason="wrong")
        for n in range(1, bad + 1)
    ]
    return ValidationReport(task="t", rows={}, expectations={}, bad_rows=rows, warnings=rows[:1])


def test_a_report_without_bad_rows_passes_whatever_its_warnings() -> None:
    require_valid(report_of(0), Path("there"))


def test_the_error_names_ten_rows_and_counts_the_rest() -> None:
    with pytest.raises(StepladderError) as caught:
        require_valid(report_of(12), Path("there"))
    lines = caught.value.what.split("\n")
    assert lines[0] == "12 faults in the task's rows:"
    assert lines[1] == "  cases.jsonl:1 (id 'c1'): form: wrong"
    assert lines[-2:] == ["  cases.jsonl:10 (id 'c10'): form: wrong", "  and 2 more"]
    assert caught.value.where == "task t"
    assert "mend or remove" in caught.value.remedy


@pytest.mark.slow
def test_great_expectations_names_every_bad_row_and_keeps_its_docs(
    make_task: MakeTask, cases: Rows, examples: Rows, tmp_path: Path
) -> None:
    cases[1]["evidence"] = ["gone"]
    cases[3] |= {"id": "c0", "input": " "}
    examples[2]["slice"] = "typo"
    examples[4]["completion"] = "x" * 40_000
    examples[6] = {"messages": [{"role": "assistant", "content": "a"}]}
    pages = {"copy": "# copy\n\n## Options\n\n### mode\n", "twin/a": "same", "twin/b": "same"}
    pages["blank"] = "\n"
    task = make_task(cases, examples, pages)
    out = tmp_path / "out"
    report = validate_task(task, out)
    assert not report.ok
    assert [(row.where, row.id, row.column) for row in report.bad_rows] == [
        ("examples.jsonl:5", "e4", "output"),
        ("examples.jsonl:7", "line-7", "roles"),
        ("cases.jsonl:1", "c0", "id"),
        ("cases.jsonl:2", "c1", "evidence"),
        ("cases.jsonl:4", "c0", "id"),
        ("cases.jsonl:4", "c0", "input"),
        ("knowledge/blank.md", "blank", "content"),
    ]
    assert report.bad_rows[3].reason == "no such page or section: gone"
    assert report.bad_rows[5].reason == "is empty or longer than 32,000 characters"
    assert [(row.where, row.column) for row in report.warnings] == [
        ("examples.jsonl:3", "slice_known"),
        ("knowledge/twin/a.md", "content"),
        ("knowledge/twin/b.md", "content"),
    ]
    assert ValidationReport.model_validate(json.loads((out / "report.json").read_text())) == report
    site = out / "data_docs"
    assert "validations" in (site / "index.html").read_text()
    assert not [path for path in site.rglob("*.html") if str(tmp_path) in path.read_text()]


@pytest.mark.slow
def test_a_second_run_replaces_the_docs_and_writes_the_same_report(
    make_task: MakeTask, cases: Rows, examples: Rows, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert validate_task(make_task("", examples), out).bad_rows[0] == BadRow(
        kind="cases", where="cases", id="", column="", reason="there are no rows"
    )
    assert validate_task(make_task(cases, examples), out).ok
    first = (out / "report.json").read_bytes()
    validate_task(make_task(cases, examples), out)
    assert (out / "report.json").read_bytes() == first
    assert len(list((out / "data_docs" / "validations").iterdir())) == 3
