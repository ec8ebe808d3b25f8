"""The stage writes the diagnosis and, apart from it, the decision; costs come from what stages recorded."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepladder.data.dedupe import Dropped
from stepladder.data.prepare import PrepareReport
from stepladder.evaluation.multiplicity import full_level
from stepladder.evaluation.variants import Choice
from stepladder.files import read_json, write_json, write_jsonl
from stepladder.knowledge.upkeep import Upkeep
from stepladder.ladder.attribution import Tried
from stepladder.ladder.diagnose import Diagnosis
from stepladder.ladder.warrant import Warrant
from stepladder.prompting.compose import Plan
from stepladder.settings import Settings, load_settings
from stepladder.stages import diagnose as stage
from stepladder.stages.costs import weigh_costs
from stepladder.stages.diagnose import failures_with_adapter
from stepladder.stages.evaluate import PLACES
from stepladder.stages.index import UPKEEP
from stepladder.stages.pilot import NoPrediction
from stepladder.stages.records import TrainingRecord
from stepladder.stages.workspace import Workspace, load, outcomes_in, save, save_outcomes
from stepladder.tasks import Example
from stepladder.tuning.curve import Prediction
from stepladder.tuning.estimate import Estimate
from stepladder.tuning.forgetting import Forgetting
from stepladder.tuning.train import TrainingResult
from tests.ladder.world import SPEC, make_world, with_adapters

PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
GAPS = ["none", "knowledge", "behaviour", "behaviour", "capability", "reference", "format", "retrieval"] * 5


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A project whose evaluate stage has run on a made-up world."""
    settings = Settings.model_validate(
        {**PARAMETERS, "tasks": ["keys"], "hardware": "cpu", "evaluation": {"resamples": 200}}
    )
    workspace = Workspace(tmp_path, settings)
    folder = tmp_path / "tasks" / "keys"
    (folder / "knowledge").mkdir(parents=True)
    write_json(folder / "task.yaml", SPEC.model_dump(mode="json"))
    (folder / "prompt.md").write_text("Answer.")
    tried, _ = make_world(GAPS, tmp_path)
    examples = [
        Example.model_validate({"id": f"e{i}", "prompt": f"What is {i}?", "completion": f"v{i}"})
        for i in range(1200)
    ]
    for name in ("cases", "examples"):
        write_jsonl(
            folder / f"{name}.jsonl",
            [row.model_dump(mode="json") for row in {"cases": tried.cases, "examples": examples}[name]],
        )
    _write_prepared(workspace.prepared("keys"), tried, examples)
    _write_base(workspace.base("keys"), tried)
    return workspace


def _write_prepared(folder: Path, tried: Tried, examples: list[Example]) -> None:
    rows = {"cases": tried.cases, "dev": examples[:8], "few_shot": examples[8:12], "train": examples[8:]}
    for name, some in rows.items():
        write_jsonl(folder / f"{name}.jsonl", [row.model_dump(mode="json") for row in some])
    gone = Dropped(id="e9999", kept="e9", kind="exact", similarity=1, conflict=True)
    report = PrepareReport(
        task="keys", seed=0, near_duplicate=0.9, counts={"examples_given": 1201, "dropped": 1}, slices={},
        dropped=[gone], set_aside=[], digests={},
    )  # fmt: skip
    save(folder / "report.json", report)


def _write_base(folder: Path, tried: Tried) -> None:
    for outcomes in tried.without_adapter.values():
        save_outcomes(folder, outcomes)
    save(folder / PLACES, tried.places)
    for rung in ("prompt", "rag"):
        plan = Plan(rung=rung, context_tokens=300)
        scores, lengths = {"zero-shot": 0.3, "few-shot": 0.2}, {"zero-shot": 40.0, "few-shot": 90.0}
        save(
            folder / f"{rung}.plan.json",
            Choice(plan=plan, dev_scores=scores, dev_prompt_tokens=lengths, dev_rows=8),
        )


def with_climb(workspace: Workspace, **climb: Any) -> Workspace:
    settings = workspace.settings
    changed = settings.climb.model_copy(update=climb)
    return replace(workspace, settings=settings.model_copy(update={"climb": changed}))


def diagnosed(workspace: Workspace) -> Diagnosis:
    stage.run(workspace, "keys")
    return load(Diagnosis, workspace.diagnosis("keys"))


def test_the_diagnosis_says_where_the_gap_is_and_what_training_would_take(workspace: Workspace) -> None:
    found = diagnosed(workspace)
    # One rung and its probes dispute no reference: the five are suspect, and behaviour for the time being.
    assert found.gaps["behaviour"] == pytest.approx(20 / 35, abs=1e-3)
    assert (found.gaps["reference"], len(found.failures.suspects)) == (0, 5)
    assert found.gaps["format"] == pytest.approx(5 / 35, abs=1e-3)
    assert (found.quality.given, found.quality.duplicates, found.quality.disputed) == (1201, 1, 1)
    assert 1192 * 40 < found.estimate.tokens <= 1192 * 50, "zero-shot prompts and answers"
    assert found.warrant.train
    assert read_json(workspace.decision("keys"))["train"] is True


def decided(changes: dict[str, Any], train: bool = True) -> dict[str, object]:
    """The decision by other parameters, named as ``tuning.rank``."""
    known = copy.deepcopy(PARAMETERS)
    for name, value in changes.items():
        *sections, last = name.split(".")
        section = known
        for one in sections:
            section = section[one]
        section[last] = value
    warrant = Warrant(train=train, reason="so", overridden=False, checks=[])
    return stage.decision_of(warrant, Settings.model_validate(known), "terraform-review")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sizes.cpu.cases", 1),
        ("sizes.cpu.train_tokens", 1),  # the task has a budget of its own
        ("sizes.gpu.train_tokens", 1),
        ("sizes.cpu.train_tokens_of.module-qa", 1),
        ("tuning.by_task.module-qa", {"learning_rate": 1}),
        ("tuning.batch_size", 9),  # the task has its own
        ("tuning.checkpoint_every", 1),
        ("tuning.cpu_tokens_per_s", 1),
    ],
)
def test_what_teaches_the_task_nothing_changes_no_decision(name: str, value: object) -> None:
    assert decided({name: value}) == decided({})


@pytest.mark.parametrize(
    "name",
    [
        "sizes.cpu.train_tokens_of.terraform-review",
        "sizes.cpu.context_tokens",
        "tuning.by_task.terraform-review.batch_size",
        "tuning.rank",
        "tuning.gold_rate",
        "tuning.min_examples",
    ],
)
def test_what_teaches_it_otherwise_trains_again_where_it_is_trained(name: str) -> None:
    assert decided({name: 1}) != decided({})
    assert decided({name: 1}, train=False) == decided({}, train=False) == {"train": False, "reason": "so"}


def test_a_diagnosis_of_before_is_read(workspace: Workspace) -> None:
    found = diagnosed(workspace)
    before = {**found.model_dump(mode="json"), "best_cheap_rung": "rag", "best_cheap_score": 0.5}
    write_json(workspace.diagnosis("keys"), before)
    assert load(Diagnosis, workspace.diagnosis("keys")) == found


def test_where_the_budget_does_not_allow_it_the_reason_is_written(workspace: Workspace) -> None:
    found = diagnosed(with_climb(workspace, training_hours=0.001))
    assert not found.warrant.train
    decision = read_json(workspace.decision("keys"))
    assert decision["train"] is False
    assert "climb.training_hours" in decision["reason"]
    assert diagnosed(with_climb(workspace, training_hours=0.001, mode="full")).warrant.train


def with_rag(workspace: Workspace, right: int, **changed: Any) -> None:
    """Let ``rag`` be right on so many of the 40 cases."""
    rag = outcomes_in(workspace.base("keys"))["rag"]
    rows = [
        one.model_copy(update={"score": float(i < right), "exact": i < right, **changed})
        for i, one in enumerate(rag.outcomes)
    ]
    save_outcomes(workspace.base("keys"), rag.model_copy(update={"outcomes": rows}))


@pytest.mark.parametrize(
    ("alpha", "right", "p", "train"),
    [(0.05, 37, 0.0285, True), (0.05, 38, 0.0079, False), (0.04, 38, 0.0079, True)],
    ids=["by a lone test", "by the rule", "by the rule where no champion serves"],
)
def test_a_cheap_rung_ends_the_climb_only_by_the_verdicts_own_test(
    workspace: Workspace, alpha: float, right: int, p: float, train: bool
) -> None:
    from scipy import stats

    evaluation = workspace.settings.evaluation.model_copy(update={"alpha": alpha})
    settings = workspace.settings.model_copy(update={"evaluation": evaluation})
    workspace = replace(workspace, settings=settings)
    assert full_level(0.04, 5) < 0.0079 < full_level(0.04, 4)
    assert stats.binom.sf(right - 1, 40, SPEC.bars.score) == pytest.approx(p, abs=1e-4)
    with_rag(workspace, right)
    check = diagnosed(workspace).warrant.checks[0]
    assert (check.question, check.ok) == ("bar", train)


def test_a_cheap_rung_that_breaks_a_guardrail_does_not_end_the_climb(workspace: Workspace) -> None:
    with_rag(workspace, 40)
    assert not diagnosed(workspace).warrant.train
    with_rag(workspace, 40, valid=False)
    guarded = SPEC.model_copy(update={"bars": SPEC.bars.model_copy(update={"valid": 0.5})})
    write_json(workspace.task("keys").folder / "task.yaml", guarded.model_dump(mode="json"))
    assert diagnosed(workspace).warrant.checks[0].ok


@pytest.mark.parametrize(
    ("bars", "latency_ms", "why"),
    [
        ({"latency_p95_ms": 2}, 1, "40 cases do not show its latency to be: more are needed"),
        ({"latency_p95_ms": 2}, 8, "too slow: its p95 latency of 8 ms is 4 times the 2 ms"),
        ({"cost_per_1000": 1e-9}, 1, "too dear"),
        ({"abstention": 0.7}, 1, "to show its abstention, unanswerable cases are needed"),
    ],
    ids=["too few cases", "too slow", "too dear", "no unanswerable case"],
)
def test_where_only_speed_price_or_a_missing_case_is_open_nothing_is_trained(
    workspace: Workspace, bars: dict[str, float], latency_ms: float, why: str
) -> None:
    upkeep = Upkeep(chunks=3600, chunks_per_s=1, index_s=0, hardware="2 cores")
    save(workspace.index("keys") / UPKEEP, upkeep)
    slow = outcomes_in(workspace.base("keys"))["rag"].outcomes[0].response
    with_rag(workspace, 40, response=slow.model_copy(update={"latency_ms": latency_ms}))
    asked = SPEC.model_copy(update={"bars": SPEC.bars.model_copy(update=bars)})
    write_json(workspace.task("keys").folder / "task.yaml", asked.model_dump(mode="json"))
    warrant = diagnosed(workspace).warrant
    assert not warrant.train
    assert why in warrant.reason
    assert ("set `models.base`" in warrant.reason) == ("too slow" in why or "too dear" in why)
    with_rag(workspace, 20)
    assert diagnosed(workspace).warrant.checks[0].ok, "where the score is open too, training may mend it"


def test_a_pilot_that_shows_no_hope_stops_training_and_calls_it_capability(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def pilot(_workspace: object, _task: object, _rows: object, tokens: int, target: int) -> Prediction:
        asked.append((tokens, target))
        return Prediction(tokens=target, score=0.1, low=0.0, high=0.25, confidence=0.95, points=[])

    monkeypatch.setattr("stepladder.stages.pilot.run_pilot", pilot)
    assert diagnosed(workspace).warrant.train
    assert asked == [], "none on a CPU unless asked for"
    found = diagnosed(with_climb(workspace, pilot_tokens=5000))
    assert asked == [(5000, found.estimate.tokens)]
    assert not found.warrant.train
    assert "a pilot predicts a dev score of 0.10" in found.warrant.reason
    assert (found.gaps["behaviour"], found.gaps["capability"]) == (0, pytest.approx(20 / 35, abs=1e-3))
    diagnosed(with_climb(workspace, pilot_tokens=5000, training_dollars=0))
    assert len(asked) == 1, "nothing is trained to learn what is decided already"


def test_a_pilot_that_tells_nothing_does_not_end_the_diagnosis(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stepladder.stages.pilot.run_pilot", lambda *_: NoPrediction("three rows make no curve")
    )
    found = diagnosed(with_climb(workspace, pilot_tokens=5000))
    assert (found.warrant.train, found.prediction) == (True, None)
    assert "expected, not measured: three rows make no curve" in found.warrant.reason


def test_the_adapter_tells_behaviour_from_capability(workspace: Workspace, tmp_path: Path) -> None:
    before = diagnosed(workspace).failures
    assert failures_with_adapter(workspace, "keys") == before
    tuned = with_adapters(stage.tried_without_adapter(
        workspace, workspace.task("keys"), stage.load_prepared(workspace.prepared("keys"))
    ), GAPS, tmp_path)  # fmt: skip
    for outcomes in tuned.adapters.values():
        save_outcomes(workspace.tuned_outcomes("keys"), outcomes)
    after = failures_with_adapter(workspace, "keys")
    assert after.adapter_known
    assert (after.gaps["behaviour"], after.gaps["capability"]) == (
        pytest.approx(10 / 35, abs=1e-3),
        pytest.approx(5 / 35, abs=1e-3),
    )


def test_costs_are_of_a_full_rebuild_and_of_what_training_took(workspace: Workspace) -> None:
    save(
        workspace.index("keys") / UPKEEP,
        Upkeep(chunks=3600, chunks_per_s=1, index_s=0, hardware="2 cores"),
    )
    tokens = {"tokens": 1000, "tokens_per_s": 10.0}
    record = TrainingRecord(
        adapter_digest="a",
        base_digest="b",
        estimate=Estimate(**tokens, seconds=100, cost=0.1),
        result=TrainingResult(
            rows=1, **tokens, steps=1, seconds=150, losses=[1.0], final_loss=1.0, resumed_from=None
        ),
        forgetting=Forgetting(before=1, after=1, relative_rise=0, items=1),
        dropped={},
    )
    save(workspace.tuned("keys") / "training.json", record)
    tried = stage.tried_without_adapter(
        workspace, workspace.task("keys"), stage.load_prepared(workspace.prepared("keys"))
    )
    lora = tried.cheap["rag"].model_copy(update={"rung": "lora+rag"})
    costs = weigh_costs(workspace, "keys", {**tried.cheap, "lora+rag": lora})
    hour = workspace.settings.cost.engine_per_hour
    assert costs.rungs["prompt"].fixed_per_month == 0
    assert costs.rungs["rag"].fixed_per_month == pytest.approx(hour)
    assert costs.rungs["lora+rag"].fixed_per_month > hour
    assert costs.rungs["rag"].usage is not None
    assert costs.rungs["rag"].usage.prompt_tokens == 9
    assert [(pair.a, pair.b) for pair in costs.break_even] == [
        ("prompt", "rag"), ("prompt", "lora+rag"), ("rag", "lora+rag")
    ]  # fmt: skip
    assert costs.training is not None
    assert costs.training.seconds_ratio == 1.5


def test_parameters_of_the_pilot_follow_the_hardware() -> None:
    settings = load_settings(Path(__file__).parents[2] / "params.yaml")
    assert settings.model_copy(update={"hardware": "cpu"}).pilot_tokens("qa") == 0
    gpu = settings.model_copy(update={"hardware": "gpu"})
    assert gpu.pilot_tokens("qa") == gpu.size.train_tokens // 10
