"""Attribute the failures of the cheap rungs and decide whether training is warranted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stepladder.console import say
from stepladder.data.answers import answer_check
from stepladder.data.prepare import Prepared, PrepareReport, load_prepared
from stepladder.evaluation.evidence import Places
from stepladder.evaluation.multiplicity import full_level
from stepladder.evaluation.records import RungOutcomes
from stepladder.evaluation.summary import ordered, resampling
from stepladder.evaluation.usage import usage_of
from stepladder.evaluation.variants import Choice
from stepladder.files import write_json
from stepladder.ladder.attribution import Failures, Tried, attribute, probes_among
from stepladder.ladder.criteria import ask
from stepladder.ladder.diagnose import Diagnosis, diagnose
from stepladder.ladder.gaps import shown
from stepladder.ladder.standing import Standing, standing_of
from stepladder.ladder.warrant import Means, Warrant
from stepladder.settings import Settings
from stepladder.stages.costs import cost_of
from stepladder.stages.evaluate import PLACES, cheap_rungs
from stepladder.stages.workspace import Workspace, load, outcomes_in, save
from stepladder.tasks import Task
from stepladder.tuning.estimate import Estimate, rough_estimate, training_rate
from stepladder.tuning.gate import ExampleQuality

# Of `tuning`: for a kill on the way and for estimates; what holds of `by_task` stands in the others.
_TEACHES_NOTHING = {"checkpoint_every", "cpu_tokens_per_s", "gpu_tokens_per_s", "by_task"}


def run(workspace: Workspace, name: str) -> None:
    """Write the diagnosis, and the decision apart from it."""
    task = workspace.task(name)
    rows = load_prepared(workspace.prepared(name))
    tried = tried_without_adapter(workspace, task, rows)
    means = _means(workspace, task, rows, tried)
    diagnosis = diagnose(tried, means)
    tokens = workspace.settings.pilot_tokens(name)
    if diagnosis.warrant.train and tokens and workspace.settings.climb.mode == "auto":
        diagnosis = _with_pilot(workspace, task, rows, tried, means)
    save(workspace.diagnosis(name), diagnosis)
    # Apart, so that labels and scores that move without changing the decision retrain nothing.
    write_json(workspace.decision(name), decision_of(diagnosis.warrant, workspace.settings, name))
    _tell(name, diagnosis)


def decision_of(warrant: Warrant, settings: Settings, name: str) -> dict[str, object]:
    """Whether to train and, where it is done, what parameters of tuning and sizes hold for the task.

    All that training depends on of these two sections: another task's entry, another hardware's column or
    what only an estimate goes by retrain nothing.
    """
    if not warrant.train:
        return {"train": False, "reason": warrant.reason}
    return {
        "train": True,
        "train_tokens": settings.size.tokens_to_train(name),
        "context_tokens": settings.size.context_tokens,
        "tuning": settings.tuning.of(name).model_dump(mode="json", exclude=_TEACHES_NOTHING),
    }


def failures_with_adapter(workspace: Workspace, name: str) -> Failures:
    """The failures once more, ``behaviour`` and ``capability`` told apart by what the adapter really did.

    Without an adapter they are those of the diagnosis.
    """
    task = workspace.task(name)
    adapters = outcomes_in(workspace.tuned_outcomes(name))
    if not adapters:
        return load(Diagnosis, workspace.diagnosis(name)).failures
    tried = tried_without_adapter(workspace, task, load_prepared(workspace.prepared(name)))
    return attribute(replace(tried, adapters=adapters))


def tried_without_adapter(workspace: Workspace, task: Task, rows: Prepared) -> Tried:
    """What the evaluate stage left."""
    settings = workspace.settings
    outcomes = outcomes_in(workspace.base(task.name))
    places = workspace.base(task.name) / PLACES
    return Tried(
        spec=task.spec,
        cases=rows.cases,
        cheap={rung: outcomes[rung] for rung in cheap_rungs(task)},
        probes=probes_among(outcomes),
        places=load(Places, places) if places.is_file() else Places(),
        how=resampling(settings.evaluation, settings.seed),
    )


def _with_pilot(workspace: Workspace, task: Task, rows: Prepared, tried: Tried, means: Means) -> Diagnosis:
    """Diagnose again, with the score that a pilot predicts."""
    from stepladder.stages.pilot import NoPrediction, run_pilot

    budget = workspace.settings.pilot_tokens(task.name)
    found = run_pilot(workspace, task, rows, budget, means.estimate.tokens)
    if isinstance(found, NoPrediction):
        return diagnose(tried, replace(means, no_prediction=found.reason))
    before = max(_choice(workspace, task.name, rung).dev_score for rung in cheap_rungs(task))
    expected = replace(tried, adapter_expected=found.high > before)
    return diagnose(expected, replace(means, prediction=found))


def _means(workspace: Workspace, task: Task, rows: Prepared, tried: Tried) -> Means:
    settings = workspace.settings
    return Means(
        task=task.name,
        cheap={rung: _standing(workspace, task, one) for rung, one in tried.cheap.items()},
        quality=_quality(workspace.prepared(task.name), task, rows),
        estimate=_estimate(workspace, task, rows, tried.cheap),
        climb=settings.climb,
        tuning=settings.tuning,
    )


def _standing(workspace: Workspace, task: Task, outcomes: RungOutcomes) -> Standing:
    """How a rung without an adapter stands, at the level of the verdict."""
    settings, bars = workspace.settings, task.spec.bars
    cost = 0.0 if bars.cost_per_1000 is None else cost_of(workspace, task.name, outcomes).per_1000
    how = resampling(settings.evaluation, settings.seed, outcomes)
    asked = ask(outcomes.rung, ordered(outcomes), bars, how, forgetting=None, cost_per_1000=cost)
    # One more: a champion that serves takes a share in the verdict, and may serve by then.
    level = full_level(settings.evaluation.alpha, len(task.rungs) + 1)
    return standing_of(outcomes.rung, asked, bars, usage_of(outcomes).latency_p95_ms, level)


def _quality(prepared: Path, task: Task, rows: Prepared) -> ExampleQuality:
    report = load(PrepareReport, prepared / "report.json")
    check = answer_check(task.spec.output_schema, task.folder / "task.yaml")
    train = {example.id for example in rows.train}
    return ExampleQuality(
        given=report.counts["examples_given"],
        duplicates=report.counts["dropped"],
        train=len(train),
        disputed=len({dropped.kept for dropped in report.dropped if dropped.conflict} & train),
        malformed=sum(check(example.output) is not None for example in rows.train),
    )


def _estimate(
    workspace: Workspace, task: Task, rows: Prepared, cheap: Mapping[str, RungOutcomes]
) -> Estimate:
    """Examples x tokens x epochs, before any row is made: lengths as the engine counted them."""
    settings = workspace.settings
    rung = cheap_rungs(task)[-1]
    responses = [outcome.response for outcomes in cheap.values() for outcome in outcomes.outcomes]
    written = sum(one.completion_tokens for one in responses) or 1
    per_token = max(1.0, sum(len(one.text) for one in responses) / written)  # characters
    answers = sum(len(example.output) for example in rows.train) / max(1, len(rows.train)) / per_token
    lengths = _choice(workspace, task.name, rung).dev_prompt_tokens.values()
    outcomes = cheap[rung].outcomes
    prompt = min(lengths, default=sum(o.response.prompt_tokens for o in outcomes) / len(outcomes))
    rate = training_rate(workspace.rates, settings, task.name)
    budget = settings.size.tokens_to_train(task.name)
    return rough_estimate(len(rows.train), prompt + answers, budget, settings, rate)


def _choice(workspace: Workspace, name: str, rung: str) -> Choice:
    return load(Choice, workspace.base(name) / f"{rung}.plan.json")


def _tell(name: str, diagnosis: Diagnosis) -> None:
    failures, warrant = diagnosis.failures, diagnosis.warrant
    gaps = shown({str(cause): share for cause, share in failures.gaps.items()}, ())
    shares = ", ".join(f"{cause} {share:.0%}" for cause, share in gaps.items() if share)
    failing = f"{failures.failing} of {failures.cases} cases"
    say(f"diagnose {name}: a cheap rung fails {failing} ({shares or 'none'})")
    if failures.suspects:
        first = ", ".join(suspect.id for suspect in failures.suspects[:5])
        disputed = sum(one.disputed for one in failures.suspects)
        by = f", {disputed} of them disputed by several rungs" if disputed else ""
        say(f"  look at the references of {len(failures.suspects)} cases{by}: {first}")
    say(f"  {'train' if warrant.train else 'no training'}: {warrant.reason}")
