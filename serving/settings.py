"""``serving.yaml`` as typed settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import regex
import yaml
from pydantic import Field, ValidationError, field_validator

from stepladder.errors import StepladderError
from stepladder.files import read_text
from stepladder.tasks import Strict, explain


class Limits(Strict):
    """What one request, one release and one client may take."""

    body_bytes: int = Field(default=1_000_000, gt=0)
    connections: int = Field(default=1000, gt=0, description="at once, those that idle too")
    body_timeout_s: float = Field(
        default=10, gt=0, description="for a client to send its headers; then, to send the rest"
    )
    send_timeout_s: float = Field(default=30, gt=0, description="for a client to take a part of its answer")
    messages: int = Field(default=100, gt=0)
    characters: int = Field(default=32_000, gt=0, description="of all messages together")
    in_flight: int = Field(default=32, gt=0, description="requests of one release that are worked on at once")
    waiting: int = Field(default=64, ge=0, description="requests of one release that may wait for that")
    request_timeout_s: float = Field(default=120, gt=0, description="longest deadline")


class Records(Strict):
    """Where interactions are recorded, and for how long they are kept."""

    path: Path = Path("var/interactions.sqlite")
    retention_days: float = Field(default=30, gt=0)
    most_pending: int = Field(default=10_000, gt=0, description="records that may wait to be written")


class Pattern(Strict):
    """What is redacted: every match becomes ``[name]``."""

    name: str = Field(pattern=r"^[a-z0-9 _-]+$")
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class Tracing(Strict):
    """Where OpenTelemetry traces go (OTLP over HTTP); nowhere without an endpoint."""

    endpoint: str | None = None
    headers: dict[str, str] = Field(default={})


class TaskServing(Strict):
    """How a task's answers are delivered; what is said is the release's business."""

    inline_sources: bool = False


class Reconcile(Strict):
    """How the champions of the registry become what answers."""

    every_s: float = Field(default=3, gt=0, description="between two looks at registry and engines")
    adapters: Literal["auto", "merge", "hot"] = Field(
        default="auto", description="auto: hot on a GPU, merged into an engine of their own elsewhere"
    )
    engines: list[str] = Field(
        default=[], description="replicas that run already; empty: engine.url, or one that is started"
    )
    smoke_cases: int = Field(default=5, gt=0, description="asked before a release gets a request")
    attempts: int = Field(default=3, gt=0, description="of a new release to load, before it is refused")
    pause_s: float = Field(default=5, gt=0, description="after a load that failed; doubled each time")
    most_pause_s: float = Field(default=60, gt=0)


class Margins(Strict):
    """How much worse a challenger may be and still be promoted: each a share of the requests."""

    errors: float = Field(default=0.02, gt=0, lt=1, description="no answer, or one that broke off")
    invalid: float = Field(default=0.02, gt=0, lt=1, description="not in the task's form")
    abstained: float = Field(default=0.05, gt=0, lt=1, description="said that it is not in the documents")
    slow: float = Field(default=0.05, gt=0, lt=1, description="took longer than slow_s")
    displeased: float = Field(
        default=0.05, gt=0, lt=1, description="thumb down 1, none a half, up 0: the mean of these"
    )


class Canary(Strict):
    """When a challenger that is tried on real requests is promoted, or sent back."""

    alpha: float = Field(default=0.05, gt=0, lt=1, description="chance of a wrong end, over all looks")
    least: int = Field(default=200, gt=0, description="users or conversations before it is promoted")
    most: int = Field(default=5000, gt=0, description="users or conversations after which it is sent back")
    every_s: float = Field(default=30, gt=0, description="between two looks")
    slow_s: float = Field(default=10, gt=0)
    feedback_after_s: float = Field(default=600, ge=0, description="after an answer, before its thumbs count")
    shadows: int = Field(default=4, gt=0, description="unseen answers at once; more are left out")
    margins: Margins = Margins()


class ServingSettings(Strict):
    """All of ``serving.yaml``."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    page: bool = True
    keys: Path = Path("var/keys.json")
    inbox: str = Field(default="inbox", description="a folder, or a URL that fsspec writes to")
    tasks: dict[str, TaskServing] = Field(default={})
    limits: Limits = Limits()
    records: Records = Records()
    redact: list[Pattern] = Field(default=[])
    tracing: Tracing = Tracing()
    reconcile: Reconcile = Reconcile()
    canary: Canary = Canary()

    def of_task(self, task: str) -> TaskServing:
        """How a task's answers are delivered."""
        return self.tasks.get(task, TaskServing())


def load_serving_settings(path: Path = Path("serving.yaml")) -> ServingSettings:
    """Read ``serving.yaml``; ``STEPLADDER_GATEWAY_HOST`` and ``_PORT`` override ``host`` and ``port``, and
    ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` ``tracing.endpoint``.

    Raises:
        StepladderError: the file is missing, not YAML, or holds an unknown or wrong setting.
    """
    try:
        raw = yaml.safe_load(read_text(path, remedy="run from the project's root")) or {}
        given = {name: os.environ.get(f"STEPLADDER_GATEWAY_{name.upper()}") for name in ("host", "port")}
        if isinstance(raw, dict):
            raw |= {name: value for name, value in given.items() if value}
        found = ServingSettings.model_validate(raw)
    except yaml.YAMLError as error:
        raise StepladderError(f"not valid YAML: {error}", where=str(path), remedy="mend the file") from error
    except ValidationError as error:
        raise StepladderError(
            explain(error), where=str(path), remedy="docs/08-serving.md lists every setting"
        ) from error
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not endpoint:
        return found
    return found.model_copy(update={"tracing": found.tracing.model_copy(update={"endpoint": endpoint})})
