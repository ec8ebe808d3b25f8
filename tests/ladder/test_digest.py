"""The decision's digest: it knows what was decided, not how long the machine took."""

from __future__ import annotations

from collections.abc import Callable

from stepladder.evaluation.records import RungOutcomes
from stepladder.ladder.verdict import Evidence, decide
from stepladder.tasks import TaskSpec

Ladder = Callable[..., dict[str, RungOutcomes]]
MakeEvidence = Callable[..., Evidence]


def slower(outcomes: dict[str, RungOutcomes], factor: float) -> dict[str, RungOutcomes]:
    def slow(one: RungOutcomes) -> RungOutcomes:
        rows = [
            o.model_copy(
                update={
                    "response": o.response.model_copy(
                        update={
                            "latency_ms": o.response.latency_ms * factor,
                            "engine_s": o.response.engine_s * factor,
                        }
                    )
                }
            )
            for o in one.outcomes
        ]
        return one.model_copy(update={"outcomes": rows})

    return {rung: slow(one) for rung, one in outcomes.items()}


def test_a_slower_machine_that_decides_the_same_has_the_same_digest(
    ladder: Ladder, evidence_of: MakeEvidence
) -> None:
    once, again = decide(evidence_of(ladder())), decide(evidence_of(slower(ladder(), 1.07)))
    assert once.model_dump_json() != again.model_dump_json()
    assert once.digest == again.digest


def test_a_latency_that_breaks_its_guardrail_changes_it(
    ladder: Ladder, evidence_of: MakeEvidence, spec: TaskSpec
) -> None:
    bars = spec.bars.model_copy(update={"latency_p95_ms": 3500.0})
    spec = spec.model_copy(update={"bars": bars})
    once = decide(evidence_of(ladder(clusters=90, size=2), spec=spec))
    again = decide(evidence_of(slower(ladder(clusters=90, size=2), 2), spec=spec))
    assert once.rungs["lora+rag"].criteria[1].state == "holds"
    assert again.rungs["lora+rag"].criteria[1].state == "fails"
    assert once.digest != again.digest


def test_how_long_training_would_have_taken_is_left_out(ladder: Ladder, evidence_of: MakeEvidence) -> None:
    outcomes = ladder({"lora": None, "lora+rag": None})
    once, again = (
        decide(evidence_of(outcomes, skipped={"lora": f"training would take {hours} hours"}))
        for hours in ("2.1", "2.2")
    )
    assert once.digest == again.digest
    assert decide(evidence_of(outcomes)).digest != once.digest


def test_another_margin_is_another_rule(ladder: Ladder, evidence_of: MakeEvidence, spec: TaskSpec) -> None:
    once = decide(evidence_of(ladder()))
    again = decide(evidence_of(ladder(), spec=spec.model_copy(update={"margin": 0.06})))
    assert once.digests["rule"] != again.digests["rule"]
    assert once.digest != again.digest
