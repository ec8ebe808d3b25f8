from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepladder.data.ingest.known import Known
from stepladder.data.ingest.near import bands_of, similarity
from stepladder.data.ingest.rows import traits, turn_key
from stepladder.errors import StepladderError
from stepladder.files import digest_file
from stepladder.tasks import Example
from tests.data.ingest.conftest import LONG, case, example, question


@pytest.fixture
def task(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    write(folder, "cases", [case(n, slice="xy"[n % 2], evidence=["harbour#tides"]) for n in range(3)])
    write(folder, "examples", [example(n) for n in range(4)])
    return folder


def write(folder: Path, kind: str, rows: list[dict]) -> None:
    (folder / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def opened(task: Path) -> Known:
    known = Known(task.parent / "known", task)
    for kind in ("cases", "examples"):
        known.refresh(kind)
    return known


def row(number: int, **more: object) -> Example:
    return Example.model_validate(example(number, **more))


def test_rows_are_found_by_input_turn_id_and_cluster(task: Path) -> None:
    with opened(task) as known:
        found = traits(row(2))
        ((place,),) = known.same_input("examples", [found.asked, b"none"]).values()
        assert (place.id, place.answer) == ("e2", found.answer)
        assert known.row(place) == row(2)
        assert known.ids("examples", ["e1", "e9"]) == {"e1"}
        assert known.same_turn("examples", [turn_key(question(3)), turn_key("x")]) == {
            turn_key(question(3)): "e3"
        }
        assert known.same_turn("cases", [turn_key(question(3))]) == {}
        assert known.clusters("cases", ["ledger 1", "", "x"]) == {"ledger 1": "c1"}


def test_a_new_case_is_found_though_many_examples_share_its_bands(task: Path) -> None:
    write(task, "examples", [example(n, prompt=LONG) for n in range(40)])
    opened(task)
    write(task, "cases", [case(9, input=LONG)])
    with opened(task) as known:
        ((place,),) = known.candidates("cases", bands_of([f"{LONG} again"])).values()
    assert place.id == "c9"


def test_traits_and_evidence_are_counted(task: Path) -> None:
    with opened(task) as known:
        assert known.total("cases") == 3
        assert known.counts("cases", "slice", 2, ["z"]) == {"x": 2, "z": 0}
        assert known.evidence_in("harbour") == [("harbour#tides", "cases", 3)]
        assert known.evidence_in("harb") == []


def test_a_file_edited_by_hand_is_looked_at_anew(task: Path) -> None:
    opened(task)
    write(task, "examples", [example(7)])
    with opened(task) as known:
        assert known.ids("examples", ["e1", "e7"]) == {"e7"}
        assert known.total("examples") == 1
        assert known.total("cases") == 3


def test_what_is_appended_is_known_as_if_the_whole_were_read(task: Path) -> None:
    path, added = task / "examples.jsonl", task / "added"
    start = path.stat().st_size
    with opened(task) as known:
        write(task, "more", [example(8), example(9)])
        (task / "more.jsonl").rename(added)
        path.write_bytes(path.read_bytes() + added.read_bytes())
        bands = bands_of([question(8), question(9)])
        known.append("examples", added, start, bands, digest_file(path))
        known.refresh("examples")
        ((place,),) = known.same_input("examples", [traits(row(9)).asked]).values()
        assert known.row(place) == row(9)
        assert known.total("examples") == 6
        assert known.candidates("examples", bands)[1][0].id == "e9"


def test_texts_nearly_alike_are_candidates_of_each_other(task: Path) -> None:
    write(task, "examples", [example(0), {"id": "long", "prompt": LONG, "completion": "x"}])
    asked = ["Which way?", f"{LONG} exactly", "Something else altogether"]
    with opened(task) as known:
        found = known.candidates("examples", bands_of(asked))
    assert [place.id for place in found[1]] == ["long"]
    assert 2 not in found
    assert similarity(LONG, f"{LONG},") == 1.0
    assert similarity(LONG, asked[2]) == 0.0


def test_a_malformed_row_of_the_dataset_is_named(task: Path) -> None:
    (task / "examples.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(StepladderError, match=r"examples.jsonl, line 1: "):
        opened(task)
