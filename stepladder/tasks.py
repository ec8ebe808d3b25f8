"""A task folder: its settings, prompt, knowledge, examples and cases, loaded and checked.

tasks/<task>/
  task.yaml        TaskSpec
  prompt.md        Jinja2 system prompt; ``tuned`` is true for the adapter's rungs
  cases.jsonl      Case rows: the frozen test
  examples.jsonl   Example rows: few-shot and training material
  knowledge/*.md   optional: the documents that retrieval reads
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stepladder.errors import StepladderError
from stepladder.files import digest_file, digest_folder, digest_value, read_jsonl, read_text

Rung = Literal["prompt", "rag", "lora", "lora+rag"]
ScorerName = Literal["short-answer", "issue-f1", "exact", "judge"]

ROLES_ALTERNATE = (
    "messages must alternate user, assistant and end with the assistant, after at most one system message"
)


class Strict(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bars(Strict):
    """What a rung must be shown to reach to be good enough; None is not asked."""

    score: float = Field(ge=0, le=1, description="least score")
    forgetting: float = Field(
        default=0.10, ge=0, description="most relative rise in perplexity on general text"
    )
    abstention: float | None = Field(
        default=None, gt=0, lt=1, description="least share of unanswerable cases on which it abstains"
    )
    valid: float | None = Field(
        default=None, gt=0, lt=1, description="least share of responses in the form that is asked for"
    )
    latency_p95_ms: float | None = Field(default=None, gt=0, description="most p95 latency, milliseconds")
    cost_per_1000: float | None = Field(
        default=None, gt=0, description="most US dollars per 1,000 requests, as measured"
    )


class Judge(Strict):
    """A model that says whether an answer is right, and the labels by people that it must agree with.

    ``url``: of an OpenAI-compatible server (``.../v1``); None is OpenAI's own. ``labels``: a file of the
    task's folder. ``least_kappa``: what the lower end of the interval of Cohen's kappa must reach.
    """

    model: str = Field(min_length=1)
    url: str | None = None
    labels: str = "labels.jsonl"
    least_kappa: float = Field(default=0.6, gt=0, lt=1)
    instructions: str = (
        "The question is in {{ inputs }}, a right answer to it in {{ expectations }}. Does {{ outputs }} say"
        " the same as the right answer? Words and length may differ, facts may not: say true or false."
    )


class TaskSpec(Strict):
    """``task.yaml``."""

    title: str
    scorer: ScorerName
    bars: Bars
    margin: float = Field(gt=0, lt=1, description="how much worse still counts as non-inferior")
    monthly_requests: int = Field(gt=0)
    max_output_tokens: int = Field(default=64, gt=0)
    input_template: str = Field(
        default="{{ input }}", description="Jinja2; the filter `numbered` adds line numbers"
    )
    output_schema: dict[str, Any] | None = None
    judge: Judge | None = Field(default=None, description="of the scorer judge")
    abstention: str | None = Field(default=None, description="what to say when the documents hold no answer")

    @model_validator(mode="after")
    def _judge_and_scorer_agree(self) -> TaskSpec:
        if (self.scorer == "judge") != (self.judge is not None):
            raise ValueError("the scorer judge needs a section judge, and the others take none")
        if self.judge and self.bars.abstention is not None:
            raise ValueError("bars.abstention is for scorers that go by rules: a judge errs there unseen")
        return self


class Case(Strict):
    """One evaluation item. ``evidence`` holds ids of pages or sections: ``page#heading/heading``."""

    id: str = Field(min_length=1)
    input: str = Field(min_length=1)
    reference: Any
    answerable: bool = True
    evidence: list[str] = []
    slice: str = "all"
    cluster: str = Field(min_length=1)


class Message(Strict):
    """One chat turn."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class Example(Strict):
    """A labelled input and output. Alpaca and prompt/completion rows are normalised to ``messages``."""

    id: str = ""
    messages: list[Message]
    evidence: list[str] = []
    answerable: bool = True
    slice: str = "all"
    cluster: str = ""

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, row: Any) -> Any:
        return normalise_example(row) if isinstance(row, dict) else row

    @model_validator(mode="after")
    def _roles_alternate(self) -> Example:
        roles = [message.role for message in self.messages]
        turns = roles[1:] if roles[:1] == ["system"] else roles
        if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
            raise ValueError(ROLES_ALTERNATE)
        return self

    @property
    def input(self) -> str:
        """The last user turn."""
        return self.messages[-2].content

    @property
    def history(self) -> list[Message]:
        """The turns before the last question; a system message is the prompt's business."""
        return [message for message in self.messages[:-2] if message.role != "system"]

    @property
    def asked(self) -> str:
        """All that comes before the answer."""
        return "\n".join(message.content for message in self.messages[:-1])

    @property
    def output(self) -> str:
        """The last assistant turn: what is learned."""
        return self.messages[-1].content


def normalise_example(row: dict[str, Any]) -> dict[str, Any]:
    """Alpaca (instruction, input, output) or prompt/completion rows as chat ``messages``."""
    if "instruction" in row and "output" in row:
        rest = {k: v for k, v in row.items() if k not in ("instruction", "input", "output")}
        parts = [part for part in (row["instruction"], row.get("input")) if part]
        # A part that is no text goes on as it is, for the check of `messages` to refuse.
        wrong = next((part for part in parts if not isinstance(part, str)), None)
        question = "\n\n".join(parts) if wrong is None else wrong
        return {**rest, "messages": _turns(question, row["output"])}
    if "prompt" in row and "completion" in row:
        rest = {k: v for k, v in row.items() if k not in ("prompt", "completion")}
        return {**rest, "messages": _turns(row["prompt"], row["completion"])}
    return row


def _turns(question: Any, answer: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@dataclass(frozen=True)
class Task:
    """A task folder, checked when loaded. Rows are read when first asked for."""

    folder: Path
    spec: TaskSpec
    prompt: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @cached_property
    def cases(self) -> list[Case]:
        """The frozen test, in file order."""
        return read_rows(self.folder / "cases.jsonl", Case)

    @cached_property
    def examples(self) -> list[Example]:
        """Training and few-shot material, in file order; rows without an id get ``line-N``."""
        return read_rows(self.folder / "examples.jsonl", Example)

    @property
    def has_knowledge(self) -> bool:
        """Whether there are documents to retrieve from."""
        return (self.folder / "knowledge").is_dir()

    @cached_property
    def pages(self) -> dict[str, str]:
        """Documents by page id (the path under ``knowledge/`` without ``.md``)."""
        return _read_pages(self.folder / "knowledge") if self.has_knowledge else {}

    @property
    def rungs(self) -> list[Rung]:
        """The rungs this task can stand on."""
        return ["prompt", "rag", "lora", "lora+rag"] if self.has_knowledge else ["prompt", "lora"]

    def digests(self) -> dict[str, str]:
        """Content digests of all that makes up the task."""
        digests = {
            "task": digest_value(self.spec.model_dump(mode="json")),
            "prompt": digest_file(self.folder / "prompt.md"),
            "cases": digest_file(self.folder / "cases.jsonl"),
            "examples": digest_file(self.folder / "examples.jsonl"),
        }
        if self.has_knowledge:
            digests["knowledge"] = digest_folder(self.folder / "knowledge")
        return digests


def load_task(folder: Path, *, rows: bool = True) -> Task:
    """Load a task folder.

    Args:
        folder: the folder; its name is the task's.
        rows: whether cases and examples must be there; a release carries none.

    Raises:
        StepladderError: the folder, ``task.yaml``, ``prompt.md`` or a row file is missing or wrong.
    """
    if not folder.is_dir():
        raise StepladderError(
            "no such task folder",
            where=str(folder),
            remedy="build the samples with `stepladder setup`, or add the folder (docs/02-your-own-task.md)",
        )
    for name in ("task.yaml", "prompt.md", *(("cases.jsonl", "examples.jsonl") if rows else ())):
        if not (folder / name).is_file():
            raise StepladderError(
                f"the task has no {name}",
                where=str(folder / name),
                remedy="add it (docs/02-your-own-task.md); for a sample task run"
                f" `stepladder sample {folder.name}`",
            )
    prompt = read_text(folder / "prompt.md")
    if not prompt.strip():
        raise StepladderError(
            "the prompt is empty",
            where=str(folder / "prompt.md"),
            remedy="write what the assistant must do (docs/02-your-own-task.md)",
        )
    return Task(folder, _read_spec(folder / "task.yaml"), prompt)


def _read_spec(path: Path) -> TaskSpec:
    try:
        return TaskSpec.model_validate(yaml.safe_load(read_text(path)))
    except yaml.YAMLError as error:
        raise StepladderError(f"not valid YAML: {error}", where=str(path), remedy="mend the file") from error
    except ValidationError as error:
        raise StepladderError(
            explain(error), where=str(path), remedy="see the fields in docs/02-your-own-task.md"
        ) from error


Row = TypeVar("Row", Case, Example)


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read the cases or examples of a JSON Lines file; a row without an id gets ``line-N``.

    Raises:
        StepladderError: the file is missing or has no rows, or a row is malformed or repeats an id.
    """
    rows: list[Row] = []
    lines: dict[str, int] = {}
    for number, value in read_jsonl(path):
        try:
            row = kind.model_validate(value)
        except ValidationError as error:
            raise StepladderError(
                explain(error), where=f"{path}:{number}", remedy="mend or remove that row"
            ) from error
        if not row.id:
            row = row.model_copy(update={"id": f"line-{number}"})
        if row.id in lines:
            raise StepladderError(
                f"id {row.id!r} stands on line {lines[row.id]} too",
                where=f"{path}:{number}",
                remedy="give every row an id of its own",
            )
        lines[row.id] = number
        rows.append(row)
    if not rows:
        raise StepladderError("the file has no rows", where=str(path), remedy="add at least one row")
    return rows


def _read_pages(folder: Path) -> dict[str, str]:
    pages = {
        path.relative_to(folder).with_suffix("").as_posix(): read_text(path)
        for path in sorted(folder.rglob("*.md"))
    }
    if not any(text.strip() for text in pages.values()):
        raise StepladderError(
            "the knowledge folder holds no text",
            where=str(folder),
            remedy="add Markdown files, or remove the folder if the task needs no documents",
        )
    return pages


def explain(error: ValidationError) -> str:
    """A pydantic error in one line: each field with its problem."""
    problems = [
        f"{'.'.join(str(part) for part in item['loc']) or 'row'}: {item['msg']}" for item in error.errors()
    ]
    return "; ".join(problems)
