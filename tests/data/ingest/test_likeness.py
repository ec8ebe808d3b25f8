from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepladder.data.ingest.fill import RowKind
from stepladder.data.ingest.known import Known
from stepladder.data.ingest.likeness import Rows, find_leaks, find_near_duplicates, split_known
from stepladder.data.ingest.rows import traits
from stepladder.tasks import Case, Example
from tests.data.ingest.conftest import LONG, case, example


def ex(number: int, **more: object) -> Example:
    return Example.model_validate(example(number, **more))


def cs(number: int, **more: object) -> Case:
    return Case.model_validate(case(number, **more))


def new_rows(kind: RowKind, rows: list[Example | Case]) -> Rows:
    return Rows(kind, rows, [traits(row) for row in rows])


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    task = tmp_path / "tiny"
    task.mkdir()
    rows = {
        "cases": [case(0), case(1, input=LONG)],
        "examples": [example(0, cluster="kept"), example(1, prompt=f"{LONG} again", completion="a")],
    }
    for kind, some in rows.items():
        (task / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    with Known(tmp_path / "known", task) as index:
        for kind in rows:
            index.refresh(kind)
        yield index


def test_the_same_answer_to_the_same_input_is_known_whatever_its_id(known: Known) -> None:
    rows = [ex(0, id="new"), ex(5), ex(5, id="twin"), ex(0, id="x", completion="No."), ex(6)]
    repeated, conflicts = split_known("examples", [traits(row) for row in rows], known)
    assert repeated == [0, 2]
    assert conflicts == {3: "row 'e0' gives another answer to the same input"}


def test_two_answers_in_one_batch_are_both_in_conflict(known: Known) -> None:
    repeated, conflicts = split_known(
        "examples", [traits(ex(5)), traits(ex(5, id="b", completion="No."))], known
    )
    assert repeated == []
    assert sorted(conflicts) == [0, 1]


def test_an_example_must_not_repeat_a_case_nor_nearly_nor_share_its_cluster(known: Known) -> None:
    new = new_rows(
        "examples",
        [
            ex(5, prompt=case(0)["input"].upper()),
            ex(6, prompt=f"{LONG} precisely"),
            ex(7, cluster="ledger 0"),
            ex(8),
        ],
    )
    leaks = find_leaks(new, None, known, 0.9)
    assert leaks[0] == "case 'c0' has the same input"
    assert leaks[1].startswith("case 'c1' is nearly the same (similarity 0.9")
    assert leaks[2] == "case 'c0' is of the same cluster 'ledger 0'"
    assert 3 not in leaks


def test_a_case_that_comes_must_not_stand_in_the_examples(known: Known) -> None:
    new = new_rows("cases", [cs(5, input=example(0)["prompt"]), cs(6, cluster="kept"), cs(7)])
    assert sorted(find_leaks(new, None, known, 0.9)) == [0, 1]


@pytest.mark.parametrize("asked", ["How high is the tide?", "Two lines:\n\nand one more."])
def test_an_instruction_before_a_case_does_not_hide_it(tmp_path: Path, asked: str) -> None:
    hiding = {"id": "e0", "instruction": "Be brief.", "input": asked, "output": "x"}
    task = tmp_path / "tiny"
    task.mkdir()
    (task / "cases.jsonl").write_text(json.dumps(case(0, input=asked)) + "\n")
    (task / "examples.jsonl").write_text("")
    examples = new_rows("examples", [Example.model_validate(hiding)])
    cases = new_rows("cases", [cs(1, input=asked)])
    with Known(tmp_path / "known", task) as index:
        assert find_leaks(examples, cases, index, 0.9) == {0: "case 'c1' has the same input"}
        index.refresh("cases")
        assert find_leaks(examples, None, index, 0.9) == {0: "case 'c0' has the same input"}
        assert find_leaks(cases, examples, index, 0.9) == {0: "example 'e0' has the same input"}
        (task / "examples.jsonl").write_text(json.dumps(hiding) + "\n")
        index.refresh("examples")
        assert find_leaks(cases, None, index, 0.9) == {0: "example 'e0' has the same input"}


def test_cases_and_examples_of_one_batch_are_held_against_each_other(known: Known) -> None:
    cases = new_rows("cases", [cs(5), cs(6, input=f"{LONG} tonight or tomorrow")])
    new = new_rows(
        "examples", [ex(5, prompt=case(5)["input"]), ex(6, prompt=f"{LONG} tonight or tomorrow then")]
    )
    leaks = find_leaks(new, cases, known, 0.9)
    assert leaks[0] == "case 'c5' has the same input"
    assert "'c6'" in leaks[1] or "'c1'" in leaks[1]


def test_near_duplicates_of_the_dataset_and_of_the_batch_count_where_the_answer_is_the_same(
    known: Known,
) -> None:
    again = f"{LONG} again and"
    other = " ".join(reversed(LONG.split()))
    new = new_rows(
        "examples",
        [
            ex(5, prompt=again, completion="a"),
            ex(6, prompt=again, completion="b"),
            ex(7, prompt=other, completion="c"),
            ex(8, prompt=f"{other} now", completion="c"),
            ex(9),
        ],
    )
    found = find_near_duplicates(new, known, 0.9)
    assert sorted(found) == [0, 3]
    assert found[0].startswith("row 'e1' says nearly the same (similarity 0.9")
    assert found[3].startswith("row 'e7' says nearly the same")
