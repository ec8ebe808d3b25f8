"""``params.yaml`` and the environment as typed settings."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, PositiveInt, ValidationError, field_validator, model_validator

from stepladder.errors import StepladderError
from stepladder.files import read_text
from stepladder.tasks import Strict, explain

_TAKEN = frozenset({"arrived", "checked", "prepared", "index", "retrieval", "base"})  # folders of build/


class Models(Strict):
    """Where the base model and the embedder come from: a folder, a hub id or ``packaged:NAME``."""

    base: str
    embedder: str


class Engine(Strict):
    """How vLLM is started, or the server to attach to."""

    url: str | None = None
    port: int = Field(default=0, ge=0, le=65535)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: int = Field(default=2048, gt=0)
    kv_cache_gib: int = Field(default=1, gt=0)
    concurrency: int = Field(default=32, gt=0)
    start_timeout_s: float = Field(default=300, gt=0)
    request_timeout_s: float = Field(default=180, gt=0)


class Climb(Strict):
    """Whether to train only where it can help (``auto``) or always (``full``), and what it may take."""

    mode: Literal["auto", "full"] = "auto"
    training_hours: float | None = Field(default=8, gt=0)
    training_dollars: float | None = Field(default=20, ge=0)
    most_doubtful: float = Field(default=0.05, ge=0, le=1)
    pilot_tokens: int | None = Field(default=None, ge=0)


class Prepare(Strict):
    """Duplicates and leakage."""

    near_duplicate: float = Field(default=0.9, gt=0, le=1)


class Knowledge(Strict):
    """Chunks, index and search."""

    store: str = "edge"
    chunk_tokens: int = Field(default=96, ge=16)
    top_k: int = Field(default=3, gt=0)
    prefetch: int = Field(default=50, gt=0)
    rrf_k: int = Field(default=2, gt=0)


class Evaluation(Strict):
    """The rule of the verdict (docs/05-the-rule.md), and prompt variants."""

    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="chance of a wrong promotion, at most")
    power: float = Field(default=0.8, gt=0.5, lt=1, description="of the tests whose cases are counted ahead")
    looks: int = Field(default=10, gt=0, description="verdicts on one set of cases before it counts as worn")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of two-sided intervals")
    resamples: int = Field(default=10000, ge=100)
    few_shot: int = Field(default=4, gt=0)


class TuningOfTask(Strict):
    """What one task needs otherwise; null: as for all."""

    learning_rate: float | None = Field(default=None, gt=0)
    batch_size: PositiveInt | None = None


class Tuning(Strict):
    """LoRA."""

    rank: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    learning_rate: float = Field(default=2.5e-4, gt=0)
    warm_up: float = Field(default=0.05, ge=0, lt=1, description="share of the steps, one at least")
    clip: float = Field(default=1.0, gt=0, description="largest norm of a step's gradient")
    lora_plus_ratio: float = Field(default=4.0, ge=1)
    epochs: int = Field(default=1, gt=0)
    batch_size: int = Field(default=4, gt=0, description="examples a step")
    by_task: dict[str, TuningOfTask] = Field(default={}, description="for tasks that need another")
    bucket: int = Field(default=32, gt=0)
    min_examples: int = Field(default=1000, ge=0)
    allow_few_examples: bool = False
    gold_rate: float = Field(default=0.5, ge=0, le=1)
    checkpoint_every: int = Field(default=20, gt=0)
    cpu_tokens_per_s: float = Field(default=150, gt=0)
    gpu_tokens_per_s: float = Field(default=5000, gt=0)

    def of(self, task: str) -> Tuning:
        """What holds for one task."""
        own = self.by_task.get(task, TuningOfTask())
        return self.model_copy(update={**own.model_dump(exclude_none=True), "by_task": {}})


Personal = Literal["EMAIL", "PHONE", "SSN", "CREDIT_CARD", "DE_IBAN"]
Action = Literal["warn", "quarantine", "refuse"]


class IngestActions(Strict):
    """What follows when a check fails: a warning, the row's quarantine, or the refusal of its whole batch."""

    conflict: Action = "quarantine"
    near_duplicate: Action = "quarantine"
    secret: Action = "quarantine"
    personal: Action = "quarantine"
    language: Action = "warn"
    slice_drift: Literal["warn", "refuse"] = "warn"
    label_drift: Literal["warn", "refuse"] = "refuse"
    length_drift: Literal["warn", "refuse"] = "warn"


class Ingest(Strict):
    """Where data arrives, and what it must be like to join a dataset."""

    inbox: str = Field(default="inbox", min_length=1)
    settle_s: float = Field(default=2, ge=0)
    languages: list[str] = Field(default_factory=lambda: ["en"])
    secret_confidence: Literal["low", "medium", "high"] = "medium"
    personal: list[Personal] = Field(default_factory=lambda: list(get_args(Personal)))
    drift: float = Field(default=0.5, gt=0)
    drift_rows: int = Field(default=200, gt=0)
    refuse_share: float = Field(default=0.5, ge=0, le=1)
    actions: IngestActions = IngestActions()


class Cost(Strict):
    """Prices in US dollars. ``hosted`` and the prices per token are of a base model served by others."""

    engine_per_hour: float = Field(ge=0)
    engine_busy: float = Field(default=1.0, gt=0, le=1)
    training_per_hour: float = Field(ge=0)
    adapter_life_months: float = Field(gt=0)
    index_rebuilds_per_month: float = Field(default=1.0, ge=0)
    hosted: str | None = None
    input_per_million: float | None = Field(default=None, ge=0)
    output_per_million: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _prices_come_in_pairs(self) -> Cost:
        if (self.input_per_million is None) != (self.output_per_million is None):
            raise ValueError("give both input_per_million and output_per_million, or neither")
        return self


class Watch(Strict):
    """What the watch looks at, and from where on it raises its voice."""

    days: float = Field(default=7, gt=0, description="how far back it looks at what was asked")
    questions: int = Field(default=200, gt=0, description="most of them that it looks at, and fresh cases")
    fewest: int = Field(default=20, gt=0, description="fewer say nothing")
    nothing_relevant: float = Field(default=0.2, ge=0, le=1, description="most share without an answer found")
    drift: float = Field(
        default=0.3, gt=0, le=1, description="most Kolmogorov-Smirnov distance from the cases"
    )
    index_days: float = Field(default=30, gt=0, description="most days that changed pages may wait")
    gateway: str | None = Field(default=None, description="address that fresh cases are asked at")
    climb: bool = Field(default=False, description="whether a finding starts a climb")


class Flows(Strict):
    """What the flows may do by themselves (docs/09-flows.md)."""

    workspace: Path = Path("var/flows")
    stage_timeout_s: float = Field(default=14_400, gt=0)
    stage_timeouts_s: dict[str, float] = Field(default={}, description="the same, by a stage's name before @")
    retries: int = Field(default=2, ge=0)
    retry_after_s: float = Field(default=10, ge=0, description="doubled with each retry")
    gpu_stages: list[str] = Field(default=[], description="sent to the work pool gpu")
    supersede_running: bool = False
    promote: bool = Field(default=True, description="whether a verdict of promote promotes by itself")
    live_within_s: float = Field(default=900, gt=0)
    watch: Watch = Watch()

    def timeout_s(self, stage: str) -> float:
        """Longest that a stage may take."""
        return self.stage_timeouts_s.get(stage.partition("@")[0], self.stage_timeout_s)


class Mlflow(Strict):
    """Where runs and releases are recorded."""

    tracking_uri: str
    experiment: str = "stepladder"


class ModuleQaSample(Strict):
    """How large the module-qa sample is built."""

    community_modules: int = Field(default=300, ge=0)
    all: bool = False
    cases: int = Field(default=480, gt=0)
    examples: int = Field(default=1600, gt=0)


class TerraformReviewSample(Strict):
    """How large the terraform-review sample is built."""

    cases: int = Field(default=320, gt=0)
    examples: int = Field(default=1600, gt=0)


class Sample(Strict):
    """Sizes of the sample tasks."""

    module_qa: ModuleQaSample = Field(default=ModuleQaSample(), alias="module-qa")
    terraform_review: TerraformReviewSample = Field(default=TerraformReviewSample(), alias="terraform-review")


class Sizes(Strict):
    """What a climb can afford on some hardware."""

    cases: int | None = Field(gt=0, description="cases evaluated, drawn by hash of their id; null: all")
    dev_rows: int = Field(gt=0, description="held-out examples that choose the prompt variant")
    train_tokens: int = Field(gt=0, description="tokens that training may read, for each task")
    train_tokens_of: dict[str, PositiveInt] = Field(
        default={}, description="the same, for tasks that need another"
    )
    context_tokens: int = Field(gt=0, description="retrieved text given to the model, tokens of the embedder")

    def tokens_to_train(self, task: str) -> int:
        """The training budget of a task, tokens."""
        return self.train_tokens_of.get(task, self.train_tokens)


class SizesByHardware(Strict):
    """One column for each kind of hardware."""

    cpu: Sizes
    gpu: Sizes


class Settings(Strict):
    """All of ``params.yaml``."""

    tasks: list[str] = Field(min_length=1)
    hardware: Literal["cpu", "gpu"] = "cpu"
    seed: int = 0
    models: Models
    engine: Engine = Engine()
    climb: Climb = Climb()
    prepare: Prepare = Prepare()
    knowledge: Knowledge = Knowledge()
    evaluation: Evaluation = Evaluation()
    tuning: Tuning = Tuning()
    ingest: Ingest = Ingest()
    cost: Cost
    mlflow: Mlflow
    flows: Flows = Flows()
    sample: Sample = Sample()
    sizes: SizesByHardware

    @field_validator("tasks")
    @classmethod
    def _are_folder_names(cls, names: list[str]) -> list[str]:
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise ValueError(f"{name!r} is no task's name: letters, digits, - and _ only")
            if name in _TAKEN:
                raise ValueError(f"{name!r} is the name of a folder that stages write: choose another")
            if names.count(name) > 1:
                raise ValueError(f"{name!r} is named twice")
        return names

    @property
    def size(self) -> Sizes:
        """The sizes that hold on the chosen hardware."""
        return self.sizes.gpu if self.hardware == "gpu" else self.sizes.cpu

    def pilot_tokens(self, task: str) -> int:
        """Tokens that a pilot may read: as set, else none on a CPU and a tenth of the training on a GPU."""
        if self.climb.pilot_tokens is not None:
            return self.climb.pilot_tokens
        return self.size.tokens_to_train(task) // 10 if self.hardware == "gpu" else 0

    @property
    def stated_tokens_per_s(self) -> float:
        """The training rate assumed before one was measured here."""
        return self.tuning.gpu_tokens_per_s if self.hardware == "gpu" else self.tuning.cpu_tokens_per_s


def load_settings(path: Path = Path("params.yaml")) -> Settings:
    """Read ``params.yaml``, overridden by the environment where that names a place.

    ``MLFLOW_TRACKING_URI``, ``QDRANT_URL``, ``STEPLADDER_ENGINE_URL`` and ``STEPLADDER_GATEWAY_URL`` do.

    Raises:
        StepladderError: the file is missing, not YAML, or holds an unknown or wrong parameter.
    """
    try:
        raw = yaml.safe_load(read_text(path.resolve(), remedy="run from the project's root"))
    except yaml.YAMLError as error:
        raise StepladderError(f"not valid YAML: {error}", where=str(path), remedy="mend the file") from error
    try:
        return Settings.model_validate(_with_environment(raw))
    except ValidationError as error:
        raise StepladderError(
            _explain_with_hints(error), where=str(path), remedy="docs/03-parameters.md lists every parameter"
        ) from error


def _with_environment(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    overrides = {
        ("mlflow", "tracking_uri"): os.environ.get("MLFLOW_TRACKING_URI"),
        ("knowledge", "store"): os.environ.get("QDRANT_URL"),
        ("engine", "url"): os.environ.get("STEPLADDER_ENGINE_URL"),
    }
    merged = dict(raw)
    for (section, name), value in overrides.items():
        given = merged.get(section) or {}
        if value and isinstance(given, dict):
            merged[section] = {**given, name: value}
    flows = merged.get("flows") or {}
    if (gateway := os.environ.get("STEPLADDER_GATEWAY_URL")) and isinstance(flows, dict):
        watch = flows.get("watch") or {}
        if isinstance(watch, dict):
            merged["flows"] = {**flows, "watch": {**watch, "gateway": gateway}}
    return merged


def _explain_with_hints(error: ValidationError) -> str:
    hints = [_hint(item["loc"]) for item in error.errors() if item["type"] == "extra_forbidden"]
    return explain(error) + "".join(hints)


def _hint(location: tuple[int | str, ...]) -> str:
    """A known name near the unknown one, looked up in the section it stands in."""
    known = _names_at(Settings, location[:-1])
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" (did you mean `{near[0]}`?)" if near else ""


def _names_at(model: type[BaseModel], sections: tuple[int | str, ...]) -> list[str]:
    for section in sections:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        inner = fields[str(section)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
