"""Retrieval metrics on hand-made rankings, with values worked out by hand."""

from __future__ import annotations

import math

import pytest

from stepladder.errors import StepladderError
from stepladder.evaluation.retrieval import find_ranks, retrieval_metrics
from stepladder.tasks import Case


def case(number: int, evidence: list[str], *, slice_: str = "all", cluster: str = "") -> Case:
    return Case(
        id=f"c{number}",
        input="?",
        reference="",
        evidence=evidence,
        slice=slice_,
        cluster=cluster or f"cluster-{number}",
    )


def test_values_by_hand() -> None:
    cases = [case(0, ["a#x"]), case(1, ["b#x"]), case(2, ["c#x"])]
    lists = [["a#x", "z#"], ["z#", "b#x"], ["z#", "y#"]]

    metrics = retrieval_metrics(cases, lists, ks=(1, 2), resamples=200)

    assert metrics is not None
    overall = metrics.overall
    assert overall.recall[1].value == pytest.approx(1 / 3)
    assert overall.recall[2].value == pytest.approx(2 / 3)
    assert overall.mrr.value == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert overall.ndcg[2].value == pytest.approx((1 + 1 / math.log2(3) + 0) / 3)
    assert (overall.n, overall.clusters) == (3, 3)


def test_parts_of_a_section_count_once_and_every_evidence_counts_in_ndcg() -> None:
    assert find_ranks(["a#x"], ["a#x", "a#x~2", "a#x/deep"]) == [1]
    assert find_ranks(["a#x", "b"], ["b#any", "a#x~2", "b#other"]) == [1, 2]
    both = retrieval_metrics([case(0, ["a#x", "b"])], [["a#x", "z#", "b#y"]], ks=(3,), resamples=100)
    assert both is not None
    best = 1 + 1 / math.log2(3)
    assert both.overall.ndcg[3].value == pytest.approx((1 + 1 / 2) / best)
    assert both.overall.recall[3].value == 1


def test_recall_is_the_share_of_the_evidence_that_is_found() -> None:
    assert find_ranks(["a", "a#x"], ["z#", "a#x", "a#y"]) == [2, 2]
    some = retrieval_metrics([case(0, ["a#x", "b"])], [["a#x", "z#", "b#y"]], ks=(1, 2, 3), resamples=100)
    assert some is not None
    assert {k: one.value for k, one in some.overall.recall.items()} == {1: 0.5, 2: 0.5, 3: 1}


def test_cases_without_evidence_are_left_out() -> None:
    metrics = retrieval_metrics([case(0, ["a"]), case(1, [])], [["a#"], ["a#"]], resamples=100)
    assert metrics is not None
    assert metrics.overall.n == 1
    assert retrieval_metrics([case(1, [])], [["a#"]], resamples=100) is None


def test_slices_are_scored_apart() -> None:
    cases = [case(0, ["a"], slice_="easy"), case(1, ["b"], slice_="hard")]
    metrics = retrieval_metrics(cases, [["a#"], ["a#"]], ks=(1,), resamples=100)
    assert metrics is not None
    assert {name: scores.recall[1].value for name, scores in metrics.slices.items()} == {"easy": 1, "hard": 0}


def test_clustered_cases_widen_the_interval() -> None:
    hits = [["a#"] if i % 2 else ["z#"] for i in range(40)]
    apart = retrieval_metrics([case(i, ["a"]) for i in range(40)], hits, ks=(1,), resamples=2000)
    # The same outcomes, but all hits in one half of only four clusters.
    grouped = [case(i, ["a"], cluster=f"{i % 4}") for i in range(40)]
    together = retrieval_metrics(grouped, hits, ks=(1,), resamples=2000)
    assert apart is not None
    assert together is not None
    low, high = apart.overall.recall[1].interval
    wide_low, wide_high = together.overall.recall[1].interval
    assert low < 0.5 < high
    assert wide_high - wide_low > 1.5 * (high - low)


@pytest.mark.parametrize(("found", "end"), [("a#", 1.0), ("z#", 0.0)])
def test_finding_all_or_nothing_is_not_certain_to_go_on(found: str, end: float) -> None:
    metrics = retrieval_metrics([case(i, ["a"]) for i in range(20)], [[found]] * 20, ks=(1,), resamples=200)
    assert metrics is not None
    low, high = metrics.overall.recall[1].interval
    assert end in (low, high)
    assert high - low == pytest.approx(1 - 0.025 ** (1 / 20)), "exact: a share unseen in 20 clusters"


def test_the_same_seed_gives_the_same_interval_and_json_keeps_it() -> None:
    arguments = ([case(i, ["a"]) for i in range(9)], [["a#"] if i % 3 else [] for i in range(9)])
    first = retrieval_metrics(*arguments, resamples=500, seed=3)
    assert first is not None
    assert first == retrieval_metrics(*arguments, resamples=500, seed=3)
    assert type(first).model_validate_json(first.model_dump_json()) == first


def test_one_list_a_case_is_asked_for() -> None:
    with pytest.raises(StepladderError, match="0 lists of retrieved chunks for 1 cases"):
        retrieval_metrics([case(0, ["a"])], [])
