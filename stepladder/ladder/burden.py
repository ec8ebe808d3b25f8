"""Good enough, and too slow or too dear: the branch of the tree that ends in a smaller base model.

No cheaper rung, document or prompt mends that: what takes the time is the model. A smaller one is seldom as
good as it comes, and may be as good on one narrow task once it is tuned (Hsieh et al., 2023, "Distilling
Step-by-Step"). Whether it is, the next climb measures.
"""

from __future__ import annotations

from stepladder.ladder.form import Burden, Criterion, RungVerdict
from stepladder.tasks import Bars

_QUALITY = ("score", "abstention", "valid", "forgetting")


def burdens_of(rungs: dict[str, RungVerdict], bars: Bars) -> list[Burden]:
    """The rungs shown to meet every bar on quality that are measured above a limit on latency or cost."""
    return [
        burden
        for rung, judged in rungs.items()
        if all(one.state == "holds" for one in judged.criteria if one.name in _QUALITY)
        for one in judged.criteria
        if (burden := _burden(rung, judged, one, bars)) is not None
    ]


def _burden(rung: str, judged: RungVerdict, one: Criterion, bars: Bars) -> Burden | None:
    if one.name == "latency" and bars.latency_p95_ms is not None:
        measured, limit = judged.latency_p95_ms, bars.latency_p95_ms
    elif one.name == "cost":
        measured, limit = judged.cost_per_1000, one.limit
    else:
        return None
    if one.state == "holds" or measured <= limit:
        return None
    shown = one.state == "fails"
    return Burden(rung=rung, guardrail=one.name, measured=measured, limit=limit, shown=shown)


def told(burden: Burden) -> str:
    """A clause: which guardrail, by how much."""
    times = f"{burden.measured / burden.limit:.2g} times"
    if burden.guardrail == "latency":
        slow = "too slow" if burden.shown else "not shown to be fast enough"
        return (
            f"{burden.rung} is good enough, and {slow}: its p95 latency of {burden.measured:,.0f} ms is"
            f" {times} the {burden.limit:,.0f} ms that are allowed"
        )
    return (
        f"{burden.rung} is good enough, and too dear: ${burden.measured:.2g} per 1,000 requests is {times}"
        f" the ${burden.limit:.2g} that are allowed"
    )


WHAT_TO_CHANGE = (
    "set `models.base` in params.yaml to a smaller model and run `stepladder climb`: an adapter on it may be"
    " as good on this task"
)
