"""Looks at a set of cases: counted in MLflow, once for the same responses, wherever they were logged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.evaluation.looks import (
    Look,
    Seen,
    case_digests,
    case_set_digest,
    count_looks,
    forget_look,
    look_of,
    note_look,
    noted_looks,
    responses_digest,
    share_seen,
    sketch,
)
from stepladder.evaluation.records import RungOutcomes
from stepladder.files import digest_value
from tests.evaluation.test_summary import outcome, rung

RULE = {"alpha": 0.05, "margin": 0.05, "bars": {"score": 0.7, "valid": None}}


def at(cases: str, responses: str) -> Look:
    return Look(task="t", case_set=cases, responses=responses)


def rungs(*scores: float) -> dict[str, RungOutcomes]:
    return {"rag": rung([outcome(i, score) for i, score in enumerate(scores)])}


def test_digests_know_neither_order_nor_times() -> None:
    one = rungs(1.0, 0.0, 1.0)
    slow = [o.response.model_copy(update={"latency_ms": 9e9}) for o in one["rag"].outcomes]
    turned = [o.model_copy(update={"response": s}) for o, s in zip(one["rag"].outcomes, slow, strict=True)][
        ::-1
    ]
    other = {"rag": one["rag"].model_copy(update={"outcomes": turned})}
    assert case_set_digest(other) == case_set_digest(one)
    assert responses_digest(other) == responses_digest(one)


def test_other_answers_are_another_look_at_the_same_cases() -> None:
    one, other = rungs(1.0, 0.0), rungs(1.0, 1.0)
    assert case_set_digest(other) == case_set_digest(one)
    assert responses_digest(other) != responses_digest(one)


def test_other_cases_are_another_set() -> None:
    assert case_set_digest(rungs(1.0, 0.0)) != case_set_digest(rungs(1.0))


def asked(*numbers: int, **changed: object) -> dict[str, RungOutcomes]:
    """Cases that each ask for themselves."""
    rows = [outcome(i, 1.0).model_copy(update={"input": f"question {i}", **changed}) for i in numbers]
    return {"rag": rung(rows)}


@pytest.mark.parametrize(
    "now",
    [
        asked(*range(11)),  # one more
        asked(*range(10), slice="renamed", cluster="another", id="c"),
        asked(*range(4)),  # fewer are asked
        asked(*range(20)),  # half of them are new
    ],
)
def test_a_test_that_was_changed_a_little_is_the_same_test(
    now: dict[str, RungOutcomes], tmp_path: Path
) -> None:
    note_look(tmp_path / "looks", look_of("t", asked(*range(10)), RULE))
    present = look_of("renamed", now, RULE).model_copy(update={"responses": "others"})
    noted = noted_looks(tmp_path / "looks")
    assert noted[0].case_set != present.case_set
    assert count_looks("sqlite:///mlflow.db", "stepladder", present, tmp_path, noted).looks == 2


@pytest.mark.parametrize("now", [asked(*range(21)), asked(*range(10), reference="another answer")])
def test_a_test_of_other_cases_for_the_most_part_is_another(
    now: dict[str, RungOutcomes], tmp_path: Path
) -> None:
    noted = [look_of("t", asked(*range(10)), RULE)]
    present = look_of("t", now, RULE)
    assert count_looks("sqlite:///mlflow.db", "stepladder", present, tmp_path, noted).looks == 1


def test_of_a_large_set_a_sketch_tells_about_what_share_was_seen() -> None:
    def cases(*numbers: int) -> list[str]:
        return case_digests(asked(*numbers))

    earlier = cases(*range(3000))
    assert len(sketch(earlier)) == 4000
    for share in (0.0, 0.3, 0.7, 1.0):
        present = cases(*range(int(3000 * (1 - share)), int(3000 * (2 - share))))
        assert share_seen(present, sketch(earlier)) == pytest.approx(share, abs=0.07)
    assert share_seen(cases(1, 2), sketch(cases(1))) == 0.5, "of a small set all are known"
    assert share_seen(cases(1, 2), "") == 0


def test_a_store_that_is_not_there_holds_no_looks_and_is_not_made(tmp_path: Path) -> None:
    assert count_looks("sqlite:///mlflow.db", "stepladder", at("cases", "now"), tmp_path).looks == 1
    assert not (tmp_path / "mlflow.db").exists()


def test_looks_that_no_climb_logged_are_noted_once_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "looks"
    first, second = at("cases", "first"), at("cases", "second")
    for look in (first, second, first, at("others", "third")):
        note_look(folder, look)

    def counted(responses: str) -> int:
        store = "sqlite:///mlflow.db"
        return count_looks(store, "stepladder", at("cases", responses), tmp_path, noted_looks(folder)).looks

    assert (counted("now"), counted("first")) == (3, 2)
    forget_look(folder, first)
    assert counted("now") == 2


def by(responses: str, **changed: object) -> Look:
    rule = RULE | changed
    return Look(task="t", case_set="cases", responses=responses, rule=rule, rule_digest=digest_value(rule))


def test_the_same_answers_by_another_rule_are_another_look_and_what_was_changed_is_told(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "looks"
    for look in (by("a"), by("a", bars={"score": 0.6, "valid": None}), by("b", margin=0.1), by("a")):
        note_look(folder, look)
    noted = noted_looks(folder)
    assert len(noted) == 3
    seen = count_looks("sqlite:///mlflow.db", "stepladder", by("a"), tmp_path, noted)
    assert seen == Seen(looks=3, rules=["bars.score was 0.6", "margin was 0.1"])
    moved = by("a", bars={"score": 0.7, "valid": 0.9})
    seen = count_looks("sqlite:///mlflow.db", "stepladder", moved, tmp_path, noted)
    assert seen.looks == 4
    assert "bars.valid was not set" in seen.rules
    for look in noted:
        forget_look(folder, look)
    assert not noted_looks(folder)


def test_a_look_of_before_rules_were_kept_is_read_and_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "looks"
    note_look(folder, at("cases", "a"))
    old = digest_value(["cases", "a"])[:32]
    assert [path.stem for path in folder.iterdir()] == [old], "named as before, so that it can be forgotten"
    noted = noted_looks(folder)
    for responses, looks in (("a", 1), ("b", 2)):
        seen = count_looks("sqlite:///mlflow.db", "stepladder", by(responses), tmp_path, noted)
        assert seen == Seen(looks=looks)


def test_a_server_that_is_down_is_told_soon_and_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    retries: list[str | None] = []

    def down(uri: str) -> None:
        retries.append(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES"))
        raise MlflowException(f"cannot reach {uri}")

    monkeypatch.setattr(mlflow, "MlflowClient", down)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "unset below")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    with pytest.raises(StepladderError) as refused:
        count_looks("https://ann:secret@127.0.0.1:1/mlflow", "stepladder", at("cases", "now"), tmp_path)
    assert retries == ["2"]
    assert "secret" not in str(refused.value)
    assert "//127.0.0.1:1/mlflow" in str(refused.value)


@pytest.mark.slow
def test_looks_are_counted_once_for_the_same_responses(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = "sqlite:///mlflow.db"
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("stepladder")
    for cases, responses in (("cases", "a"), ("cases", "b"), ("cases", "b"), ("other", "c")):
        run = client.create_run(experiment)
        client.log_param(run.info.run_id, "digest.case_set", cases)
        client.log_param(run.info.run_id, "digest.responses", responses)
    for where, cases, now, looks in (
        ("stepladder", "cases", "now", 3),
        ("stepladder", "cases", "a", 2),
        ("stepladder", "unseen", "now", 1),
        ("another", "cases", "now", 1),
    ):
        assert count_looks(uri, where, at(cases, now), tmp_path).looks == looks
