"""A climb in MLflow: one run for the climb of a task, one run under it for each rung."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stepladder.evaluation.looks import VERDICT_TAG, Look
from stepladder.evaluation.summary import RungSummary
from stepladder.ladder.form import Verdict
from stepladder.tuning.forgetting import Forgetting
from stepladder.tuning.train import TrainingResult

_LONGEST = 6000  # characters of a parameter, for MLflow


@dataclass(frozen=True)
class RungLog:
    """What one rung reached, and the dev score of each of its variants."""

    summary: RungSummary
    dev_scores: Mapping[str, float]


@dataclass(frozen=True)
class TrainingLog:
    """How an adapter was trained, and what was forgotten."""

    result: TrainingResult
    forgetting: Forgetting


def log_climb(
    verdict: Verdict,
    verdict_digest: str,
    *,
    parameters: Mapping[str, object],
    rungs: Sequence[RungLog],
    training: TrainingLog | None,
    artifacts: Sequence[Path],
    climb: str | None = None,
) -> str:
    """Log a task's climb, unless this very verdict is logged already.

    ``climb`` becomes the tag by which the runs of one climb, one a task, find each other.

    Returns:
        The id of the climb's run.
    """
    import mlflow

    known = mlflow.search_runs(
        filter_string=f"tags.`{VERDICT_TAG}` = '{verdict_digest}'", max_results=1, output_format="list"
    )
    if known:
        return str(known[0].info.run_id)
    with mlflow.start_run(run_name=f"climb {verdict.task}") as run:
        mlflow.log_params({name: str(value)[:_LONGEST] for name, value in parameters.items()})
        mlflow.set_tags({"task": verdict.task, "decision": verdict.decision, "rung": verdict.rung or "none"})
        if climb:
            mlflow.set_tag("climb", climb)
        mlflow.log_metrics(climb_metrics(verdict, training))
        for path in artifacts:
            mlflow.log_artifact(str(path))
        for step, loss in enumerate(training.result.losses if training else ()):
            mlflow.log_metric("loss", loss, step=step)
        for rung in rungs:
            _log_rung(rung, verdict)
        # Last, so that a run that was cut short is not taken for a whole one.
        mlflow.set_tag(VERDICT_TAG, verdict_digest)
        return str(run.info.run_id)


def log_look(look: Look) -> None:
    """Log a look at the cases that no climb logged."""
    import mlflow

    with mlflow.start_run(run_name=f"look {look.task}"):
        mlflow.set_tag("task", look.task)
        mlflow.log_params(look.parameters())


def _log_rung(rung: RungLog, verdict: Verdict) -> None:
    import mlflow

    with mlflow.start_run(run_name=f"{verdict.task} {rung.summary.rung}", nested=True):
        mlflow.log_params({"rung": rung.summary.rung, "variant": rung.summary.variant})
        mlflow.log_metrics(rung_metrics(rung, verdict))


def climb_metrics(verdict: Verdict, training: TrainingLog | None) -> dict[str, float]:
    """Causes of failure, retrieval with its intervals, training and forgetting, by MLflow's metric names."""
    metrics: dict[str, float | None] = {f"gap.{cause}": share for cause, share in verdict.gaps.items()}
    for name, one in verdict.retrieval.items():
        metrics |= _with_interval(f"retrieval.{name}", one.estimate, one.low, one.high)
    if training:
        metrics |= {
            "training.tokens": training.result.tokens,
            "training.seconds": training.result.seconds,
            "training.tokens_per_s": training.result.tokens_per_s,
            "training.final_loss": training.result.final_loss,
            "forgetting.perplexity_before": training.forgetting.before,
            "forgetting.perplexity_after": training.forgetting.after,
            "forgetting.relative_rise": training.forgetting.relative_rise,
        }
    return _named(metrics)


def rung_metrics(rung: RungLog, verdict: Verdict) -> dict[str, float]:
    """Score, slices and dev scores with their intervals, guardrails, latency, tokens and cost."""
    summary = rung.summary
    decided = verdict.rungs.get(summary.rung)
    metrics = _with_interval("score", summary.score, summary.interval.low, summary.interval.high) | {
        "exact_rate": summary.exact_rate,
        "valid_rate": summary.valid_rate,
        "abstention_accuracy": summary.abstention_accuracy,
        "latency_p50_ms": summary.latency_p50_ms,
        "latency_p95_ms": summary.latency_p95_ms,
        "prompt_tokens": summary.prompt_tokens_mean,
        "completion_tokens": summary.completion_tokens_mean,
        "cost_per_1000": decided.cost_per_1000 if decided else None,
    }
    for name, part in summary.slices.items():
        metrics |= _with_interval(f"slice.{name}", part.score, part.interval.low, part.interval.high)
    return _named(metrics | {f"dev.{variant}": score for variant, score in rung.dev_scores.items()})


def _with_interval(name: str, value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {name: value, f"{name}.low": low, f"{name}.high": high}


def _named(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Without those that are undefined, and by names that MLflow allows: `recall@3` is `recall_at_3`."""
    return {
        re.sub(r"[^\w./ -]", "_", name.replace("@", "_at_")): value
        for name, value in metrics.items()
        if value is not None
    }
