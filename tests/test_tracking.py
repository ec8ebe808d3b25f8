"""What a climb leaves in MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stepladder.evaluation.looks import Look, Seen, count_looks, look_of, sketch
from stepladder.ladder.form import Verdict
from stepladder.ladder.verdict import decide
from stepladder.tracking import RungLog, TrainingLog, climb_metrics, log_climb, log_look, rung_metrics
from stepladder.tuning.forgetting import Forgetting
from stepladder.tuning.train import TrainingResult
from tests.ladder.conftest import SCORES, make_evidence, make_outcomes

EVIDENCE = make_evidence({rung: make_outcomes(rung, score) for rung, score in SCORES.items()})
TRAINING = TrainingLog(
    result=TrainingResult(
        rows=1,
        steps=2,
        tokens=90,
        seconds=3.0,
        tokens_per_s=30.0,
        losses=[2.0, 1.0],
        final_loss=1.0,
        resumed_from=None,
    ),
    forgetting=Forgetting(before=10.0, after=11.0, relative_rise=0.1, items=40),
)


def verdict() -> Verdict:
    return decide(EVIDENCE)


def rung(name: str) -> RungLog:
    return RungLog(EVIDENCE.summaries[name], {"zero-shot+schema": 0.5, "few-shot": 0.75})


def test_a_climb_has_retrieval_with_intervals_training_and_forgetting() -> None:
    metrics = climb_metrics(verdict(), TRAINING)
    assert metrics["retrieval.recall_at_3"] == 0.92
    assert (metrics["retrieval.recall_at_3.low"], metrics["retrieval.recall_at_3.high"]) == (0.88, 0.95)
    assert metrics["forgetting.relative_rise"] == 0.1
    assert (metrics["forgetting.perplexity_before"], metrics["forgetting.perplexity_after"]) == (10, 11)
    assert metrics["training.tokens_per_s"] == 30
    assert metrics["gap.knowledge"] == 0.51


def test_a_climb_without_training_has_no_figures_of_it() -> None:
    assert not [
        name for name in climb_metrics(verdict(), None) if name.startswith(("training", "forgetting"))
    ]


def test_a_rung_has_its_slices_with_intervals_and_the_dev_scores_of_its_variants() -> None:
    metrics = rung_metrics(rung("rag"), verdict())
    summary = EVIDENCE.summaries["rag"]
    assert (metrics["score"], metrics["score.low"]) == (summary.score, summary.interval.low)
    for name, part in summary.slices.items():
        assert metrics[f"slice.{name}"] == part.score
        assert metrics[f"slice.{name}.high"] == part.interval.high
    assert (metrics["dev.zero-shot_schema"], metrics["dev.few-shot"]) == (0.5, 0.75)
    assert metrics["cost_per_1000"] == verdict().rungs["rag"].cost_per_1000


def test_a_climb_is_logged_once_with_its_files(mlflow_store: Path, tmp_path: Path) -> None:
    import mlflow

    report = tmp_path / "report.html"
    report.write_text("<html>")
    logged = [
        log_climb(
            verdict(),
            "digest",
            parameters={"seed": 0},
            rungs=[rung("rag"), rung("lora+rag")],
            training=TRAINING,
            artifacts=[report],
            climb="lock",
        )
        for _ in range(2)
    ]
    assert logged[0] == logged[1]
    run = mlflow.get_run(logged[0])
    assert run.data.tags["climb"] == "lock"
    assert run.data.metrics["retrieval.recall_at_3.low"] == 0.88
    assert run.data.metrics["loss"] == 1.0
    files = mlflow.MlflowClient().list_artifacts(logged[0])
    assert [file.path for file in files] == ["report.html"]
    children = mlflow.search_runs(
        filter_string=f"tags.`mlflow.parentRunId` = '{logged[0]}'", output_format="list"
    )
    assert {child.data.params["rung"] for child in children} == {"rag", "lora+rag"}
    assert all("slice.choices.low" in child.data.metrics for child in children)


@pytest.fixture
def of_its_own(mlflow_store: Path) -> Iterator[str]:
    """An experiment in which nobody else logs looks."""
    import mlflow

    mlflow.set_experiment("looks by other rules")
    yield "looks by other rules"
    mlflow.set_experiment("tests")


def test_earlier_rules_are_read_from_climbs_of_any_age(
    mlflow_store: Path, of_its_own: str, tmp_path: Path
) -> None:
    import mlflow

    uri = f"sqlite:///{mlflow_store}/mlflow.db"
    rule = verdict().rule.model_dump(mode="json")
    present = look_of("t", EVIDENCE.outcomes, rule)
    log_look(look_of("t", EVIDENCE.outcomes, {**rule, "margin": 0.2}))
    with mlflow.start_run():
        mlflow.log_params(
            {
                "digest.case_set": "another",
                "digest.responses": present.responses,
                "digest.cases": sketch(present.cases),
                "digest.rule": "of another rule",
            }
        )
    seen = count_looks(uri, of_its_own, present, tmp_path)
    assert seen == Seen(looks=3, rules=["margin was 0.2", "what it was is not known any more"])
    (logged,) = mlflow.search_runs(filter_string="params.`looks.rule` != ''", output_format="list")
    assert logged.data.params["looks.cases"] == sketch(present.cases)
    assert "digest.cases" not in logged.data.params, "that is the digest of cases.jsonl"


def test_a_look_that_no_climb_logged_is_counted_once_it_is(mlflow_store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{mlflow_store}/mlflow.db"
    cases = [f"{number:08x}" for number in range(900)]  # more than one parameter holds
    log_look(Look(task="t", case_set="these cases", responses="earlier", cases=cases))
    others = [f"{number:08x}" for number in range(900, 2000)]
    for responses, asked, looks in (("now", cases, 2), ("earlier", cases[300:], 1), ("now", others, 1)):
        present = Look(task="u", case_set="other cases", responses=responses, cases=asked)
        assert count_looks(uri, "tests", present, tmp_path).looks == looks
