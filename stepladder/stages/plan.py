"""How many cases a task needs, from its last verdict where there is one."""

from __future__ import annotations

from stepladder.evaluation.plan import Plan, Spread, Wanted, assumed_spread, plan
from stepladder.evaluation.power import sd_at_margin
from stepladder.ladder.form import Verdict
from stepladder.stages.workspace import Workspace, load


def run(workspace: Workspace, name: str, margin: float | None = None, power: float | None = None) -> Plan:
    """The plan for a task; ``margin`` and ``power`` default to the task's and the settings'."""
    task = workspace.task(name)
    spec, evaluation = task.spec, workspace.settings.evaluation
    margin = spec.margin if margin is None else margin
    path = workspace.verdict(name)
    measured = measured_spread(load(Verdict, path), margin) if path.is_file() else None
    wanted = Wanted(
        task=name,
        bar=spec.bars.score,
        margin=margin,
        power=evaluation.power if power is None else power,
        alpha=evaluation.alpha,
        rungs=len(task.rungs),
        cases=min(len(task.cases), workspace.settings.size.cases or len(task.cases)),
    )
    clusters = [case.cluster for case in task.cases]
    return plan(wanted, measured or assumed_spread(clusters))


def measured_spread(verdict: Verdict, margin: float) -> Spread | None:
    """Of the best rung, and of the closest rung beside it; None where there was one rung only.

    Two that hardly differ are taken to differ as much as the margin lets them.
    """
    best = max(verdict.rungs, key=lambda rung: verdict.rungs[rung].score)
    beside = [pair for pair in verdict.comparisons if best in (pair.a, pair.b)]
    if not beside:
        return None
    closest = min(beside, key=lambda pair: abs(pair.difference))
    rung = verdict.rungs[best]
    share = min(max(rung.score, 1 / (2 * rung.n)), 1 - 1 / (2 * rung.n))
    return Spread(
        score=rung.sd**2 / (share * (1 - share)),
        pair=max(closest.sd, sd_at_margin(margin)),
        source=f"measured in the last verdict on {rung.n} cases: {closest.a} and {closest.b} differ on"
        f" {closest.discordance:.0%} of them, design effect {rung.design_effect:.2f}",
    )
