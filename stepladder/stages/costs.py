"""What each rung costs at the task's volume, from what the earlier stages measured."""

from __future__ import annotations

from collections.abc import Mapping

from stepladder.evaluation.cost import BreakEven, RungCost, break_evens, rung_cost
from stepladder.evaluation.prices import token_price
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.usage import usage_of
from stepladder.knowledge.upkeep import UPKEEP, Upkeep
from stepladder.stages.rungs import adapter_record
from stepladder.stages.workspace import Workspace, load
from stepladder.tasks import Strict
from stepladder.tuning.estimate import EstimateCheck, check_estimate


class Costs(Strict):
    """Cost of each rung, where every two break even, and how well the training was estimated."""

    rungs: dict[str, RungCost]
    break_even: list[BreakEven]
    training: EstimateCheck | None


def weigh_costs(workspace: Workspace, name: str, outcomes: Mapping[str, RungOutcomes]) -> Costs:
    """Costs of a task's rungs, by rung in the order given."""
    rungs = {rung: cost_of(workspace, name, one) for rung, one in outcomes.items()}
    record = adapter_record(workspace, name)
    checked = (
        check_estimate(
            record.estimate,
            record.result.tokens,
            record.result.seconds,
            workspace.settings.cost.training_per_hour,
        )
        if record
        else None
    )
    return Costs(rungs=rungs, break_even=break_evens(rungs), training=checked)


def champion_cost(workspace: Workspace, name: str, outcomes: RungOutcomes) -> RungCost:
    """What serving the champion on costs, from what it was measured to need and the present prices.

    Its training is spent, unless its adapter is the present one; that makes it cheaper, never dearer.
    """
    record = adapter_record(workspace, name)
    present = record is not None and record.adapter_digest == outcomes.adapter_digest
    return cost_of(workspace, name, outcomes, training=present)


def cost_of(workspace: Workspace, name: str, outcomes: RungOutcomes, *, training: bool = True) -> RungCost:
    """What one rung costs at the task's volume; ``training``: whether that of its adapter counts.

    An adapter's rung runs on an engine of one's own, also where the base is hosted by others.
    """
    settings = workspace.settings
    tuned, retrieves = outcomes.rung.startswith("lora"), outcomes.rung.endswith("rag")
    record = adapter_record(workspace, name) if tuned and training else None
    usage = usage_of(outcomes)
    return rung_cost(
        usage.engine_s,
        settings.cost,
        workspace.task(name).spec.monthly_requests,
        training_seconds=record.result.seconds if record else None,
        index_seconds=load(Upkeep, workspace.index(name) / UPKEEP).rebuild_s if retrieves else None,
        usage=usage,
        price=None if tuned else token_price(settings.cost),
    )
