"""The stage prepare: no duplicates, no leak, and rows set out by use.

build/prepared/<task>/
  cases.jsonl      the cases that this hardware can afford
  dev.jsonl        examples that choose the prompt's variant; their clusters are not trained on
  few_shot.jsonl   the pool of examples to show, best first; a part of train
                   (of single questions, both, as cases are: a conversation is only trained on)
  train.jsonl      what an adapter may learn from
  report.json      PrepareReport
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stepladder.data.dedupe import Dropped, drop_duplicates
from stepladder.data.leakage import require_no_leak
from stepladder.data.split import choose_few_shot, draw_cases, split_examples
from stepladder.errors import StepladderError
from stepladder.files import digest_file, write_json, write_jsonl
from stepladder.settings import Settings
from stepladder.tasks import Case, Example, Strict, Task, read_rows

# The pool is this many times what a prompt shows, so that a prompt can choose among it.
_POOL_PER_SHOWN = 4


class PrepareReport(Strict):
    """What became of a task's rows. ``slices`` counts rows by set and slice; ``set_aside`` holds ids."""

    task: str
    seed: int
    near_duplicate: float
    counts: dict[str, int]
    slices: dict[str, dict[str, int]]
    dropped: list[Dropped]
    set_aside: list[str]
    digests: dict[str, str]


@dataclass(frozen=True)
class Prepared:
    """The rows of a task by use."""

    cases: list[Case]
    dev: list[Example]
    few_shot: list[Example]
    train: list[Example]


def prepare_task(task: Task, settings: Settings, folder: Path) -> PrepareReport:
    """Write the prepared rows of a task into ``folder``.

    Args:
        task: a loaded task.
        settings: gives the threshold, the seed, and the numbers of cases, dev rows and examples shown.
        folder: where to write; made if missing.

    Raises:
        StepladderError: a row is malformed, a case stands in the examples, or none of them can be held out:
            all are of one cluster, or conversations.
    """
    threshold = settings.prepare.near_duplicate
    require_no_leak(task.cases, task.examples, threshold, task.folder / "examples.jsonl")
    kept, dropped = drop_duplicates(task.examples, threshold)
    split = split_examples(kept, settings.size.dev_rows, settings.seed)
    if not split.dev:
        raise _none_to_hold_out(kept, task.folder / "examples.jsonl")
    pool = choose_few_shot(split.train, settings.evaluation.few_shot * _POOL_PER_SHOWN, settings.seed)
    cases = draw_cases(task.cases, settings.size.cases)
    sets: dict[str, Sequence[Case | Example]] = {
        "cases": cases,
        "dev": split.dev,
        "few_shot": pool,
        "train": split.train,
    }
    for name, rows in sets.items():
        write_jsonl(folder / f"{name}.jsonl", (row.model_dump(mode="json") for row in rows))
    report = PrepareReport(
        task=task.name,
        seed=settings.seed,
        near_duplicate=threshold,
        counts={
            "cases_given": len(task.cases),
            "examples_given": len(task.examples),
            "dropped": len(dropped),
            "set_aside": len(split.set_aside),
            **{name: len(rows) for name, rows in sets.items()},
        },
        slices={name: dict(sorted(Counter(r.slice for r in rows).items())) for name, rows in sets.items()},
        dropped=dropped,
        set_aside=[example.id for example in split.set_aside],
        digests={name: digest_file(folder / f"{name}.jsonl") for name in sets},
    )
    write_json(folder / "report.json", report.model_dump(mode="json"))
    return report


def _none_to_hold_out(examples: Sequence[Example], path: Path) -> StepladderError:
    all_of_them = f"no example can be held out: all {len(examples)} different ones are"
    if all(example.history for example in examples):
        return StepladderError(
            f"{all_of_them} conversations, and cases are single questions",
            where=str(path),
            remedy="add examples of one question and its answer: they choose the prompt's variant",
        )
    return StepladderError(
        f"{all_of_them} of one cluster",
        where=str(path),
        remedy="add examples of another cluster, or leave `cluster` out where rows are independent",
    )


def load_prepared(folder: Path) -> Prepared:
    """Read what ``prepare_task`` wrote.

    Raises:
        StepladderError: a file is missing or damaged.
    """
    for name in ("cases", "dev", "few_shot", "train"):
        if not (folder / f"{name}.jsonl").is_file():
            raise StepladderError(
                "the prepared rows are not there",
                where=str(folder / f"{name}.jsonl"),
                remedy="run the stage that writes them: dvc repro",
            )
    return Prepared(
        cases=read_rows(folder / "cases.jsonl", Case),
        dev=read_rows(folder / "dev.jsonl", Example),
        few_shot=_read_pool(folder / "few_shot.jsonl"),
        train=read_rows(folder / "train.jsonl", Example),
    )


def _read_pool(path: Path) -> list[Example]:
    """Empty where only conversations are left to train on: then nothing is shown."""
    return read_rows(path, Example) if path.stat().st_size else []
