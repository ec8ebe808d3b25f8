"""How well retrieval finds the evidence, apart from what is answered: recall@k, MRR, nDCG@k.

Relevance is binary. A retrieved chunk is a find when it lies in an evidence id not yet found, so the
parts of one section count once. Per case:

- recall@k: the share of its evidence ids that are found among the first k;
- MRR: 1 / rank of the first find in the whole list, 0 without one;
- nDCG@k: the sum of 1 / log2(rank + 1) over the finds among the first k, over its best value,
  min(k, number of evidence ids) finds at the top (Jarvelin and Kekalainen, "Cumulated gain-based
  evaluation of IR techniques", 2002).

Intervals are those of a rung's score: clusters are the unit, since questions about one document succeed and
fail together, and where nothing or everything is found the interval still has a width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stepladder.errors import StepladderError
from stepladder.evaluation.intervals import cluster_bootstrap
from stepladder.evaluation.resampling import Resampling
from stepladder.knowledge.chunk import covers
from stepladder.tasks import Case, Strict

Floats = NDArray[np.float64]


class Estimate(Strict):
    """A mean over cases with its two-sided interval, and how that was found."""

    value: float
    interval: tuple[float, float]
    method: str


class RetrievalScores(Strict):
    """Scores over ``n`` cases in ``clusters`` clusters; recall and nDCG by k."""

    n: int
    clusters: int
    recall: dict[int, Estimate]
    mrr: Estimate
    ndcg: dict[int, Estimate]


class RetrievalMetrics(Strict):
    """Scores over all cases that have evidence, and by slice."""

    overall: RetrievalScores
    slices: dict[str, RetrievalScores]


def retrieval_metrics(
    cases: Sequence[Case],
    retrieved_ids: Sequence[Sequence[str]],
    ks: Sequence[int] = (1, 3, 10),
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> RetrievalMetrics | None:
    """Score the chunk ids retrieved for each case, best first; cases without evidence are left out.

    Args:
        retrieved_ids: one list a case, in case order; lists should be at least ``max(ks)`` long.
        confidence: coverage of the two-sided intervals.

    Returns:
        None where no case has evidence.

    Raises:
        StepladderError: the lists are not one a case.
    """
    if len(cases) != len(retrieved_ids):
        raise StepladderError(
            f"{len(retrieved_ids)} lists of retrieved chunks for {len(cases)} cases",
            where="retrieval metrics",
            remedy="retrieve for every case, in case order",
        )
    pairs = [(case, list(ids)) for case, ids in zip(cases, retrieved_ids, strict=True) if case.evidence]
    if not pairs:
        return None
    how = Resampling(resamples=resamples, confidence=confidence, seed=seed)
    rows = np.array([_case_scores(find_ranks(case.evidence, ids), case, ks) for case, ids in pairs])

    def scores(chosen: Sequence[int]) -> RetrievalScores:
        clusters = [pairs[i][0].cluster for i in chosen]
        estimates = _estimates(rows[chosen], clusters, how)
        return RetrievalScores(
            n=len(chosen),
            clusters=len(set(clusters)),
            recall=dict(zip(ks, estimates[: len(ks)], strict=True)),
            mrr=estimates[len(ks)],
            ndcg=dict(zip(ks, estimates[len(ks) + 1 :], strict=True)),
        )

    slices = sorted({case.slice for case, _ in pairs})
    return RetrievalMetrics(
        overall=scores(range(len(pairs))),
        slices={
            name: scores([i for i, (case, _) in enumerate(pairs) if case.slice == name]) for name in slices
        },
    )


def find_ranks(evidence: Iterable[str], retrieved: Sequence[str]) -> list[int]:
    """For each evidence id that is found, the rank (from 1) of the first chunk that lies in it, ascending."""
    missing = set(evidence)
    ranks = []
    for rank, chunk_id in enumerate(retrieved, 1):
        found = {wanted for wanted in missing if covers(wanted, chunk_id)}
        ranks += [rank] * len(found)
        missing -= found
    return ranks


def _case_scores(ranks: Sequence[int], case: Case, ks: Sequence[int]) -> list[float]:
    """Recall for each k, MRR, nDCG for each k."""
    evidence = len(set(case.evidence))
    recall = [sum(rank <= k for rank in ranks) / evidence for k in ks]
    ndcg = [
        sum(_gain(rank) for rank in set(ranks) if rank <= k)
        / sum(_gain(rank) for rank in range(1, min(k, evidence) + 1))
        for k in ks
    ]
    return [*recall, 1 / ranks[0] if ranks else 0.0, *ndcg]


def _gain(rank: int) -> float:
    return float(1 / np.log2(rank + 1))


def _estimates(rows: Floats, clusters: Sequence[str], how: Resampling) -> list[Estimate]:
    """Mean of each column of ``rows``, shape (cases, scores), with its interval."""
    found = [cluster_bootstrap(column, clusters, "mean", how) for column in rows.T]
    return [
        Estimate(
            value=one.estimate,
            # One cluster tells of no error: anything is possible.
            interval=(0.0 if one.low is None else one.low, 1.0 if one.high is None else one.high),
            method=one.method,
        )
        for one in found
    ]
