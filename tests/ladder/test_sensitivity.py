"""What would flip a decision really flips it, and nothing nearer on the way there does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stepladder.ladder.form import Flip
from stepladder.ladder.sensitivity import flips
from stepladder.ladder.verdict import Evidence, decide

from .conftest import SCORES, SPEC, make_evidence, make_outcomes


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return make_evidence({rung: make_outcomes(rung, score) for rung, score in SCORES.items()})


@pytest.fixture(scope="module")
def found(evidence: Evidence) -> list[Flip]:
    return flips(evidence)


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


def test_a_clear_winner_is_not_flipped_by_its_price(found: list[Flip]) -> None:
    # The others are far below the bar, whatever they cost.
    assert not [flip for flip in found if flip.factor in ("engine price", "monthly requests")]
