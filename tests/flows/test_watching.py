"""What the watch measures, and where it raises its voice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flows import champion, measures
from flows.interactions import KEY, Asked, own_key, read_asked, read_corrected, records_of
from flows.place import Place
from flows.promote import seconds_since_arrival
from flows.watch import score_answers
from serving.auth import create_key, read_keys
from serving.store import Event, Store
from stepladder.data.ingest.ledger import Ledger
from stepladder.data.ingest.records import Account, PageChange, Plan
from stepladder.evaluation.looks import case_set_digest
from stepladder.files import write_json
from stepladder.promotion import Standing
from stepladder.releases import OUTCOMES, VERDICT, Registered
from stepladder.serving_record import Answering, ServingRecord, TaskRecord
from stepladder.settings import Mlflow, Settings
from stepladder.tasks import Case, Task, TaskSpec
from tests.evaluation.test_judge import says, write_labels
from tests.evaluation.test_judge import spec as judged_spec
from tests.evaluation.test_summary import outcome, rung
from tests.flows.released import VERDICT_OF_TINY
from tests.stub_server import stub_server
from tests.test_release_aliases import release

PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())

SPEC = TaskSpec.model_validate(
    {"title": "T", "scorer": "exact", "bars": {"score": 0.8}, "margin": 0.05, "monthly_requests": 10}
)


def asked(outcome: str = "answered", chunks: int = 1, correction: str | None = None) -> Asked:
    return Asked(question="q", answer="yes", outcome=outcome, chunks=chunks, correction=correction)


@contextmanager
def store_at(path: Path) -> Iterator[Store]:
    store = Store(path, lambda value: value, retention_days=3650, most_pending=10_000)
    yield store
    asyncio.run(store.committed())
    store.close()


def put(store: Store, name: str, at: float, key: str = "user", task: str = "ports", **told: Any) -> None:
    said = {"messages": [{"role": "user", "content": f"question {name}"}], "key": key}
    store.append(Event("asked", name, task, "r", said, at))
    store.append(Event("answered", name, task, "r", {"outcome": "answered", "answer": "a"} | told, at))


def test_the_records_of_a_gateway_are_read(tmp_path: Path) -> None:
    (tmp_path / "serving.yaml").write_text("records: {path: var/kept.sqlite}\n")
    path = records_of(tmp_path)
    assert read_asked(path, "ports", 0, 10) == []
    now = datetime.now(UTC).timestamp()
    with store_at(path) as store:
        put(store, "0", now)
        put(store, "1", now + 1, outcome="abstained", chunks=[["a", 0.5]])
        put(store, "2", now + 2, outcome="cancelled")
        put(store, "3", now + 3, task="other")
        for told in ({"thumb": "down"}, {"correction": "9100"}):
            store.append(Event("feedback", "0", "ports", "r", told, now))
    found = sorted(read_asked(path, "ports", 0, 10), key=lambda one: one.question)
    assert [(one.question, one.outcome, one.chunks, one.correction) for one in found] == [
        ("question 0", "answered", 0, "9100"),
        ("question 1", "abstained", 1, None),
    ]
    assert len(read_asked(path, "ports", 0, 1)) == 1
    assert read_asked(path, "ports", now + 60, 10) == []


def test_a_sample_of_all_the_time_is_read_and_every_correction_and_not_what_the_watch_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serving.yaml").write_text("records: {path: kept.sqlite}\nkeys: keys.json\n")
    monkeypatch.delenv(KEY, raising=False)
    assert own_key(tmp_path) is None
    monkeypatch.setenv(KEY, create_key(tmp_path / "keys.json", "watch", frozenset({"chat"}), 60))
    create_key(tmp_path / "keys.json", "app", frozenset({"chat"}), 60)
    (mine, user) = (one.id for one in read_keys(tmp_path / "keys.json"))
    assert own_key(tmp_path) == mine
    path, now = records_of(tmp_path), datetime.now(UTC).timestamp()
    with store_at(path) as store:
        for number in range(400):
            put(store, f"{number:03}", now + number, key=mine if number % 2 else user)
        for number in (0, 1, 2):
            store.append(Event("feedback", f"{number:03}", "ports", "r", {"correction": "c"}, now))
    found = [int(one.question.split()[1]) for one in read_asked(path, "ports", 0, 40, mine)]
    assert len(found) == 40
    assert not [number for number in found if number % 2]
    assert 120 < sum(found) / 40 < 280  # of the newest 40 the mean is 360
    corrected = [one.question for one in read_corrected(path, "ports", 0, 40, mine)]
    assert corrected == ["question 002", "question 000"]


@pytest.mark.parametrize(
    ("some", "retrieves", "value", "is_finding"),
    [
        ([asked()] * 8 + [asked("abstained")] * 2, True, 0.2, False),
        ([asked()] * 7 + [asked("abstained")] * 2 + [asked(chunks=0)], True, 0.3, True),
        ([asked(chunks=0)] * 10, False, 0.0, False),
        ([asked("abstained")] * 9, True, None, False),
    ],
)
def test_questions_that_nothing_answers_are_counted(
    *, some: list[Asked], retrieves: bool, value: float | None, is_finding: bool
) -> None:
    found = measures.nothing_relevant(some, fewest=10, limit=0.2, retrieves=retrieves, abstains=True)
    assert (found.value, found.is_finding) == (value, is_finding)
    silent = measures.nothing_relevant(some, fewest=10, limit=0.2, retrieves=retrieves, abstains=False)
    assert (silent.value, silent.is_finding) == (None, False)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_questions_like_the_cases_do_not_drift_and_others_do() -> None:
    draw = np.random.default_rng(0)
    here, there = np.zeros(16), np.zeros(16)
    here[0], there[1] = 3, 3
    cases = unit(draw.normal(here, 1, (100, 16)))
    same = measures.drift(unit(draw.normal(here, 1, (80, 16))), cases, 20, 0.3, 0.05)
    other = measures.drift(unit(draw.normal(there, 1, (80, 16))), cases, 20, 0.3, 0.05)
    repeated = measures.drift(cases, cases, 20, 0.3, 0.05)
    assert not same.is_finding
    assert other.is_finding
    assert not repeated.is_finding  # asked word for word what the cases ask
    assert measures.drift(cases[:5], cases, 20, 0.3, 0.05).value is None


def test_live_answers_are_scored_by_their_corrections() -> None:
    (case,) = measures.as_cases([asked(correction="no")])
    assert (case.input, case.reference) == ("q", "no")
    assert measures.score("s", [1.0] * 8 + [0.0] * 2, 10, SPEC).is_finding is False
    assert measures.score("s", [1.0] * 7 + [0.0] * 3, 10, SPEC).is_finding is True
    assert measures.score("s", [0.0] * 9, 10, SPEC).is_finding is False


@pytest.mark.slow
def test_a_judged_task_is_scored_by_its_judge_and_corrected_for_its_errors(tmp_path: Path) -> None:
    cases = [Case(id=f"c{i}", input=f"q{i}", reference="r", cluster=f"c{i}") for i in range(20)]
    texts = [f"{'good' if i % 2 else 'bad'} {i}" for i in range(20)]
    place = Place(tmp_path, Settings.model_validate(PARAMETERS))
    write_labels(tmp_path)
    with stub_server(says(err=lambda number: number % 20 == 0)) as server:
        task = Task(tmp_path, judged_spec(server.url), "Answer.")
        found = score_answers(place, task, "fresh cases", cases, texts)
        alone = score_answers(place, task, "fresh cases", cases[:2], texts[:2])
    assert found.value == pytest.approx(0.5, abs=0.02), "11 of 20 are called right, by one who errs so"
    assert alone.value is None


def delivered(task: str, day: int, pages: int) -> Account:
    plan = Plan(
        batch=f"{task}-{day}",
        task=task,
        occurred=datetime(2026, 1, day, tzinfo=UTC).isoformat(),
        files=[],
        counts={},
        pages=[PageChange(page=f"p{n}", change="changed") for n in range(pages)],
        additions=[],
        refused={},
        warnings={},
    )
    return Account(plan=plan, commit="c", tag="t")


def test_the_index_ages_from_the_first_page_that_it_misses() -> None:
    accounts = [
        delivered("ports", 1, 1),
        delivered("other", 4, 1),
        delivered("ports", 5, 0),
        delivered("ports", 6, 1),
        delivered("ports", 9, 2),
    ]
    made, now = datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 1, 16, tzinfo=UTC)

    def days(made: datetime, *, same: bool | None, of: list[Account] = accounts) -> float | None:
        found = measures.index_age(of, "ports", made, now, 7, same=same)
        assert found.is_finding == (found.value is not None and found.value > 7)
        return found.value

    assert days(made, same=None) == days(made, same=False) == 10
    assert days(made, same=True) == 0  # what came was taken back
    assert days(now, same=None) == 0
    assert days(now, same=False) == 7  # the last one came while the climb of this release ran
    assert days(made, same=False, of=[]) == 13  # an edit in the checkout


def test_a_promotion_tells_how_long_ago_its_data_came(tmp_path: Path) -> None:
    now = datetime(2026, 1, 6, 0, 5, tzinfo=UTC)
    with Ledger(tmp_path / ".ingest/ledger.sqlite") as ledger:
        for number, account in enumerate([delivered("ports", 5, 1), delivered("ports", 6, 1)]):
            ledger.record(account.model_copy(update={"commit": f"{number}abcdef0"}), None)
    assert seconds_since_arrival(tmp_path, "ports", "20260106-000100-1abcdef", now) == 300
    assert seconds_since_arrival(tmp_path, "ports", "20260106-000100-9abcdef", now) is None
    assert seconds_since_arrival(tmp_path, "other", "20260106-000100-1abcdef", now) is None
    assert seconds_since_arrival(tmp_path, "ports", None, now) is None


@pytest.mark.parametrize(("looks", "is_finding"), [(10, False), (11, True), (None, False)])
def test_a_test_wears_out(*, looks: int | None, is_finding: bool) -> None:
    assert measures.worn_test(looks, 10).is_finding == is_finding


@pytest.mark.slow
def test_looks_go_on_being_counted_after_the_champion_was_chosen(mlflow_store: Path, tmp_path: Path) -> None:
    import mlflow

    outcomes = rung([outcome(number, 1.0) for number in range(4)], "prompt")
    digests = {"case_set": case_set_digest({"prompt": outcomes}), "responses": "those that chose it"}
    write_json(tmp_path / VERDICT, VERDICT_OF_TINY | {"digests": digests})
    serving = Registered(release=release(), version="1", folder=tmp_path)
    store = Mlflow(tracking_uri=f"sqlite:///{mlflow_store}/mlflow.db", experiment="tests")
    assert champion.looks_at(serving, store, tmp_path, []) is None
    write_json(tmp_path / OUTCOMES, outcomes.model_dump(mode="json"))

    def looks() -> int | None:
        return champion.looks_at(serving, store, tmp_path, [])

    assert looks() == 1
    for responses in (digests["responses"], "later", "later", "last"):
        with mlflow.start_run():
            mlflow.log_params({"digest.case_set": digests["case_set"], "digest.responses": responses})
    with mlflow.start_run():
        mlflow.log_params({"digest.case_set": "of other cases", "digest.responses": "others"})
    assert looks() == 3


def record(*, alive: bool, age_s: float = 0) -> ServingRecord:
    answering = Answering(version="1", digest="d", rung="rag", engine="e", alive=alive, users=0)
    there = TaskRecord(wanted=Standing(champion="1"), answering=answering)
    return ServingRecord(at=datetime.now(UTC).timestamp() - age_s, tasks={"ports": there})


@pytest.mark.parametrize(
    ("recorded", "elsewhere", "value"),
    [
        ({"alive": True}, False, 1),
        ({"alive": False}, True, 0),
        ({"alive": True, "age_s": 1e6}, False, 0),
        (None, False, 0),
        (None, True, 1),
    ],
)
def test_a_champion_that_does_not_answer_is_found(
    *, recorded: dict[str, Any] | None, elsewhere: bool, value: float
) -> None:
    found = record(**recorded) if recorded is not None else None
    measured = measures.engine(found, "ports", elsewhere=elsewhere)
    assert (measured.value, measured.is_finding) == (value, not value)
    json.dumps(measured.model_dump())


def test_live_answers_in_another_form_than_the_tasks_are_found_without_a_reference() -> None:
    spec = SPEC.model_copy(update={"scorer": "issue-f1"})
    well, broken = '{"issues": []}', "There are no issues."

    def share(*answers: str) -> measures.Measure:
        some = [asked().model_copy(update={"answer": one}) for one in answers]
        return measures.in_form(spec, some, fewest=4, limit=0.5)

    assert share(well, well, broken, broken).value == 0.5
    assert not share(well, well, broken, broken).is_finding
    assert share(well, broken, broken, broken).is_finding
    assert share(broken, broken).value is None
    assert measures.in_form(spec, [asked("abstained")] * 4, 4, 0.5).value == 1
