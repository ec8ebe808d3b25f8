"""`stepladder verify` holds what is stored against the cases and against MLflow, not only against itself."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.errors import StepladderError
from stepladder.evaluation.looks import Seen, look_of, note_look
from stepladder.ladder.form import Verdict
from stepladder.ladder.verdict import decide
from stepladder.releases import use_mlflow
from stepladder.settings import Mlflow, Settings
from stepladder.stages import verify as stage
from stepladder.stages.verify import differing, later_looks, refuse_edited_cases
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Case
from stepladder.tracking import log_climb, log_look
from tests.ladder.conftest import make_evidence, make_outcomes

PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
RAG = make_outcomes("rag", 0.8)
FIELDS = {"id", "input", "reference", "answerable", "slice", "cluster"}
CASES = [Case(**one.model_dump(include=FIELDS)) for one in RAG.outcomes]


def test_the_prepared_cases_pass_in_any_order() -> None:
    refuse_edited_cases(CASES[::-1], RAG)


@pytest.mark.parametrize(
    "changed",
    [{"reference": "value 4 too"}, {"answerable": False}, {"slice": "easy"}, {"cluster": "of its own"},
     {"input": "What?"}, {"id": "case-9999"}],
)  # fmt: skip
def test_a_stored_case_that_is_not_the_prepared_one_is_refused(changed: dict[str, Any]) -> None:
    rows = [*RAG.outcomes[:4], RAG.outcomes[4].model_copy(update=changed), *RAG.outcomes[5:]]
    with pytest.raises(StepladderError, match="the stored case case-0004 is not the prepared one"):
        refuse_edited_cases(CASES, RAG.model_copy(update={"outcomes": rows}))


def test_a_case_that_was_left_out_is_refused() -> None:
    with pytest.raises(StepladderError, match="case-0000"):
        refuse_edited_cases(CASES, RAG.model_copy(update={"outcomes": RAG.outcomes[1:]}))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    settings = Settings.model_validate({**PARAMETERS, "tasks": ["module-qa"], "hardware": "cpu"})
    return Workspace(tmp_path, settings.model_copy(update={"mlflow": settings.mlflow.model_copy(
        update={"tracking_uri": "sqlite:///mlflow.db"})}))  # fmt: skip


def test_a_verdict_that_tells_fewer_looks_than_were_counted_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = decide(make_evidence({"rag": RAG}, seen=Seen(looks=2)))
    monkeypatch.setattr(stage, "counted", lambda *_: Seen(looks=3))
    assert later_looks(workspace, verdict, "", {"rag": RAG}) is None, "there is no store to ask"
    (workspace.root / "mlflow.db").touch()
    with pytest.raises(StepladderError, match="3 looks at these cases are counted, and the verdict tells 2"):
        later_looks(workspace, verdict, "", {"rag": RAG})
    monkeypatch.setattr(stage, "counted", lambda *_: Seen(looks=2, rules=["margin was 0.2"]))
    with pytest.raises(StepladderError, match="does not tell of an earlier rule: margin"):
        later_looks(workspace, verdict, "", {"rag": RAG})
    monkeypatch.setattr(stage, "counted", lambda *_: Seen(looks=2))
    assert later_looks(workspace, verdict, "", {"rag": RAG}) == 0


def test_later_looks_are_told_of_a_verdict_that_a_climb_logged_and_refuse_one_that_was_edited(
    workspace: Workspace, mlflow_store: Path, request: pytest.FixtureRequest
) -> None:
    import mlflow

    used = Mlflow(tracking_uri=f"sqlite:///{mlflow_store}/mlflow.db", experiment="verified")
    use_mlflow(used)
    request.addfinalizer(lambda: mlflow.set_experiment("tests"))
    workspace = replace(workspace, settings=workspace.settings.model_copy(update={"mlflow": used}))
    verdict = decide(make_evidence({"rag": RAG}, seen=Seen(looks=1)))
    rule = verdict.rule.model_dump(mode="json")
    log_climb(
        verdict,
        "its digest",
        parameters=look_of("module-qa", {"rag": RAG}, rule).parameters(),
        rungs=[],
        training=None,
        artifacts=[],
    )
    time.sleep(0.01)  # MLflow keeps milliseconds
    note_look(workspace.looks, look_of("module-qa", {"rag": RAG}, {**rule, "margin": 0.3}))
    log_look(look_of("module-qa", {"rag": make_outcomes("rag", 0.9)}, rule))
    assert later_looks(workspace, verdict, "its digest", {"rag": RAG}) == 2
    with pytest.raises(StepladderError, match="3 looks at these cases are counted, and the verdict tells 1"):
        later_looks(workspace, verdict, "of an edited file", {"rag": RAG})


def test_a_verdict_of_before_the_champion_was_told_still_verifies() -> None:
    now = decide(make_evidence({"rag": RAG}, champion=RAG))
    then = Verdict.model_validate(now.model_dump(mode="json", exclude={"champion_measured"}))
    assert differing(then, now) == []
    assert now.champion_measured is not None
    better = now.champion_measured.model_copy(update={"score": 0.99})
    assert differing(now.model_copy(update={"champion_measured": better}), now) == ["champion_measured.score"]
