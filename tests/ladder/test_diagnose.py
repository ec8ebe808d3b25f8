"""Failures built to have each cause get that cause, and training is weighed in the statistic of the bar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from stepladder.evaluation.records import Counts, Outcome, Response, RungOutcomes
from stepladder.evaluation.resampling import Resampling
from stepladder.ladder.attribution import Failures, Tried, attribute
from stepladder.ladder.causes import CAUSES, MENDED_BY
from stepladder.ladder.diagnose import reach_of
from stepladder.ladder.gaps import UNTOLD, shown
from stepladder.ladder.wording import WHAT_HELPS
from stepladder.tasks import Bars, Case, TaskSpec
from tests.ladder.world import BARE_GAPS, CAUSE, GAPS, REVIEWS, SPEC, make_world, with_adapters

EACH = 100


@pytest.fixture(scope="module")
def gaps() -> list[str]:
    return [gap for _ in range(EACH) for gap in GAPS]


@pytest.fixture(scope="module")
def tried(gaps: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tried:
    """Every gap 100 times; one answer in two hundred is turned round."""
    return make_world(gaps, tmp_path_factory.mktemp("world"), noise=0.005)[0]


def share_right(failures: Failures, gaps: list[str], gap: str) -> float:
    labels = {label.id: label.cause for label in failures.labels}
    wanted = CAUSE.get(gap, gap)
    numbers = [number for number, one in enumerate(gaps) if one == gap]
    return sum(labels.get(f"case-{number:04d}") == wanted for number in numbers) / len(numbers)


def test_every_gap_gets_its_cause(tried: Tried, gaps: list[str], tmp_path: Path) -> None:
    known = attribute(with_adapters(tried, gaps, tmp_path, noise=0.005))
    assert known.adapter_known
    right = {gap: share_right(known, gaps, gap) for gap in GAPS}
    assert min(right.values()) >= 0.95, right


def test_before_there_is_an_adapter_the_rest_is_told_apart_already(tried: Tried, gaps: list[str]) -> None:
    failures = attribute(tried)
    assert not failures.adapter_known
    later = ("capability", "reference")  # a single rung with its probes disputes no reference
    right = {gap: share_right(failures, gaps, gap) for gap in GAPS if gap not in later}
    assert min(right.values()) >= 0.95, right
    # Nothing mends these two either: with behaviour they are the row that is not told apart.
    causes = {label.id: label.cause for label in failures.labels}
    for gap in later:
        left = [causes.get(f"case-{i:04d}") == "behaviour" for i, one in enumerate(gaps) if one == gap]
        assert sum(left) / len(left) >= 0.95, gap
    untold = shown(failures.gaps, tried.cheap)
    assert untold[UNTOLD] == failures.gaps["behaviour"]
    assert {"behaviour", "capability"}.isdisjoint(untold)
    hopeless = attribute(replace(tried, adapter_expected=False))
    assert shown(hopeless.gaps, tried.cheap) == hopeless.gaps, "a pilot left no hope: capability"


@pytest.mark.parametrize("spec", [SPEC, REVIEWS], ids=["answers", "reviews in JSON, by F1"])
def test_without_documents_every_gap_gets_its_cause_too(spec: TaskSpec, tmp_path: Path) -> None:
    gaps = [gap for _ in range(EACH) for gap in BARE_GAPS]
    tried, _ = make_world(gaps, tmp_path, noise=0.005, spec=spec, documents=False)
    known = attribute(with_adapters(tried, gaps, tmp_path, noise=0.005))
    right = {gap: share_right(known, gaps, gap) for gap in BARE_GAPS}
    assert min(right.values()) >= 0.95, right
    mended = {name: one.passed for name, one in known.probes.items()}
    by_form = "constrained" if spec is REVIEWS else "few-shot"
    assert mended[by_form] >= 0.95 * EACH
    assert set(mended) == {"few-shot", by_form}
    if spec is REVIEWS:
        scores = {one.score for one in tried.cheap["prompt"].outcomes}
        assert scores == {0.0, 0.5, 1.0}, "unread, half right and right"


def test_planted_references_are_listed_at_once_and_the_cause_when_a_second_rung_agrees(
    tried: Tried, gaps: list[str], tmp_path: Path
) -> None:
    planted = {f"case-{number:04d}" for number, gap in enumerate(gaps) if gap == "reference"}
    for failures, named in (
        (attribute(tried), 0.0),
        (attribute(with_adapters(tried, gaps, tmp_path, noise=0.005)), 0.95),
    ):
        listed = {one.id for one in failures.suspects}
        assert len(planted & listed) >= 0.95 * len(planted)
        assert len(listed - planted) <= 0.05 * len(listed)
        labelled = {label.id for label in failures.labels if label.cause == "reference"}
        assert labelled == {one.id for one in failures.suspects if one.disputed}
        assert len(labelled & planted) >= named * len(planted)
        # By itself prompt knows none of them: it agrees where its answer happened to be turned round.
        assert named or len(labelled) <= 0.05 * len(planted)


def test_what_nothing_mended_is_behaviour_only_while_an_adapter_is_expected_to_help(tried: Tried) -> None:
    assert attribute(tried).gaps["capability"] == 0
    hopeless = attribute(replace(tried, adapter_expected=False))
    assert hopeless.gaps["behaviour"] == 0
    assert hopeless.gaps["capability"] == attribute(tried).gaps["behaviour"]


def test_shares_sum_to_one_and_lie_in_their_intervals(tried: Tried) -> None:
    failures = attribute(tried)
    assert sum(share.estimate for share in failures.shares.values()) == pytest.approx(1)
    assert list(failures.gaps) == list(CAUSES) == list(WHAT_HELPS)
    for share in failures.shares.values():
        assert share.low is not None
        assert share.high is not None
        assert share.low <= share.estimate <= share.high
    assert failures.shares["capability"].high > 0  # none seen is not none


def test_needs_are_shares_of_all_cases_by_what_would_mend_them(tried: Tried, gaps: list[str]) -> None:
    failures = attribute(tried)
    right = {one.id for one in tried.cheap["rag"].outcomes if one.score == 1}
    causes = {"documents": [label.cause for label in failures.labels],
              "training": [label.cause for label in failures.labels if label.id not in right]}  # fmt: skip
    for need, mended in (("documents", 2), ("training", 3)):
        of_all = sum(causes[need].count(cause) for cause in MENDED_BY[need]) / len(gaps)
        assert len(MENDED_BY[need]) == mended
        assert failures.needs[need].estimate == pytest.approx(of_all)
        assert failures.needs[need].low < of_all < failures.needs[need].high
    assert attribute(make_world(["none"] * 40, Path())[0]).needs["training"].high < 0.1


def test_what_rag_answers_rightly_is_no_gap_in_behaviour(tmp_path: Path) -> None:
    """In 40 of 60 cases only ``prompt`` invents an answer or lacks the form; in ten ``rag`` does."""
    gaps = [*["bold", "primed"] * 20, *["none"] * 10, *["rash"] * 10]
    failures = attribute(make_world(gaps, tmp_path)[0])
    assert failures.gaps["grounding"] == pytest.approx(30 / 50)
    assert failures.needs["training"].estimate == pytest.approx(10 / 60)
    alone = attribute(make_world(["format"] * 20, tmp_path, documents=False)[0])
    assert alone.needs["training"].estimate == 1, "without documents the prompt is what has to be mended"


def test_shares_are_those_of_exact_proportions(tmp_path: Path) -> None:
    failures = attribute(make_world([*["format"] * 38, *["knowledge"] * 2], tmp_path)[0])
    exact = stats.binomtest(2, 40).proportion_ci(0.95, method="exact")
    share = failures.shares["knowledge"]
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high))
    mended = failures.probes["few-shot"]
    assert mended.share.method == "Clopper-Pearson"
    assert share.method == "Clopper-Pearson"


def test_intervals_are_wider_when_cases_fail_in_clusters(tmp_path: Path) -> None:
    gaps = [gap for gap in ("knowledge", "format") * 20 for _ in range(10)]
    alone = attribute(make_world(gaps, tmp_path)[0]).shares["format"]
    together = attribute(make_world(gaps, tmp_path, cluster=10)[0]).shares["format"]
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_retrieval_failure_names_the_rank_and_what_stood_in_its_place(tmp_path: Path) -> None:
    labels = attribute(make_world(["retrieval"] * 12, tmp_path)[0]).labels
    assert {label.place.rank for label in labels if label.place} == {7, None}
    assert labels[0].place is not None
    assert labels[0].place.displaced_by == "page-3#"
    assert {label.behind for label in labels} == {None}, "among distractors too the evidence is enough"


def test_half_of_the_evidence_is_not_the_evidence(tmp_path: Path) -> None:
    """Both pages are needed and one is given first of three: better retrieval helps, training does not."""
    tried, _ = make_world(["halves"] * 12, tmp_path)
    failures = attribute(tried)
    assert {(label.cause, label.behind) for label in failures.labels} == {("retrieval", None)}
    places = [label.place for label in failures.labels if label.place]
    assert {(place.rank, place.given) for place in places} == {(7, False), (None, False)}
    assert places[0].displaced_by == "page-2#"
    assert reach_of(tried, failures).estimate == 0


def test_a_second_fault_behind_the_first_is_told(tmp_path: Path) -> None:
    tried, _ = make_world(["retrieval"] * 4, tmp_path)
    among = tried.probes["gold-among-distractors"]
    failed = [one.model_copy(update={"score": 0.0}) for one in among.outcomes]
    probes = {**tried.probes, "gold-among-distractors": among.model_copy(update={"outcomes": failed})}
    labels = attribute(replace(tried, probes=probes)).labels
    assert {(label.cause, label.behind) for label in labels} == {("retrieval", "grounding")}


def test_only_what_is_needed_is_asked(tmp_path: Path) -> None:
    gaps = ["none", "knowledge", "rash", "distracted", "retrieval", "format", "primed", "elsewhere", "bold"]
    tried, responder = make_world(gaps, tmp_path)
    asked = {name: [one.id for one in outcomes.outcomes] for name, outcomes in tried.probes.items()}
    assert asked == {
        "gold-evidence": ["case-0003", "case-0004", "case-0005", "case-0007"],
        "gold-among-distractors": ["case-0004"],
        "few-shot": ["case-0006", "case-0007", "case-0005"],
    }
    assert responder.asked == 2 * len(gaps) + 8


def test_what_is_said_to_the_form_probe_of_a_case_that_rag_passes_holds_no_document(tmp_path: Path) -> None:
    tried, _ = make_world(["primed", "format", *["none"] * 4], tmp_path)
    retrieved = {one.id: bool(one.retrieved) for one in tried.probes["few-shot"].outcomes}
    assert retrieved == {"case-0000": False, "case-0001": True}


def test_passing_without_the_evidence_is_no_knowledge_where_the_evidence_does_not_help(
    tmp_path: Path,
) -> None:
    tried, _ = make_world(["elsewhere", *["none"] * 4], tmp_path)
    gold = tried.probes["gold-evidence"]
    failed = [one.model_copy(update={"score": 0.0}) for one in gold.outcomes]
    refuted = {**tried.probes, "gold-evidence": gold.model_copy(update={"outcomes": failed})}
    assert [label.cause for label in attribute(tried).labels] == ["knowledge"]
    (label,) = attribute(replace(tried, probes=refuted)).labels
    assert (label.cause, label.behind) == ("behaviour", None)


def test_a_planted_reference_is_listed_with_what_they_agree_on(tmp_path: Path) -> None:
    failures = attribute(make_world(["reference", *["none"] * 20], tmp_path)[0])
    (suspect,) = failures.suspects
    assert (suspect.id, suspect.answer, suspect.reference) == ("case-0000", "value-0", "planted-0")
    assert set(suspect.agreeing) >= {"rag", "gold-evidence"}
    assert suspect.rungs == ["rag"]
    assert failures.gaps["reference"] == 0


def test_the_order_of_cases_changes_nothing(tried: Tried) -> None:
    turned = replace(
        tried,
        cases=tried.cases[::-1],
        cheap={
            rung: one.model_copy(update={"outcomes": one.outcomes[::-1]}) for rung, one in tried.cheap.items()
        },
    )
    one, other = attribute(tried), attribute(turned)
    assert one.shares == other.shares
    assert {label.id: label.cause for label in one.labels} == {
        label.id: label.cause for label in other.labels
    }


def reviewed(counts: list[Counts]) -> Tried:
    """A task without documents whose bar is on micro F1."""
    spec = TaskSpec(title="t", scorer="issue-f1", bars=Bars(score=0.8), margin=0.05, monthly_requests=1)
    cases = [Case(id=f"{i}", input="x", reference={"cost": []}, cluster=f"{i}") for i, _ in enumerate(counts)]
    response = Response(text="[]", prompt_tokens=1, completion_tokens=1, latency_ms=1, engine_s=1)
    rows = []
    for case, one in zip(cases, counts, strict=True):
        total = 2 * one.tp + one.fp + one.fn
        score = 2 * one.tp / total if total else 1.0
        rows.append(
            Outcome(**case.model_dump(include={"id", "input", "reference", "answerable", "slice", "cluster"}),
                    score=score, exact=score == 1, valid=True, counts=one, response=response)
        )  # fmt: skip
    prompt = RungOutcomes(
        task="t", rung="prompt", variant="zero-shot", model_digest="m", adapter_digest=None, outcomes=rows
    )
    return Tried(spec=spec, cases=cases, cheap={"prompt": prompt}, how=Resampling(resamples=200))


def test_like_is_compared_with_like() -> None:
    """90 clean reviews score 1 each, ten with issues score 0: the mean is .9, micro F1 is 0."""
    clean, missed = Counts(tp=0, fp=0, fn=0), Counts(tp=0, fp=0, fn=2)
    tried = reviewed([clean] * 90 + [missed] * 10)
    assert reach_of(tried, attribute(tried).model_copy(update={"labels": []})).estimate == 0
    assert reach_of(tried, attribute(tried)).estimate == 1.0


def test_reach_is_in_the_statistic_of_the_bar() -> None:
    partly, missed = Counts(tp=1, fp=1, fn=0), Counts(tp=0, fp=0, fn=2)
    tried = reviewed([partly] * 10 + [missed] * 10)
    failures = attribute(tried)
    half = failures.model_copy(update={"labels": failures.labels[:10]})
    assert reach_of(tried, half).estimate == pytest.approx(2 * 10 / (2 * 10 + 20))
    assert reach_of(tried, failures).estimate == 1.0
    assert reach_of(tried, failures.model_copy(update={"labels": []})).estimate == pytest.approx(0.4)


def test_knowledge_that_retrieval_misses_is_out_of_trainings_reach(tmp_path: Path) -> None:
    tried, _ = make_world(["retrieval"] * 15 + ["behaviour"] * 5, tmp_path)
    assert reach_of(tried, attribute(tried)).estimate == 0.25


def test_nothing_failing_is_no_gap(tmp_path: Path) -> None:
    failures = attribute(make_world(["none"] * 5, tmp_path)[0])
    assert (failures.failing, sum(failures.gaps.values()), failures.shares) == (0, 0, {})
