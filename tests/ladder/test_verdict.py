"""The rule of the verdict, on synthetic ladders built so that the right decision is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from stepladder.errors import StepladderError
from stepladder.evaluation.looks import Seen
from stepladder.evaluation.power import cases_needed
from stepladder.evaluation.records import RungOutcomes
from stepladder.files import digest_value
from stepladder.ladder.form import Verdict, schema
from stepladder.ladder.verdict import Evidence, decide
from stepladder.tasks import Bars, TaskSpec

Ladder = Callable[..., dict[str, RungOutcomes]]
MakeEvidence = Callable[..., Evidence]


def with_bars(spec: TaskSpec, **bars: float) -> TaskSpec:
    return spec.model_copy(update={"bars": Bars(**{"score": spec.bars.score, **bars})})


def test_the_only_rung_that_holds_the_bar_is_promoted(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    verdict = decide(evidence_of(ladder()))
    assert (verdict.decision, verdict.rung) == ("promote", "lora+rag")
    assert [rung for rung, judged in verdict.rungs.items() if judged.eligible] == ["lora+rag"]
    assert verdict.sentence.startswith("Promote lora+rag: it scores 0.83 (95% interval 0.76 to 0.88)")


def test_rungs_stand_in_order_of_cost(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    costs = [judged.cost_per_1000 for judged in decide(evidence_of(ladder())).rungs.values()]
    assert costs == sorted(costs)


def test_the_cheaper_of_two_rungs_that_are_as_good_wins(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    verdict = decide(evidence_of(ladder({"rag": 0.82})))
    assert verdict.rungs["lora+rag"].score > verdict.rungs["rag"].score
    assert (verdict.decision, verdict.rung) == ("promote", "rag")
    assert "cheaper than the best, lora+rag" in verdict.sentence


def test_a_cheaper_eligible_rung_that_is_worse_by_more_than_the_margin_loses(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    verdict = decide(evidence_of(ladder({"rag": 0.79, "lora+rag": 0.95})))
    assert verdict.rungs["rag"].eligible
    assert verdict.rung == "lora+rag"
    assert "is better than every cheaper rung that is good enough" in verdict.sentence


def test_a_score_above_the_bar_is_not_enough_without_its_bound(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    verdict = decide(evidence_of(ladder({"lora+rag": 0.72})))
    judged = verdict.rungs["lora+rag"]
    assert judged.score > verdict.bar > judged.lower_bound
    assert (verdict.decision, verdict.rung) == ("inconclusive", None)
    assert verdict.cases_needed == judged.cases_needed
    assert verdict.cases_needed > judged.n
    assert f"about {verdict.cases_needed:,} cases" in verdict.sentence


def test_with_as_many_cases_as_it_asked_for_the_verdict_is_settled(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    asked = decide(evidence_of(ladder({"lora+rag": 0.74}))).cases_needed
    verdict = decide(evidence_of(ladder({"lora+rag": 0.74}, clusters=asked // 3 + 1)))
    assert verdict.decision == "promote"


def test_no_rung_that_can_reach_the_bar_says_what_helps(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    verdict = decide(evidence_of(ladder({"lora+rag": 0.5})))
    assert (verdict.decision, verdict.rung) == ("none", None)
    assert (
        "below the bar of 0.70; in 31% of the failing cases" in verdict.sentence
    )  # rag ran: knowledge is last
    assert verdict.advice[-1].startswith("in 51% of the failing cases what is missing is knowledge")


def test_an_adapter_that_forgets_is_not_eligible(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    verdict = decide(evidence_of(ladder(), forgetting=0.2))
    assert verdict.decision == "none"
    assert "rises by 20.0%, more than 10.0%" in verdict.rungs["lora+rag"].reasons[1]
    assert "breaks a guardrail" in verdict.sentence


def test_forgetting_that_was_not_measured_does_not_pass(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    assert not decide(evidence_of(ladder(), forgetting=None)).rungs["lora+rag"].eligible


def test_what_is_missing_is_named_where_no_number_of_cases_would_settle_it(
    ladder: Ladder, evidence_of: MakeEvidence, spec: TaskSpec
) -> None:
    unmeasured = decide(evidence_of(ladder(), forgetting=None))
    assert unmeasured.cases_needed is None
    assert unmeasured.sentence.endswith("; what its adapter forgets has to be measured.")
    answerable = {
        rung: one.model_copy(update={"outcomes": [o for o in one.outcomes if o.answerable]})
        for rung, one in ladder().items()
    }
    silent = decide(evidence_of(answerable, spec=with_bars(spec, abstention=0.5)))
    assert silent.sentence.endswith("; unanswerable cases are needed, to show its abstention.")
    assert "of more than one cluster are needed" in decide(evidence_of(ladder(clusters=1, size=40))).sentence


def test_an_adapter_mends_behaviour_where_one_was_tried_and_may_where_none_was(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    gaps = {"behaviour": 1.0}
    (tried,) = decide(evidence_of(ladder({"lora+rag": 0.5}), gaps=gaps)).advice
    (untried,) = decide(evidence_of(ladder({"lora": None, "lora+rag": None}), gaps=gaps)).advice
    assert "an adapter does" in tried
    assert "an adapter may, which was not tried (behaviour or capability, not told apart)" in untried


def test_a_rung_too_slow_for_the_task_is_not_eligible(
    ladder: Ladder, evidence_of: MakeEvidence, spec: TaskSpec
) -> None:
    verdict = decide(evidence_of(ladder(), spec=with_bars(spec, latency_p95_ms=1500)))
    assert verdict.decision == "none"
    assert "too slow" in verdict.rungs["lora+rag"].reasons[1]


def test_a_cheaper_rung_that_might_do_stops_the_climb(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = {**ladder({"rag": 0.75}), "lora+rag": ladder({"lora+rag": 0.81}, seed=7)["lora+rag"]}
    verdict = decide(evidence_of(outcomes))
    assert (verdict.decision, verdict.rung, verdict.unsettled) == ("inconclusive", None, "rag")
    assert verdict.open == ["whether rag is good enough (score)"]
    assert "is shown to be good enough meanwhile" in verdict.sentence
    assert verdict.cases_needed > verdict.rungs["rag"].n


def test_two_good_rungs_that_cannot_be_told_apart_are_inconclusive(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    outcomes = ladder({"rag": 0.88})
    outcomes["lora+rag"] = ladder({"lora+rag": 0.9}, seed=7)["lora+rag"]
    verdict = decide(evidence_of(outcomes))
    assert (verdict.decision, verdict.unsettled) == ("inconclusive", "rag")
    assert verdict.open == ["whether lora+rag is worth its price over rag"]


def test_two_rungs_that_never_differ_need_as_many_cases_as_could_hide_the_margin(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    outcomes = ladder({"rag": 0.95, "lora+rag": 0.95, "lora": None}, clusters=60, size=1)
    verdict = decide(evidence_of(outcomes))
    assert verdict.open == ["whether lora+rag is worth its price over rag"]
    hidden = cases_needed(0.05, discordance=0.05, power=0.8, alpha=verdict.level)
    assert verdict.cases_needed == pytest.approx(hidden, abs=1)


def test_no_answer_contradicts_where_the_walk_ended(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    for score in (0.52, 0.55, 0.58, 0.60, 0.62, 0.64):
        outcomes = ladder({"prompt": score, "rag": 0.72, "lora": None, "lora+rag": 0.74}, size=1)
        verdict = decide(evidence_of(outcomes))
        assert verdict.unsettled is not None
        stuck = verdict.rungs[verdict.unsettled]
        assert stuck.undecided or stuck.eligible
        left = list(verdict.rungs)[: list(verdict.rungs).index(verdict.unsettled)]
        assert all("fails" in [one.state for one in verdict.rungs[rung].criteria] for rung in left)


def test_a_score_that_is_shown_to_fall_short_is_not_laid_to_a_guardrail(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    verdict = decide(evidence_of(ladder({"lora+rag": 114 / 180}, clusters=180, size=1)))
    best = verdict.rungs["lora+rag"]
    assert verdict.decision == "none"
    assert best.interval[1] > verdict.bar, "two-sided, the interval reaches the bar"
    assert "the best, lora+rag, scores 0.63" in verdict.sentence
    assert "guardrail" not in verdict.sentence


def test_abstention_is_held_on_its_bound(ladder: Ladder, evidence_of: MakeEvidence, spec: TaskSpec) -> None:
    verdict = decide(evidence_of(ladder(), spec=with_bars(spec, abstention=0.7)))
    judged = verdict.rungs["lora+rag"]
    assert judged.abstention_accuracy > 0.7
    assert judged.criteria[1].bound < 0.7
    assert "abstains rightly not shown to be often enough" in judged.reasons[1]
    assert (verdict.decision, verdict.unsettled) == ("inconclusive", "lora+rag")


def test_a_cost_cap_is_held_as_measured(ladder: Ladder, evidence_of: MakeEvidence, spec: TaskSpec) -> None:
    verdict = decide(evidence_of(ladder(), spec=with_bars(spec, cost_per_1000=0.005)))
    assert verdict.decision == "none"
    assert "too dear" in verdict.rungs["lora+rag"].reasons[1]


def test_an_earlier_rule_is_told_and_changes_nothing_else(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    rules = [f"bars.score was 0.{place}" for place in range(1, 8)]
    fresh, moved = (decide(evidence_of(ladder(), seen=Seen(looks=8, rules=some))) for some in ([], rules))
    assert moved.warnings == [
        f"these cases were looked at before under another rule: {'; '.join(rules[:5])}; and 2 more"
    ]
    assert (moved.case_set.rules, moved.digest) == (rules, fresh.digest)


def test_a_worn_set_says_so_and_how_many_cases_replace_it(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    fresh, worn = (decide(evidence_of(ladder(), seen=Seen(looks=looks))) for looks in (10, 11))
    assert (fresh.case_set.worn, fresh.warnings) == (False, [])
    assert (worn.case_set.worn, worn.decision) == (True, fresh.decision)
    assert "these cases are worn: 11 verdicts looked at them, 10 were planned" in worn.warnings[0]
    assert worn.case_set.fresh_cases > 100
    assert worn.digest == fresh.digest


def test_the_same_question_under_two_ids_is_refused(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    def doubled(one: RungOutcomes) -> RungOutcomes:
        twin = one.outcomes[0].model_copy(update={"id": "twin", "input": one.outcomes[0].input.upper()})
        return one.model_copy(update={"outcomes": [*one.outcomes, twin]})

    with pytest.raises(StepladderError, match="case-0000 and twin ask the same"):
        decide(evidence_of({rung: doubled(one) for rung, one in ladder().items()}))


def test_nearly_the_same_text_in_two_clusters_draws_a_warning(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    text = " ".join(f"word{i}" for i in range(60))

    def alike(one: RungOutcomes) -> RungOutcomes:
        rows = list(one.outcomes)
        for i in (0, 30):
            rows[i] = rows[i].model_copy(update={"input": f"{text} number {i}"})
        return one.model_copy(update={"outcomes": rows})

    verdict = decide(evidence_of({rung: alike(one) for rung, one in ladder().items()}, seen=Seen(looks=1)))
    assert len(verdict.warnings) == 1
    assert (
        "1 pairs of cases in different clusters read nearly the same, such as case-0000"
        in verdict.warnings[0]
    )


def test_evidence_on_one_page_in_two_clusters_draws_a_warning(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    own = {one.id: {one.cluster} for one in ladder()["rag"].outcomes}  # clusters of three, a page each
    assert decide(evidence_of(ladder(), seen=Seen(looks=1), pages=own)).warnings == []
    shared = {**own, "case-0000": {"other", *own["case-0000"]}, "case-0090": {"other"}}
    (warning,) = decide(evidence_of(ladder(), seen=Seen(looks=1), pages=shared)).warnings
    assert warning.startswith("1 pages of evidence are shared by cases in different clusters, such as other")
    assert "case-0000 (ansible.builtin.module_00) and case-0090 (ansible.builtin.module_30)" in warning


def test_slices_are_weighed_against_the_next_best_rung(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    slices = decide(evidence_of(ladder())).slices
    assert (slices.a, slices.b) == ("lora+rag", "rag")
    assert sum(part.n for part in slices.by_slice.values()) == 180
    assert all(part.difference > 0 for part in slices.by_slice.values())


def test_renaming_cases_and_clusters_changes_no_number(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = ladder(counted=True)  # by bootstrap and permutation

    def renamed(one: RungOutcomes) -> RungOutcomes:
        rows = [
            o.model_copy(
                update={"id": f"z{len(one.outcomes) - i:04d}", "cluster": f"c{digest_value(o.cluster)}"}
            )
            for i, o in enumerate(one.outcomes)
        ]
        return one.model_copy(update={"outcomes": rows})

    once = decide(evidence_of(outcomes))
    again = decide(evidence_of({rung: renamed(one) for rung, one in outcomes.items()}))
    assert again.rungs == once.rungs
    assert again.comparisons == once.comparisons
    assert again.slices == once.slices


def test_comparisons_are_what_each_half_adds_then_each_step_and_each_with_the_best_once(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    verdict = decide(evidence_of(ladder()))
    assert [(pair.a, pair.b) for pair in verdict.comparisons] == [
        ("rag", "prompt"),
        ("lora", "prompt"),
        ("lora+rag", "rag"),
        ("lora+rag", "lora"),
        ("rag", "lora"),
        ("lora+rag", "prompt"),
    ]
    gain = verdict.comparisons[2]
    assert gain.difference == pytest.approx(0.83 - 0.54, abs=0.005)
    assert gain.interval[0] > 0
    assert gain.p < 0.01


def test_skipped_rungs_are_named_and_the_rest_judged(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    skipped = {"lora": "rag meets the bar", "lora+rag": "rag meets the bar"}
    outcomes = ladder({"rag": 0.85, "lora": None, "lora+rag": None})
    verdict = decide(evidence_of(outcomes, skipped=skipped, forgetting=None))
    assert (verdict.decision, verdict.rung, verdict.skipped) == ("promote", "rag", skipped)
    assert verdict.sentence.endswith("; lora and lora+rag not run.")
    assert any(
        line.startswith("lora and lora+rag were not run: that none is better") for line in verdict.warnings
    )
    none = decide(evidence_of({"rag": ladder({"rag": 0.2})["rag"]}, skipped=skipped))
    assert not any("not run" in line for line in none.warnings), "nothing is promised"


def test_counted_issues_are_judged_by_micro_f1(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    verdict = decide(evidence_of(ladder(counted=True)))
    assert verdict.rungs["lora+rag"].statistic == "micro-f1"
    assert verdict.rungs["lora+rag"].score == pytest.approx(2 * 0.83 / 1.83, abs=0.01)


def test_one_cluster_is_inconclusive_not_a_crash(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    verdict = decide(evidence_of(ladder(clusters=1, size=40)))
    assert verdict.decision == "inconclusive"
    assert verdict.rungs["lora+rag"].interval is None
    assert "no interval" in verdict.sentence


def test_the_same_evidence_gives_the_same_bytes_in_any_order_of_cases(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    outcomes = ladder()
    turned = {
        rung: one.model_copy(update={"outcomes": one.outcomes[::-1]})
        for rung, one in reversed(outcomes.items())
    }
    assert decide(evidence_of(turned)).model_dump_json() == decide(evidence_of(outcomes)).model_dump_json()


def test_missing_parts_are_refused(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    with pytest.raises(StepladderError, match="no rung was evaluated"):
        decide(evidence_of({}))
    with pytest.raises(StepladderError, match="rag has no cost"):
        decide(
            evidence_of(ladder(), costs=evidence_of({k: v for k, v in ladder().items() if k != "rag"}).costs)
        )


def test_rungs_asked_different_cases_are_refused(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = {**ladder(), "rag": ladder(clusters=59)["rag"]}
    with pytest.raises(StepladderError, match="same cases"):
        decide(evidence_of(outcomes))


def committed_schema() -> dict[str, Any]:
    return json.loads(files("stepladder.ladder").joinpath("verdict.schema.json").read_text(encoding="utf-8"))


def test_the_committed_schema_is_the_models() -> None:
    assert committed_schema() == schema(), (
        "write stepladder.ladder.form.schema() to verdict.schema.json again"
    )


@pytest.mark.parametrize("scores", [{}, {"lora+rag": 0.72}, {"lora+rag": 0.5}])
def test_a_written_verdict_fits_the_schema_and_reads_back(
    ladder: Ladder, evidence_of: MakeEvidence, scores: dict[str, float]
) -> None:
    verdict = decide(evidence_of(ladder(scores)))
    written = json.loads(verdict.model_dump_json())
    jsonschema.Draft202012Validator.check_schema(committed_schema())
    jsonschema.Draft202012Validator(committed_schema()).validate(written)
    assert Verdict.model_validate(written) == verdict
