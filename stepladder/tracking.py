"""A climb in MLflow: one run for the climb of a task, one run under it for each rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stepladder.evaluation.summary import RungSummary
from stepladder.ladder.form import Verdict

_CLIMB_TAG = "stepladder.verdict_digest"


def log_climb(
    verdict: Verdict,
    verdict_digest: str,
    summaries: Mapping[str, RungSummary],
    parameters: Mapping[str, object],
    artifacts: Sequence[Path],
    losses: Sequence[float],
) -> str:
    """Log a task's climb, unless this very verdict is logged already.

    Returns:
        The id of the climb's run.
    """
    import mlflow

    known = mlflow.search_runs(
        filter_string=f"tags.`{_CLIMB_TAG}` = '{verdict_digest}'", max_results=1, output_format="list"
    )
    if known:
        return str(known[0].info.run_id)
    with mlflow.start_run(run_name=f"climb {verdict.task}") as climb:
        mlflow.log_params({name: str(value)[:500] for name, value in parameters.items()})
        mlflow.set_tags({"task": verdict.task, "decision": verdict.decision, "rung": verdict.rung or "none"})
        mlflow.log_metrics({f"gap.{cause}": share for cause, share in verdict.gaps.items()})
        for path in artifacts:
            mlflow.log_artifact(str(path))
        for step, loss in enumerate(losses):
            mlflow.log_metric("loss", loss, step=step)
        for rung, summary in summaries.items():
            _log_rung(rung, summary, verdict)
        # Last, so that a run that was cut short is not taken for a whole one.
        mlflow.set_tag(_CLIMB_TAG, verdict_digest)
        return str(climb.info.run_id)


def _log_rung(rung: str, summary: RungSummary, verdict: Verdict) -> None:
    import mlflow

    with mlflow.start_run(run_name=f"{verdict.task} {rung}", nested=True):
        mlflow.log_params({"rung": rung, "variant": summary.variant})
        metrics = {
            "score": summary.score,
            "exact_rate": summary.exact_rate,
            "valid_rate": summary.valid_rate,
            "latency_p95_ms": summary.latency_p95_ms,
            "prompt_tokens": summary.prompt_tokens_mean,
            "completion_tokens": summary.completion_tokens_mean,
        }
        if summary.interval.low is not None and summary.interval.high is not None:
            metrics |= {"score_low": summary.interval.low, "score_high": summary.interval.high}
        decided = verdict.rungs.get(rung)
        if decided is not None:
            metrics["cost_per_1000"] = decided.cost_per_1000
        mlflow.log_metrics(metrics)
