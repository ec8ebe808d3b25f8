"""What a verdict costs: 4 rungs, 10,000 cases, 10,000 resamples, and the memory that it takes.

    python bench/verdict.py [--json] [--cases 10000] [--size 1] [--resamples 10000] [--binary]

Scores between 0 and 1 of cases that stand alone, the dearest kind: clusters are fewer to draw from, and
scores of 0 and 1 (--binary) need no bootstrap. Inputs are of 60 words, all guardrails are asked, and a
champion serves. The time is of summarising the rungs and deciding, and is told beside that of a matrix
product of the size of one bootstrap, measured in the same run. It is held to 10 s of one core and 1 GB, which
is promised for the numbers above; the exit code is 1 where it takes more.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time

import numpy as np

from stepladder.evaluation.cost import rung_cost
from stepladder.evaluation.records import Outcome, Response, RungOutcomes
from stepladder.evaluation.summary import summarise
from stepladder.evaluation.usage import usage_of
from stepladder.ladder.evidence import Evidence
from stepladder.ladder.verdict import decide
from stepladder.settings import Cost, Evaluation
from stepladder.tasks import Bars, TaskSpec

MEANS = {"prompt": 0.3, "rag": 0.78, "lora": 0.6, "lora+rag": 0.8}
PRICES = Cost(engine_per_hour=0.1, training_per_hour=0.1, adapter_life_months=3)
BARS = Bars(score=0.7, abstention=0.6, valid=0.9, latency_p95_ms=1000, cost_per_1000=1.0)
SPEC = TaskSpec(title="t", scorer="exact", bars=BARS, margin=0.03, monthly_requests=10_000)
WORDS = 60
MOST_S, MOST_MIB = 10, 1000


def questions(cases: int) -> list[str]:
    """Texts of ``WORDS`` words out of 5,000, about as long as a snippet or a ticket."""
    words = np.random.default_rng(1).integers(0, 5000, (cases, WORDS))
    return [" ".join(f"word{word}" for word in row) for row in words]


def outcomes(rung: str, inputs: list[str], size: int, binary: bool) -> RungOutcomes:
    cases = len(inputs)
    drawn = np.random.default_rng(len(rung)).random(cases)
    unanswerable = np.arange(cases) % 9 == 0  # abstaining is right or wrong, nothing between
    scores = np.where(binary | unanswerable, drawn < MEANS[rung], drawn ** (1 / MEANS[rung] - 1))
    answer = Response(text="a", prompt_tokens=9, completion_tokens=3, latency_ms=5.0, engine_s=len(rung) / 10)
    rows = [
        Outcome(
            id=f"case-{i:06d}",
            input=inputs[i],
            reference="a",
            answerable=not unanswerable[i],
            slice=f"slice {i % 4}",
            cluster=f"page {i // size}",
            score=float(score),
            exact=bool(score == 1),
            valid=True,
            response=answer,
        )
        for i, score in enumerate(scores)
    ]
    return RungOutcomes(
        task="t", rung=rung, variant="v", model_digest="m", adapter_digest=None, outcomes=rows
    )


def product_seconds(clusters: int, resamples: int) -> float:
    """Of one bootstrap's size, in parts as there."""
    part = np.ones((max(1, 4_000_000 // clusters), clusters))
    columns = np.ones((clusters, 4))
    started = time.perf_counter()
    for _ in range(-(-resamples // len(part))):
        part @ columns
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1, help="cases to a cluster")
    parser.add_argument("--binary", action="store_true", help="scores of 0 and 1")
    options = parser.parse_args()
    inputs = questions(options.cases)
    rungs = {rung: outcomes(rung, inputs, options.size, options.binary) for rung in MEANS}
    evaluation = Evaluation(resamples=options.resamples)
    product = product_seconds(options.cases // options.size, options.resamples)
    started, cpu = time.perf_counter(), time.process_time()
    summaries = {rung: summarise(one, evaluation) for rung, one in rungs.items()}
    costs = {
        rung: rung_cost(usage_of(one).engine_s, PRICES, SPEC.monthly_requests) for rung, one in rungs.items()
    }
    champion = {"champion": rungs["rag"], "champion_cost": costs["rag"]}
    verdict = decide(Evidence("t", SPEC, rungs, summaries, costs, evaluation, forgetting=0.0, **champion))
    took = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    within = took < MOST_S and peak < MOST_MIB
    measured = {
        "decision": f"{verdict.decision} {verdict.rung}",
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(took, 2),
        "over_one_product": round(took / product, 1),
        "peak_mib": peak,
        "held_to": f"{MOST_S} s and {MOST_MIB} MiB: {'passes' if within else 'FAILS'}",
    }
    if options.json:
        print(json.dumps(measured))
    else:
        print("\n".join(f"{name:18} {value}" for name, value in measured.items()))
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
