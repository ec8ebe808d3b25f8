"""A synthetic ladder like the one measured on module-qa: prompt .06, rag .54, lora .02, lora+rag .83."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from stepladder.evaluation.cost import rung_cost
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.records import Counts, Outcome, Response, RungOutcomes
from stepladder.evaluation.summary import summarise
from stepladder.ladder.verdict import Evidence
from stepladder.settings import Cost, Evaluation
from stepladder.tasks import Bars, TaskSpec

EVALUATION = Evaluation(resamples=1000)
PRICES = Cost(engine_per_hour=0.10, training_per_hour=0.10, adapter_life_months=3)
SPEC = TaskSpec(
    title="Questions about Ansible modules",
    scorer="short-answer",
    bars=Bars(score=0.7),
    margin=0.05,
    monthly_requests=10_000,
)
SCORES = {"prompt": 0.06, "rag": 0.54, "lora": 0.02, "lora+rag": 0.83}
ENGINE_S = {"prompt": 0.11, "rag": 0.34, "lora": 0.12, "lora+rag": 0.36}
SLICES = ("default", "choices", "required", "which module")


def make_outcomes(
    rung: str, score: float, clusters: int = 60, size: int = 3, seed: int = 0, counted: bool = False
) -> RungOutcomes:
    """Outcomes whose cases stand in clusters of equal size; difficulties are shared by all rungs."""
    hard = np.random.default_rng(seed).random(clusters * size)
    within = np.repeat(np.random.default_rng(seed + 1).random(clusters), size)
    rank = np.argsort(np.argsort(0.7 * hard + 0.3 * within))
    rows = []
    for i, place in enumerate(rank):
        right = bool(place < round(score * len(rank)))
        module = f"ansible.builtin.module_{i // size:02d}"
        option = f"option_{i}"
        rows.append(
            Outcome(
                id=f"case-{i:04d}",
                input=f"What is the default value of the option {option} of the module {module}?",
                reference=f"value {i}",
                answerable=i % 9 != 0,
                slice=SLICES[i % len(SLICES)],
                cluster=module,
                score=float(right),
                exact=right,
                valid=True,
                counts=Counts(tp=int(right), fp=0, fn=int(not right)) if counted else None,
                retrieved=[f"{module}#options/{option}", f"{module}#notes"] if "rag" in rung else [],
                response=Response(
                    text=f"The default is value {i if right else i + 1}.",
                    prompt_tokens=300 if "rag" in rung else 60,
                    completion_tokens=9,
                    latency_ms=1000 * ENGINE_S[rung] * (2 + i % 7),
                    engine_s=ENGINE_S[rung],
                ),
            )
        )
    return RungOutcomes(
        task="module-qa",
        rung=rung,
        variant="few-shot" if rung == "prompt" else "top-3" if "rag" in rung else "plain",
        model_digest="m" * 64,
        adapter_digest="a" * 64 if "lora" in rung else None,
        outcomes=rows,
    )


def needed(share: float, reach: float = 0.07) -> Interval:
    """A share of all cases that fail for want of something."""
    return Interval(
        estimate=share, low=max(0.0, share - reach), high=share + reach, confidence=0.95, method="made up"
    )


def make_evidence(outcomes: dict[str, RungOutcomes], spec: TaskSpec = SPEC, **more: Any) -> Evidence:
    """Evidence with summaries and costs made from the outcomes."""
    summaries = {rung: summarise(one, EVALUATION) for rung, one in outcomes.items()}
    costs = {
        rung: rung_cost(
            fmean(one.response.engine_s for one in outcomes[rung].outcomes),
            PRICES,
            spec.monthly_requests,
            training_seconds=321.0 if "lora" in rung else None,
            index_seconds=40.0 if "rag" in rung else None,
        )
        for rung in outcomes
    }
    evidence = Evidence(
        task="module-qa",
        spec=spec,
        outcomes=outcomes,
        summaries=summaries,
        costs=costs,
        evaluation=EVALUATION,
        gaps={"knowledge": 0.51, "retrieval": 0.1, "behaviour": 0.31, "unexplained": 0.08},
        needs={"documents": needed(0.57), "training": needed(0.29)},
        forgetting=0.031,
        retrieval={
            "recall@3": Interval(
                estimate=0.92, low=0.88, high=0.95, confidence=0.95, method="cluster bootstrap"
            ),
            "MRR": Interval(estimate=0.83, low=0.79, high=0.87, confidence=0.95, method="cluster bootstrap"),
        },
        sizes={"cases": 180, "dev_rows": 24, "train_tokens": 60000, "context_tokens": 300},
        digests={"task": "1" * 64, "cases": "2" * 64, "base model": "3" * 64, "adapter": "4" * 64},
    )
    return replace(evidence, **more)


@pytest.fixture
def ladder() -> Callable[..., dict[str, RungOutcomes]]:
    """Outcomes by rung; keyword arguments replace scores, ``None`` drops a rung."""

    def build(scores: dict[str, float | None] | None = None, **shape: Any) -> dict[str, RungOutcomes]:
        wanted = {**SCORES, **(scores or {})}
        return {rung: make_outcomes(rung, s, **shape) for rung, s in wanted.items() if s is not None}

    return build


@pytest.fixture
def evidence_of() -> Callable[..., Evidence]:
    """``make_evidence``."""
    return make_evidence


@pytest.fixture
def spec() -> TaskSpec:
    """A task with a bar of .70 and a margin of .05."""
    return SPEC
