"""`stepladder verify` holds what is stored against the cases and against MLflow, not only against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.errors import StepladderError
from stepladder.evaluation.looks import Seen
from stepladder.ladder.verdict import decide
from stepladder.settings import Settings
from stepladder.stages import verify as stage
from stepladder.stages.verify import refuse_edited_cases, refuse_uncounted_looks
from stepladder.stages.workspace import Workspace
from stepladder.tasks import Case
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


def test_a_verdict_that_tells_fewer_looks_than_were_counted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate({**PARAMETERS, "tasks": ["module-qa"], "hardware": "cpu"})
    workspace = Workspace(tmp_path, settings.model_copy(update={"mlflow": settings.mlflow.model_copy(
        update={"tracking_uri": "sqlite:///mlflow.db"})}))  # fmt: skip
    verdict = decide(make_evidence({"rag": RAG}, seen=Seen(looks=2)))
    monkeypatch.setattr(stage, "counted", lambda *_: Seen(looks=3))
    refuse_uncounted_looks(workspace, verdict, {"rag": RAG})  # there is no store to ask
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(StepladderError, match="3 looks at these cases are counted, and the verdict tells 2"):
        refuse_uncounted_looks(workspace, verdict, {"rag": RAG})
    monkeypatch.setattr(stage, "counted", lambda *_: Seen(looks=2, rules=["margin was 0.2"]))
    with pytest.raises(StepladderError, match="does not tell of an earlier rule: margin"):
        refuse_uncounted_looks(workspace, verdict, {"rag": RAG})
    monkeypatch.setattr(stage, "counted", lambda *_: Seen(looks=2))
    refuse_uncounted_looks(workspace, verdict, {"rag": RAG})
