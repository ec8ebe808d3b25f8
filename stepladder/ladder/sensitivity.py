"""What would flip the decision: the nearest margin, bar, volume and price that give another one.

Found by walking again with one number changed at a time, outwards in steps and then by halving. The tests are
those of the verdict: only limits and prices are applied to them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stepladder.evaluation.cost import RungCost, monthly_cost
from stepladder.ladder.evidence import Evidence
from stepladder.ladder.form import Decision, Factor, Flip
from stepladder.ladder.weigh import Weighed, decision_of, weigh

_STEPS = 7  # outwards, each twice as far as the one before (for the volume, four times)
_HALVINGS = 5

Decided = tuple[Decision, str | None]
Decider = Callable[[Evidence], Decided]


@dataclass(frozen=True)
class _Dial:
    """One number of the rule: its present value, how far a step goes, its limits, and how it is set."""

    present: float
    step: float
    low: float
    high: float
    turned: Callable[[Evidence, float], Evidence]


@dataclass(frozen=True)
class _Times:
    """Multiples of the present prices: an hour of the engine, others' tokens, an hour of training."""

    engine: float = 1.0
    tokens: float = 1.0
    training: float = 1.0


def flips(weighed: Weighed, evidence: Evidence) -> list[Flip]:
    """The nearest change of each number, up and down, that gives another decision or rung."""
    decided = decider(weighed)
    now = decided(evidence)
    found = []
    for factor, dial in _dials(evidence).items():
        for upwards in (False, True):
            at = _nearest(evidence, dial, upwards, now, decided)
            if at is not None:
                decision, rung = decided(dial.turned(evidence, at))
                found.append(
                    Flip(
                        factor=factor, present=dial.present, at=_two_digits(at), decision=decision, rung=rung
                    )
                )
    return found


def decider(weighed: Weighed) -> Decider:
    """What is decided with other limits or prices, on the same tests."""

    def decided(evidence: Evidence) -> Decided:
        return decision_of(weigh(evidence, weighed.tests), evidence)

    return decided


def _dials(evidence: Evidence) -> dict[Factor, _Dial]:
    spec = evidence.spec
    return {
        "bar": _Dial(spec.bars.score, 1.1, 0.01, 0.99, _with_bar),
        "margin": _Dial(spec.margin, 1.5, 0.001, 0.5, _with_margin),
        "monthly requests": _Dial(spec.monthly_requests, 4.0, 1, 1e10, _with_volume),
        "engine price": _price(lambda times: _Times(engine=times)),
        **_others_prices(evidence),
    }


def _others_prices(evidence: Evidence) -> dict[Factor, _Dial]:
    """Of tokens, where others serve a model, and of training, where an adapter was trained."""
    costs = list(evidence.costs.values())
    dials: dict[Factor, _Dial] = {}
    if any(cost.paid_per_token for cost in costs):
        dials["token price"] = _price(lambda times: _Times(tokens=times))
    if any(cost.parts.training for cost in costs):
        dials["training price"] = _price(lambda times: _Times(training=times))
    return dials


def _price(times_of: Callable[[float], _Times]) -> _Dial:
    return _Dial(1.0, 2.0, 1e-3, 1e3, lambda evidence, times: _with_prices(evidence, times_of(times)))


def _nearest(evidence: Evidence, dial: _Dial, upwards: bool, now: Decided, decided: Decider) -> float | None:
    """The nearest value on one side that decides otherwise, or None within the steps and limits."""
    same, factor = dial.present, dial.step if upwards else 1 / dial.step
    for _ in range(_STEPS):
        other = min(max(same * factor, dial.low), dial.high)
        if other == same or (other > same) != upwards:  # at its limit, or beyond it from the start
            return None
        if decided(dial.turned(evidence, other)) != now:
            return _halved(lambda value: decided(dial.turned(evidence, value)) == now, same, other)
        same = other
    return None


def _halved(is_same: Callable[[float], bool], same: float, other: float) -> float:
    for _ in range(_HALVINGS):
        middle = (same * other) ** 0.5
        if is_same(middle):
            same = middle
        else:
            other = middle
    return other


def _with_bar(evidence: Evidence, bar: float) -> Evidence:
    bars = evidence.spec.bars.model_copy(update={"score": bar})
    return replace(evidence, spec=evidence.spec.model_copy(update={"bars": bars}))


def _with_margin(evidence: Evidence, margin: float) -> Evidence:
    return replace(evidence, spec=evidence.spec.model_copy(update={"margin": margin}))


def _with_volume(evidence: Evidence, requests: float) -> Evidence:
    return _with_costs(evidence, lambda cost: _priced(cost, requests, _Times()))


def _with_prices(evidence: Evidence, times: _Times) -> Evidence:
    return _with_costs(evidence, lambda cost: _priced(cost, cost.monthly_requests, times))


def _with_costs(evidence: Evidence, change: Callable[[RungCost], RungCost]) -> Evidence:
    costs = {rung: change(cost) for rung, cost in evidence.costs.items()}
    serving = change(evidence.champion_cost) if evidence.champion_cost else None
    return replace(evidence, costs=costs, champion_cost=serving)


def _priced(cost: RungCost, requests: float, times: _Times) -> RungCost:
    """A rung's cost at another volume and other prices; index and search are paid as the engine is."""
    parts, thousands = cost.parts, cost.monthly_requests / 1000
    answering = parts.engine * (times.tokens if cost.paid_per_token else times.engine)
    per_request = (answering + parts.retrieval * times.engine) / 1000
    fixed = (parts.training * times.training + parts.index * times.engine) * thousands
    changed = cost.model_copy(update={"per_request": per_request, "fixed_per_month": fixed})
    month = monthly_cost(changed, requests)
    return changed.model_copy(
        update={
            "monthly_requests": max(1, round(requests)),
            "per_month": month,
            "per_1000": 1000 * month / requests,
        }
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
