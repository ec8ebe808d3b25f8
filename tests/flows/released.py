"""A task with a verdict and a registered release, as a climb would have made them: no model is needed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from flows.place import Place
from stepladder.files import digest_file, write_json
from stepladder.ladder.form import Verdict
from stepladder.releases import VERDICT, register, use_mlflow
from stepladder.settings import Mlflow, load_settings
from stepladder.stages.release import store_identity
from stepladder.stages.workspace import Workspace
from tests.flows.project import commit
from tests.test_release_aliases import release

TASK = "tiny"
_BARS = {"score": 0.5}
_RUNG: dict[str, Any] = {
    "variant": "zero-shot",
    "n": 4,
    "clusters": 4,
    "statistic": "mean",
    "score": 1.0,
    "interval": (0.9, 1.0),
    "lower_bound": 0.9,
    "exact_rate": 1.0,
    "valid_rate": 1.0,
    "abstention_accuracy": None,
    "cost_per_1000": 0.1,
    "latency_p95_ms": 100,
    "eligible": True,
    "undecided": False,
    "reasons": ["it meets the bar"],
    "cases_needed": None,
    "criteria": [],
    "design_effect": 1.0,
    "sd": 0.1,
}
VERDICT_OF_TINY: dict[str, Any] = {
    "task": TASK,
    "title": "T",
    "decision": "promote",
    "rung": "prompt",
    "sentence": "Promote prompt.",
    "bar": 0.5,
    "margin": 0.05,
    "confidence": 0.95,
    "level": 0.05,
    "rule": {
        "alpha": 0.05,
        "power": 0.8,
        "confidence": 0.95,
        "resamples": 100,
        "seed": 0,
        "looks": 10,
        "margin": 0.05,
        "bars": _BARS,
        "monthly_requests": 10,
    },
    "unsettled": None,
    "open": [],
    "rungs": {"prompt": _RUNG},
    "comparisons": [],
    "cases_needed": None,
    "gaps": {},
    "advice": [],
    "forgetting": None,
    "retrieval": {},
    "skipped": {},
    "costs": {},
    "break_even": [],
    "training": None,
    "sizes": {},
    "digests": {},
    "champion": None,
    "slices": None,
    "case_set": {"looks": 1, "budget": 10, "worn": False, "fresh_cases": None},
    "warnings": [],
    "digest": "d",
}


def give_verdict(project: Path, mlflow_uri: str) -> None:
    """Let a stage of the project reach a verdict, whose release is registered as version 1."""
    import mlflow

    verdict = Verdict.model_validate(VERDICT_OF_TINY)
    write_json(project / "verdict.json", verdict.model_dump(mode="json"))
    dag = yaml.safe_load((project / "dvc.yaml").read_text())
    made = f"build/{TASK}/verdict.json"
    dag["stages"]["verdict"] = {
        "cmd": f"mkdir -p build/{TASK} && cp verdict.json {made}",
        "deps": ["verdict.json", "build/judged.json"],
        "outs": [{made: {"persist": True}}],
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump(dag, sort_keys=False))
    commit(project, "Reach a verdict")

    mlflow.set_tracking_uri(mlflow_uri)
    mlflow.create_experiment("stepladder", artifact_location=(project / "var/artifacts").as_uri())
    use_mlflow(Mlflow(tracking_uri=mlflow_uri))
    folder = project / "var/release"
    folder.mkdir(parents=True)
    shutil.copy(project / "verdict.json", folder / VERDICT)
    made_of = release().model_copy(update={"task": TASK})
    write_json(folder / "release.json", made_of.model_dump(mode="json"))
    with mlflow.start_run() as run:
        version = register(folder, made_of, "It won.", run.info.run_id)
    # What a climb notes of a verdict whose release it has registered.
    place = Place(project, load_settings(project / "params.yaml"))
    assert place.tracking_uri == mlflow_uri
    done = {
        "verdict": digest_file(project / "verdict.json"),
        "store": store_identity(Workspace(project, place.settings)),
    }
    note = place.workspace / "scratch/released" / f"{TASK}.json"
    write_json(note, {"done": done, "run": run.info.run_id, "version": version})
