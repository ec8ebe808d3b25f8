"""A challenger on trial is promoted, sent back or goes on, and wrongly so no more often than alpha."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from serving.canary import Look, Step, look
from serving.observations import Observation
from serving.router import Trial
from serving.settings import Canary

TRIAL = Trial("1", "2", share=0.3)
SHADOW = Trial("1", "2", share=1.0, shadow=True)
SETTINGS = Canary(alpha=0.1, least=100, most=2000)
WELL = {"errors": 0.0, "invalid": 0.0, "abstained": 0.0, "slow": 0.0, "displeased": 0.5}


def traffic(count: int, worse: dict[str, float], seed: int = 0) -> list[Observation]:
    """Answers of which one in fifty is slow; the challenger's are worse at these rates."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        by_challenger = rng.random() < TRIAL.share
        badness = {**WELL, "slow": float(rng.random() < 0.02)}
        for name, rate in worse.items() if by_challenger else ():
            badness[name] = max(badness[name], float(rng.random() < rate))
        found.append(Observation(by_challenger, badness))
    return found


def first_end(seen: list[Observation], every: int = 100) -> Look:
    """What comes of looking again and again."""
    for count in range(every, len(seen) + 1, every):
        found = look(TRIAL, seen[:count], SETTINGS)
        if found.step != "go on":
            return found
    return look(TRIAL, seen, SETTINGS)


@pytest.mark.parametrize(
    ("worse", "step", "why"),
    [
        ({}, "promote", "no worse than the margins allow"),
        ({"errors": 0.5}, "send back", "it is worse: errors"),
        ({"displeased": 0.6}, "send back", "it is worse: displeased"),
    ],
)
def test_how_a_trial_ends(worse: dict[str, float], step: Step, why: str) -> None:
    found = first_end(traffic(5000, worse), every=250)
    assert found.step == step
    assert why in found.reason


def test_it_goes_on_until_enough_was_seen() -> None:
    found = look(TRIAL, traffic(100, {}), SETTINGS)
    assert found.step == "go on"
    assert found.exposure == sum(one.by_challenger for one in traffic(100, {}))


def test_what_stays_undecided_is_sent_back_after_the_most_exposure() -> None:
    found = look(TRIAL, traffic(600, {}), SETTINGS.model_copy(update={"most": 150}))
    assert found.step == "send back"
    assert "it is not shown to be no worse: errors" in found.reason


@pytest.mark.parametrize(
    ("worse", "wrong"),
    [({}, "send back"), ({"errors": 0.04}, "promote"), ({"displeased": 0.13}, "promote")],
)
def test_however_often_one_looks_it_ends_wrongly_no_more_often_than_alpha(
    worse: dict[str, float], wrong: Step
) -> None:
    """Equal releases are not sent back as worse; ones that are worse than the margin are not promoted."""
    ends = Counter[Step]()
    for seed in range(20):
        found = first_end(traffic(2500, worse, seed), every=250)
        ends["go on" if "after" in found.reason else found.step] += 1
    assert ends[wrong] <= SETTINGS.alpha * 20


def test_in_the_shadow_pairs_are_compared_and_feedback_is_not_asked_for() -> None:
    seen = [
        Observation(False, WELL, {**WELL, "invalid": float(number % 5 == 0)}, number % 4 != 0)
        for number in range(600)
    ]
    found = look(SHADOW, seen, SETTINGS)
    assert found.step == "send back"
    assert "invalid" in found.reason
    assert found.agreement == 0.75
    assert "displeased" not in found.differences


def test_feedback_counts_in_the_order_in_which_it_was_due() -> None:
    """An answer that took long may have been asked for first: it must not come between what was counted."""
    early, late = (
        [Observation(True, WELL | {"displeased": bad}, thought_by=at) for _ in range(200)]
        for bad, at in ((1.0, 1.0), (0.0, 2.0))
    )
    assert look(TRIAL, [*early, *late], SETTINGS) == look(TRIAL, [*late, *early], SETTINGS)
    assert look(TRIAL, [*early, *late], SETTINGS) != look(TRIAL, [*reversed_times(early, late)], SETTINGS)


def reversed_times(*groups: list[Observation]) -> list[Observation]:
    return [replace(one, thought_by=-one.thought_by) for group in groups for one in group]
