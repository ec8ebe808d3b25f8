"""A release must say again what it said, in the task's form, before it gets a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.smoke import HungError, MismatchError, RefusalError, choose, require_smoke
from stepladder.engine import RunningEngine
from stepladder.errors import StepladderError
from stepladder.evaluation.records import Outcome, Response, RungOutcomes
from stepladder.prompting.compose import Plan
from tests.serving.house import task_of
from tests.stub_engine import stub_engine

PLAN = Plan(rung="prompt", context_tokens=10)


def outcome(number: int, text: str, valid: bool = True) -> Outcome:
    response = Response(text=text, prompt_tokens=1, completion_tokens=1, latency_ms=1, engine_s=1)
    return Outcome(
        id=f"c{number}",
        input=f"q{number}",
        reference="x",
        answerable=True,
        slice="all",
        cluster="c",
        score=1,
        exact=True,
        valid=valid,
        response=response,
    )


def outcomes(*all_of_them: Outcome) -> RungOutcomes:
    return RungOutcomes(
        task="t",
        rung="prompt",
        variant="zero-shot",
        model_digest="m",
        adapter_digest=None,
        outcomes=list(all_of_them),
    )


def check(folder: Path, says: str | int, cases: list[Outcome], **spec: Any) -> None:
    with stub_engine(lambda _: says) as engine:
        task = task_of("t", folder, **spec)
        require_smoke(task, PLAN, RunningEngine(engine.url, "stub"), None, cases, 10)


def test_cases_are_spread_over_those_that_were_valid() -> None:
    some = [outcome(n, "a", valid=n % 2 == 0) for n in range(20)]
    assert [one.id for one in choose(outcomes(*some), 3)] == ["c0", "c6", "c12"]
    assert len(choose(outcomes(*some[1:2]), 3)) == 1


def test_the_same_answers_pass_and_a_few_others_may_differ(tmp_path: Path) -> None:
    check(tmp_path, "yes", [outcome(n, "yes") for n in range(3)])
    check(tmp_path, "Yes.", [outcome(1, "yes"), outcome(2, "yes"), outcome(3, "no")])


@pytest.mark.parametrize(
    ("says", "recorded", "spec", "why"),
    [
        ("no", ["yes", "yes", "no"], {}, "2 of 3"),
        ("not JSON", ['{"issues": []}'], {"scorer": "issue-f1"}, "not in the task's form"),
        (400, ["yes"], {}, "refuses"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, says: str | int, recorded: list[str], spec: dict[str, str], why: str
) -> None:
    cases = [outcome(number, text) for number, text in enumerate(recorded)]
    if spec:
        cases = [case.model_copy(update={"reference": {}}) for case in cases]
    with pytest.raises(RefusalError, match=why):
        check(tmp_path, says, cases, **spec)


def test_answers_that_a_judge_scores_may_be_worded_otherwise_but_not_be_missing(tmp_path: Path) -> None:
    judged: dict[str, Any] = {"scorer": "judge", "judge": {"model": "m"}}
    cases = [outcome(number, f"answer {number}") for number in range(3)]
    check(tmp_path, "another wording", cases, **judged)
    with pytest.raises(MismatchError, match="3 of 3"):
        check(tmp_path, "", cases, **judged)
    cases = [outcome(number, '"answer"') for number in range(3)]
    check(tmp_path, '"another"', cases, output_schema={"type": "string"}, **judged)
    with pytest.raises(MismatchError, match="3 of 3"):
        check(tmp_path, "7", cases, output_schema={"type": "string"}, **judged)


def test_without_recorded_answers_nothing_can_be_checked(tmp_path: Path) -> None:
    with pytest.raises(RefusalError, match="no recorded answers"):
        check(tmp_path, "yes", [])


def test_an_engine_that_does_not_answer_in_time_hangs(tmp_path: Path) -> None:
    for log, may_pass in ((Path("log"), False), (None, True)):
        task, cases = task_of("t", tmp_path), [outcome(1, "yes")]
        with stub_engine(lambda _: "yes", latency_s=5) as engine, pytest.raises(HungError) as caught:
            require_smoke(task, PLAN, RunningEngine(engine.url, "stub", log), None, cases, 0.1)
        assert caught.value.may_pass is may_pass


def test_a_gateway_that_ends_does_not_wait_for_an_answer(tmp_path: Path) -> None:
    def ends() -> None:
        raise StepladderError("the gateway is ending")

    task, cases = task_of("t", tmp_path), [outcome(1, "yes")]
    with stub_engine(lambda _: "yes", latency_s=5) as stub:
        engine = RunningEngine(stub.url, "stub")
        with pytest.raises(StepladderError, match="ending"):
            require_smoke(task, PLAN, engine, None, cases, 60, ends)


def test_an_engine_that_fails_is_not_the_releases_fault(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="did not answer"):
        check(tmp_path, 500, [outcome(1, "yes")])
