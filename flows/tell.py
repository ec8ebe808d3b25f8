"""What a climb shows for itself: tables and Markdown for Prefect's artifacts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from flows.clone import uncached_outputs
from stepladder.files import read_json
from stepladder.ladder.form import Verdict
from stepladder.ladder.markdown import summary
from stepladder.settings import Mlflow
from stepladder.stages.workspace import Workspace, load

Rows = list[dict[str, Any]]


def key_of(name: str) -> str:
    """A name as Prefect allows it for an artifact's key."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def outputs_of(clone: Path, stage: str) -> Rows:
    """What a stage made, as ``dvc.lock`` tells it: path, bytes, digest."""
    lock = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))
    return [
        {"output": one["path"], "bytes": one.get("size", ""), "md5": one.get("md5", "")}
        for one in lock["stages"][stage].get("outs", [])
    ]


def metrics_of(clone: Path, stage: str) -> Rows:
    """The numbers in a stage's metrics, by their path in the file."""
    found = {one["output"] for one in outputs_of(clone, stage)} & set(uncached_outputs(clone))
    return [
        {"metric": name, "value": value}
        for path in sorted(found)
        if path.endswith(".json")
        for name, value in _numbers(read_json(clone / path))
    ]


def _numbers(value: Any, name: str = "") -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return [
            one for key, inner in value.items() for one in _numbers(inner, f"{name}.{key}" if name else key)
        ]
    return [(name, value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def verdicts_of(workspace: Workspace) -> list[Verdict]:
    """The verdicts that a climb holds."""
    paths = [workspace.verdict(name) for name in workspace.settings.tasks]
    return [load(Verdict, path) for path in paths if path.is_file()]


def rungs_of(verdict: Verdict) -> Rows:
    """A verdict's rungs, cheapest first."""
    return [
        {
            "rung": name,
            "variant": one.variant,
            "cases": one.n,
            "score": round(one.score, 4),
            "interval": "{:.3f} to {:.3f}".format(*one.interval) if one.interval else "",
            "$ per 1,000": round(one.cost_per_1000, 4),
            "p95 ms": round(one.latency_p95_ms),
            "eligible": one.eligible,
        }
        for name, one in verdict.rungs.items()
    ]


def told(verdict: Verdict, run: str, mlflow_run: str | None) -> str:
    """A verdict as Markdown, with where its report and its MLflow run are found."""
    report = f"build/{verdict.task}/report.html"
    lines = [
        summary(verdict),
        f"- Report: `dvc get . {report} --rev runs/{run}`",
        f"- MLflow: {mlflow_run}" if mlflow_run else "",
        f"- At a desk: `git checkout runs/{run} && dvc pull && dvc repro`",
    ]
    return "\n".join(line for line in lines if line)


def mlflow_link(mlflow: Mlflow, verdict_digest: str) -> str | None:
    """Where MLflow shows a climb's run, as Markdown; its id where MLflow has no page of its own."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow.tracking_uri)
    experiment = client.get_experiment_by_name(mlflow.experiment)
    if experiment is None:
        return None
    tagged = f"tags.`stepladder.verdict_digest` = '{verdict_digest}'"
    runs = client.search_runs([experiment.experiment_id], tagged, max_results=1)
    if not runs:
        return None
    run = runs[0].info.run_id
    if not mlflow.tracking_uri.startswith("http"):
        return f"run `{run}` of experiment `{mlflow.experiment}`"
    page = f"{mlflow.tracking_uri.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs/{run}"
    return f"[the run]({page}), [its report]({page}/artifacts/report.html)"
