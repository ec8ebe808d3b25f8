"""What would flip a decision really flips it, and nothing nearer on the way there does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stepladder.evaluation.cost import rung_cost
from stepladder.evaluation.usage import usage_of
from stepladder.ladder.form import Flip
from stepladder.ladder.sensitivity import _dials, _nearest, decider
from stepladder.ladder.verdict import Evidence, decide
from stepladder.ladder.weigh import weigh

from .conftest import PRICES, SCORES, SPEC, make_evidence, make_outcomes


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return make_evidence({rung: make_outcomes(rung, score) for rung, score in SCORES.items()})


@pytest.fixture(scope="module")
def found(evidence: Evidence) -> list[Flip]:
    return decide(evidence).flips


def with_bar(evidence: Evidence, bar: float) -> Evidence:
    bars = SPEC.bars.model_copy(update={"score": bar})
    return replace(evidence, spec=SPEC.model_copy(update={"bars": bars}))


def test_a_higher_bar_takes_the_promotion_back(evidence: Evidence, found: list[Flip]) -> None:
    now = decide(evidence)
    assert (now.decision, now.rung) == ("promote", "lora+rag")
    up = next(flip for flip in found if flip.factor == "bar" and flip.at > flip.present)
    assert up.decision != "promote"
    assert 0.7 < up.at < 0.83
    beyond, short_of = (decide(with_bar(evidence, up.at + step)) for step in (0.02, -0.03))
    assert beyond.decision != "promote"
    assert short_of.decision == "promote"


def test_each_price_is_paid_for_what_it_buys(evidence: Evidence) -> None:
    usage = usage_of(make_outcomes("rag", 0.5)).model_copy(update={"retrieval_s": 0.02})
    own = rung_cost(0.34, PRICES, 10_000, training_seconds=321.0, index_seconds=40.0, usage=usage)
    hosted = own.model_copy(update={"paid_per_token": True})
    given = replace(evidence, costs={**evidence.costs, "rag": hosted}, champion_cost=own)
    parts = own.parts
    assert min(parts.engine, parts.retrieval, parts.training, parts.index) > 0
    for factor, in_hosted, in_own in (
        ("engine price", parts.retrieval + parts.index, parts.engine + parts.retrieval + parts.index),
        ("token price", parts.engine, 0.0),
        ("training price", parts.training, parts.training),
    ):
        turned = _dials(given)[factor].turned(given, 3)
        for cost, bought in ((turned.costs["rag"], in_hosted), (turned.champion_cost, in_own)):
            assert cost is not None
            assert cost.per_1000 == pytest.approx(own.per_1000 + 2 * bought), factor
    same = _dials(given)["engine price"].turned(given, 1).champion_cost
    assert same is not None
    assert (same.per_request, same.fixed_per_month) == pytest.approx((own.per_request, own.fixed_per_month))


def test_only_prices_that_are_paid_are_turned(evidence: Evidence) -> None:
    assert [name for name in _dials(evidence) if name.endswith("price")] == ["engine price", "training price"]
    untuned = {rung: cost for rung, cost in evidence.costs.items() if "lora" not in rung}
    alone = _dials(replace(evidence, costs=untuned))
    assert [name for name in alone if name.endswith("price")] == ["engine price"]


def test_dearer_tokens_and_dearer_training_change_which_rung_is_the_cheaper() -> None:
    """Two rungs that are as good; one is paid per token, the other was trained."""
    evidence = make_evidence(
        {rung: make_outcomes(rung, 0.9, clusters=180, size=1) for rung in ("prompt", "lora")}
    )
    prompt = rung_cost(0.125, PRICES, 10_000).model_copy(update={"paid_per_token": True})
    found = decide(replace(evidence, costs={**evidence.costs, "prompt": prompt})).flips
    assert 0 < evidence.costs["lora"].per_1000 - prompt.per_1000 < evidence.costs["lora"].parts.training
    (tokens,) = [flip for flip in found if flip.factor == "token price"]
    (training,) = [flip for flip in found if flip.factor == "training price"]
    assert (tokens.decision, tokens.rung, training.decision, training.rung) == ("promote", "lora") * 2
    assert tokens.at > 1 > training.at


@pytest.mark.parametrize(("bar", "margin"), [(0.0, 0.05), (1.0, 0.05), (0.7, 0.6)])
def test_a_number_at_or_beyond_its_limit_is_only_turned_inwards(
    evidence: Evidence, bar: float, margin: float
) -> None:
    bars = SPEC.bars.model_copy(update={"score": bar})
    spec = SPEC.model_copy(update={"bars": bars, "margin": margin})
    edge = replace(evidence, spec=spec, evaluation=evidence.evaluation.model_copy(update={"resamples": 100}))
    decided = decider(weigh(edge))
    now = decided(edge)
    for factor in ("bar", "margin"):
        dial = _dials(edge)[factor]
        up, down = (_nearest(edge, dial, upwards, now, decided) for upwards in (True, False))
        assert up is None or up > dial.present, factor
        assert down is None or down < dial.present, factor


def test_the_walk_alone_decides_as_the_whole_rule_does(evidence: Evidence) -> None:
    """Every turn of a dial, on the stored tests and computed from the cases again."""
    champion = make_outcomes("rag", 0.8)
    for before in (evidence, replace(evidence, champion=champion, champion_cost=evidence.costs["rag"])):
        decided = decider(weigh(before))
        for dial in _dials(before).values():
            for value in (dial.present / 3, dial.present / 1.3, dial.present * 1.15, dial.present * 3):
                turned = dial.turned(before, min(max(value, dial.low), dial.high))
                again = decide(turned)
                assert decided(turned) == (again.decision, again.rung)


def test_a_clear_winner_is_not_flipped_by_its_price(found: list[Flip]) -> None:
    # The others are far below the bar, whatever they cost.
    assert not [flip for flip in found if flip.factor in ("engine price", "monthly requests")]
