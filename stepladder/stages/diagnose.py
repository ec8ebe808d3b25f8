"""Label the failures of the cheap rungs and decide whether training is warranted."""

from stepladder.console import say
from stepladder.data.prepare import load_prepared
from stepladder.evaluation.summary import summarise
from stepladder.files import write_json
from stepladder.ladder.diagnose import diagnose
from stepladder.stages.evaluate import GOLD_EVIDENCE, cheap_rungs
from stepladder.stages.workspace import Workspace, outcomes_in, save


def run(workspace: Workspace, name: str) -> None:
    """Write the diagnosis."""
    task = workspace.task(name)
    settings = workspace.settings
    outcomes = outcomes_in(workspace.base(name))
    bounds: dict[str, float | None] = {
        rung: summarise(outcomes[rung], settings.evaluation, settings.seed).lower_bound
        for rung in cheap_rungs(task)
    }
    diagnosis = diagnose(
        task.spec,
        load_prepared(workspace.prepared(name)).cases,
        outcomes["prompt"],
        outcomes.get("rag"),
        outcomes.get(GOLD_EVIDENCE),
        bounds,
        settings.climb.mode,
    )
    save(workspace.diagnosis(name), diagnosis)
    # Apart, so that labels and scores that move without changing the decision retrain nothing.
    decision = {"train": True} if diagnosis.train else {"train": False, "reason": diagnosis.reason}
    write_json(workspace.decision(name), decision)
    shares = ", ".join(f"{cause} {share:.0%}" for cause, share in diagnosis.gaps.items() if share)
    say(
        f"diagnose {name}: {diagnosis.failing} of {diagnosis.cases} cases fail on prompt ({shares or 'none'})"
    )
    say(f"  {'train' if diagnosis.train else 'no training'}: {diagnosis.reason}")
