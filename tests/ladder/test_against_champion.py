"""The rule against a champion: it yields to what is better, as good and cheaper, or as good and newer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stepladder.evaluation.cost import RungCost
from stepladder.evaluation.looks import Seen
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.summary import summarise
from stepladder.evaluation.usage import Usage
from stepladder.ladder.digest import decision_digest
from stepladder.ladder.evidence import Evidence, Unweighed
from stepladder.ladder.markdown import summary
from stepladder.ladder.report import render_report
from stepladder.ladder.verdict import decide
from stepladder.tables import print_verdicts

Ladder = Callable[..., dict[str, RungOutcomes]]
MakeEvidence = Callable[..., Evidence]


def test_the_champion_stays_when_it_wins_again(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = ladder()
    verdict = decide(evidence_of(outcomes, champion=outcomes["lora+rag"]))
    assert (verdict.decision, verdict.rung, verdict.champion) == ("keep", "lora+rag", "lora+rag")
    assert verdict.comparisons[-1].b == "champion"


def test_a_worse_champion_is_replaced(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = ladder()
    assert decide(evidence_of(outcomes, champion=outcomes["rag"])).decision == "promote"


def test_a_champion_that_is_as_good_and_dearer_is_replaced(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = ladder({"rag": 0.82})
    evidence = evidence_of(outcomes, champion=outcomes["lora+rag"])
    verdict = decide(replace(evidence, champion_cost=evidence.costs["lora+rag"]))
    assert (verdict.decision, verdict.rung) == ("promote", "rag")


def test_a_champion_of_older_documents_is_replaced_by_a_rung_that_is_as_good(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    outcomes = ladder(clusters=180, size=1)
    stays = evidence_of(outcomes, champion=outcomes["lora+rag"])
    assert decide(stays).decision == "keep"
    verdict = decide(replace(stays, outdated=True))
    assert (verdict.decision, verdict.rung, verdict.champion_outdated) == ("promote", "lora+rag", True)
    assert verdict.sentence.endswith("; what serves now answers from older documents.")


def test_a_champion_of_older_documents_stays_where_nothing_retrieves_as_well(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    worse = ladder({"rag": 0.1, "lora+rag": 0.8}, clusters=180, size=1)
    champion = ladder({"rag": 0.9}, clusters=180, size=1)["rag"]
    verdict = decide(evidence_of(worse, champion=champion, outdated=True))
    assert (verdict.decision, verdict.rung) == ("keep", "rag")
    assert "of today's documents" in verdict.sentence
    assert "the champion answers from documents that have changed" in " ".join(verdict.warnings)
    blind = ladder({"lora": 0.82, "rag": None, "lora+rag": None})
    kept = decide(evidence_of(blind, champion=blind["lora"], outdated=True))
    assert kept.decision == "keep", "an adapter knows no documents, old or new"


def test_the_champion_is_priced_by_itself_and_not_by_the_rung_of_its_name(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    outcomes = ladder({"rag": 0.82, "lora+rag": None, "lora": None})
    champion = ladder()["lora+rag"].model_copy(update={"rung": "prompt"})  # as good, and of another name
    evidence = evidence_of(outcomes, champion=champion)
    own = evidence.costs["rag"]
    dearer, cheaper = (own.model_copy(update={"per_1000": own.per_1000 * times}) for times in (2, 0.5))
    assert decide(replace(evidence, champion_cost=dearer)).decision == "promote"
    assert decide(replace(evidence, champion_cost=cheaper)).decision == "keep"
    assert decide(evidence).decision == "keep", "what it costs is not known"


def on(cost: RungCost, hardware: str, times: float = 1.0, in_flight: int | None = 32) -> RungCost:
    usage = Usage(prompt_tokens=1, completion_tokens=1, engine_s=1, tokens_per_s=2, latency_p50_ms=1,
                  latency_p95_ms=1, measured=9, in_flight=in_flight, hardware=[hardware])  # fmt: skip
    return cost.model_copy(update={"per_1000": times * cost.per_1000, "usage": usage})


@pytest.mark.parametrize(
    ("hardware", "in_flight", "times", "decision", "warned"),
    [
        ("this machine", 32, 2.0, "promote", None),
        (
            "another machine",
            32,
            2.0,
            "keep",
            "32 requests at a time; that of the champion on 2 tokens a second",
        ),
        ("this machine", 1, 2.0, "keep", "is not counted as cheaper"),
        ("this machine", None, 2.0, "keep", "is not counted as cheaper"),
        ("this machine", 32, 1.03, "keep", "costs less than the champion by less than 5%"),
        ("this machine", 32, 1.06, "promote", None),
        ("another machine", 32, 0.9, "keep", None),
    ],
)
def test_cheaper_is_what_costs_a_share_less_on_the_same_machine(
    ladder: Ladder,
    evidence_of: MakeEvidence,
    hardware: str,
    in_flight: int | None,
    times: float,
    decision: str,
    warned: str | None,
) -> None:
    outcomes = ladder({"rag": 0.82})
    evidence = evidence_of(outcomes, champion=outcomes["lora+rag"], seen=Seen(looks=1))
    own = evidence.costs["rag"]
    costs = {rung: on(cost, "this machine") for rung, cost in evidence.costs.items()}
    champion = on(own, hardware, times, in_flight)
    verdict = decide(replace(evidence, costs=costs, champion_cost=champion))
    assert verdict.decision == decision
    assert (warned is None) == (verdict.warnings == [])
    assert (warned or "") in " ".join(verdict.warnings)


def test_where_the_champion_stays_no_rung_of_this_climb_is_marked(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    outcomes = ladder()
    verdict = decide(evidence_of(outcomes, champion=outcomes["lora+rag"]))
    assert (verdict.decision, verdict.chosen) == ("keep", None)
    assert "**lora+rag**" not in summary(verdict)
    assert "**lora+rag**" in summary(decide(evidence_of(outcomes)))


def test_a_champion_that_cannot_be_weighed_is_kept_and_the_sentence_says_why(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    why = "it has to be evaluated on these cases first"
    verdict = decide(evidence_of(ladder(), unweighed=Unweighed("rag", why)))
    assert (verdict.decision, verdict.rung, verdict.champion) == ("keep", "rag", "rag")
    assert verdict.sentence == f"Keep rag, which serves already: {why}."
    assert verdict.warnings[0] == f"the champion was not weighed: {why}"
    none = decide(evidence_of(ladder({"lora+rag": 0.2}), unweighed=Unweighed("rag", why)))
    assert none.decision == "none", "what no rung passes is not blamed on the champion"


def test_a_champion_that_was_asked_some_of_the_cases_is_weighed_on_these(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    outcomes = ladder()
    some = outcomes["rag"].model_copy(update={"outcomes": outcomes["rag"].outcomes[:120]})
    verdict = decide(evidence_of(outcomes, champion=some))
    assert verdict.decision == "promote"
    assert verdict.warnings[0].startswith("the champion was asked 120 of the 180 cases")
    assert verdict.slices is not None
    assert sum(part.n for part in verdict.slices.by_slice.values()) == 120


def test_what_the_champion_was_measured_to_be_is_told_wherever_the_rungs_are(
    ladder: Ladder, evidence_of: MakeEvidence, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = ladder({"rag": 0.82})
    evidence = evidence_of(outcomes, champion=outcomes["lora+rag"])
    cost = evidence.costs["rag"].model_copy(update={"per_1000": 0.1234})
    verdict = decide(replace(evidence, champion_cost=cost))
    told, own = verdict.champion_measured, verdict.rungs["lora+rag"]
    assert told is not None
    assert (told.n, told.score, told.interval) == (own.n, own.score, own.interval)
    assert (told.cost_per_1000, told.latency_p95_ms) == (0.1234, own.latency_p95_ms)
    summaries = {rung: summarise(one, evidence.evaluation) for rung, one in outcomes.items()}
    print_verdicts([verdict])
    page = render_report(verdict, summaries, outcomes, None)
    for text in (summary(verdict), capsys.readouterr().out, page):
        row = next(line for line in text.splitlines() if "champion" in line and "serves" in line)
        for figure in ("0.82", "0.12", f"{told.latency_p95_ms:,.0f}"):
            assert figure in row
    alone = decide(evidence_of(outcomes))
    assert alone.champion_measured is None
    assert "champion" not in summary(alone)


def test_its_measured_numbers_change_no_digest(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = ladder()
    verdict = decide(evidence_of(outcomes, champion=outcomes["lora+rag"]))
    assert decision_digest(verdict.model_copy(update={"champion_measured": None})) == verdict.digest
