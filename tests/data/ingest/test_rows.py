from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepladder.data.ingest.rows import arrived_rows, line_of, text_of, traits
from stepladder.tasks import Case, Example


def read(tmp_path: Path, content: bytes, kind: str = "examples") -> list:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    return list(arrived_rows(path, "t/examples/a.jsonl", kind))


def test_every_line_that_is_not_blank_is_a_row_sound_or_not(tmp_path: Path) -> None:
    good = b'{"id": "a", "prompt": "q", "completion": "a"}'
    rows = read(tmp_path, b"\xef\xbb\xbf" + good + b"\r\n\n  \nno json\n\xff\n[]\n" + good)
    assert [row.source.rpartition(":")[2] for row in rows] == ["1", "4", "5", "6", "7"]
    assert [row.row is not None for row in rows] == [True, False, False, False, True]
    assert "not valid JSON" in rows[1].fault
    assert "not UTF-8" in rows[2].fault
    assert rows[2].raw == "\\xff"


def test_turns_that_do_not_alternate_fail_a_check_of_their_own(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b'{"messages": [{"role": "assistant", "content": "a"}]}')
    assert row.check == "roles"


def test_a_row_without_an_id_gets_one_made_of_what_it_says(tmp_path: Path) -> None:
    one, same, other = (
        row.row.id
        for row in read(
            tmp_path,
            b'{"prompt": "q", "completion": "a"}\n{"instruction": "Q ", "output": "A"}\n'
            b'{"prompt": "q", "completion": "b"}',
        )
    )
    assert one == same != other
    assert one.startswith("in-")


def test_a_line_of_the_dataset_is_in_one_form_whatever_was_sent() -> None:
    row = Example.model_validate({"id": "a", "instruction": "q", "input": "more", "output": "é"})
    assert json.loads(line_of(row))["messages"][0]["content"] == "q\n\nmore"
    assert line_of(row).endswith("\n")
    assert "é" in line_of(row)


@pytest.mark.parametrize(("reference", "said"), [("A  b", "a b"), ({"b": 1, "a": []}, '{"a":[],"b":1}')])
def test_a_case_is_compared_by_its_input_and_reference(reference: object, said: str) -> None:
    row = Case(id="c", input="Which?", reference=reference, cluster="k", evidence=["p#s"])
    found = traits(row)
    assert (found.label, found.turns, found.cluster, found.evidence) == (said, ("Which?",), "k", ("p#s",))
    assert text_of(row).startswith("Which?\n")


def test_all_before_the_answer_is_what_is_asked() -> None:
    turns = [("system", "s"), ("user", "u1"), ("assistant", "a1"), ("user", "u2"), ("assistant", "a2")]
    row = Example.model_validate({"messages": [{"role": role, "content": text} for role, text in turns]})
    other = row.model_copy(update={"messages": [row.messages[0], *row.messages[3:]]})
    assert traits(row).turns == ("u1", "u2")
    assert traits(row).asked != traits(other).asked
    assert traits(row).answer == traits(other).answer
