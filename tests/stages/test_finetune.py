"""Training with a tiny model: what is said before it, why it is left out, and what a kill leaves to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from stepladder.data.prepare import Prepared
from stepladder.files import digest_folder, write_json, write_jsonl
from stepladder.settings import Settings
from stepladder.stages import finetune as stage
from stepladder.stages import training_rows as rows_of
from stepladder.stages.records import TrainingRecord
from stepladder.stages.workspace import Workspace, load
from stepladder.tasks import Case, Example
from stepladder.tuning.rows import load_tokenizer

PARAMETERS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
TASK = "title: t\nscorer: exact\nbars: {score: 0.8}\nmargin: 0.05\nmonthly_requests: 1\n"
TUNING = {"rank": 4, "batch_size": 4, "min_examples": 10, "checkpoint_every": 4}


class KilledError(Exception):
    pass


def examples(count: int, completion: str = "state") -> list[Example]:
    return [
        Example.model_validate({"id": f"e{i}", "prompt": f"What is option {i}?", "completion": completion})
        for i in range(count)
    ]


def make(
    root: Path, base: Path, train: list[Example], *, engine: object = None, **tuning: object
) -> Workspace:
    """A task without knowledge, its rows prepared, and the decision to train."""
    parameters = {**PARAMETERS, "tasks": ["t"], "hardware": "cpu"}
    parameters["models"] = {**PARAMETERS["models"], "base": str(base)}
    parameters["tuning"] = {**PARAMETERS["tuning"], "by_task": {}, **TUNING, **tuning}
    parameters["engine"] = {**PARAMETERS["engine"], "dtype": "float32", **(engine or {})}
    workspace = Workspace(root, Settings.model_validate(parameters))
    task = root / "tasks/t"
    task.mkdir(parents=True, exist_ok=True)
    (task / "task.yaml").write_text(TASK)
    (task / "prompt.md").write_text("Answer.")
    cases = [Case(id="c", input="?", reference="!", cluster="c")]
    prepared = Prepared(cases=cases, dev=train[:1], few_shot=train[:1], train=train)
    for name in ("cases", "dev", "few_shot", "train"):
        rows = [row.model_dump(mode="json") for row in getattr(prepared, name)]
        write_jsonl(workspace.prepared("t") / f"{name}.jsonl", rows)
    write_jsonl(task / "cases.jsonl", [one.model_dump(mode="json") for one in cases])
    write_jsonl(task / "examples.jsonl", [one.model_dump(mode="json") for one in train])
    write_json(workspace.decision("t"), {"train": True, "reason": "it would help"})
    return workspace


def test_the_estimate_is_said_before_training_and_kept_beside_what_it_took(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make(tmp_path, tiny_llama, examples(12))
    said: list[str] = []

    def train(*given: object) -> object:
        said.append(capsys.readouterr().err)
        return learn(*given)

    learn = stage.train
    monkeypatch.setattr(stage, "train", train)
    stage.run(workspace, "t")
    record = load(TrainingRecord, workspace.tuned("t") / "training.json")
    assert (
        f"12 of 12 examples fit sizes.*.train_tokens and the context; {record.estimate.summary()}" in said[0]
    )
    assert record.estimate.tokens == record.result.tokens
    assert record.adapter_digest == digest_folder(workspace.tuned("t") / "adapter")
    assert record.forgetting.before > 1
    assert "perplexity on general text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "decision", "reason"),
    [
        (
            9,
            {"train": True, "reason": "it would help"},
            "9 training examples, fewer than",
        ),
        (12, {"train": False, "reason": "the rung rag meets the bar"}, "the rung rag meets the bar"),
    ],
)
def test_what_is_not_trained_leaves_its_reason(
    tiny_llama: Path, tmp_path: Path, count: int, decision: dict[str, object], reason: str
) -> None:
    workspace = make(tmp_path, tiny_llama, examples(count))
    write_json(workspace.decision("t"), decision)
    stage.run(workspace, "t")
    assert [path.name for path in workspace.tuned("t").iterdir()] == ["skipped.json"]
    assert reason in json.loads((workspace.tuned("t") / "skipped.json").read_text())["reason"]


def test_a_kill_after_training_leaves_nothing_to_learn_again(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make(tmp_path, tiny_llama, examples(12))

    def die(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(stage, "forgetting", die)
        with pytest.raises(KilledError):
            stage.run(workspace, "t")
    assert not workspace.tuned("t").exists(), "half an output is none"
    stage.run(workspace, "t")
    result = load(TrainingRecord, workspace.tuned("t") / "training.json").result
    assert result.resumed_from == result.steps == 3
    assert (workspace.tuned("t") / "adapter/adapter_model.safetensors").is_file()


def test_a_finished_run_is_learned_again_when_it_is_asked_for_again(tiny_llama: Path, tmp_path: Path) -> None:
    workspace = make(tmp_path, tiny_llama, examples(12))
    for _ in range(2):
        stage.run(workspace, "t")
        result = load(TrainingRecord, workspace.tuned("t") / "training.json").result
        assert result.resumed_from is None
    assert not list((workspace.scratch / "training").iterdir())


def test_an_unanswerable_example_keeps_its_own_answer(tiny_llama: Path, tmp_path: Path) -> None:
    answers = ["None of this is known.", "state"]
    given = [
        examples(2, answer)[n].model_copy(update={"answerable": n > 0}) for n, answer in enumerate(answers)
    ]
    workspace = make(tmp_path, tiny_llama, given)
    with (tmp_path / "tasks/t/task.yaml").open("a") as spec:
        spec.write("abstention: Not in the documents.\n")
    rows, _ = rows_of.training_rows(workspace, workspace.task("t"), given, 10**9)
    tokenizer = load_tokenizer(tiny_llama)
    learned = {row.example_id: tokenizer.decode(row.answer_ids, skip_special_tokens=True) for row in rows}
    assert learned == {"e0": answers[0], "e1": answers[1]}


def test_rows_too_long_to_be_read_do_not_use_up_the_budget(tiny_llama: Path, tmp_path: Path) -> None:
    """Half of the rows do not fit the context; the budget is that of the others."""
    short, long = examples(400), examples(400, "state " * 200)
    mixed = [pair[n % 2] for n, pair in enumerate(zip(short, long, strict=True))]
    workspace = make(tmp_path, tiny_llama, mixed, engine={"max_model_len": 150})
    task = workspace.task("t")
    every, dropped = rows_of.training_rows(workspace, task, mixed, 10**9)
    assert dropped == {"too_long": 200, "over_budget": 0}
    budget = sum(row.tokens for row in every) - 100
    rows, _ = rows_of.training_rows(workspace, task, mixed, budget)
    assert budget - 200 < sum(row.tokens for row in rows) <= budget


def test_no_more_is_tokenised_than_all_epochs_together_may_read(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = examples(400)
    workspace = make(tmp_path, tiny_llama, given, epochs=4)
    seen: list[str] = []

    def tokenise(*arguments: object) -> object:
        seen.append(str(arguments[-1]))
        return tokens_of(*arguments)

    tokens_of = rows_of.tokenise
    monkeypatch.setattr(rows_of, "tokenise", tokenise)
    rows, dropped = rows_of.training_rows(workspace, workspace.task("t"), given, 2000)
    assert 4 * sum(row.tokens for row in rows) <= 2000
    assert len(seen) == 128, "one block holds more than enough"
    assert len(rows) + dropped["over_budget"] == 400
