"""What a rung said for each case, and what the scorer made of it: ``<rung>.outcomes.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.resampling import JudgeErrors
from stepladder.files import digest_value
from stepladder.tasks import Rung, Strict


class Response(Strict):
    """One answer of the engine, with the circumstances in which it was asked: a cached one keeps them.

    ``engine_s`` is the wall time of its batch divided by the batch's size, seconds: what one request
    costs when the engine is kept busy. ``latency_ms`` is what this request waited, in that batch.
    ``in_flight`` requests were asked at once, of an engine on ``hardware``; None where that was not noted.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float
    engine_s: float
    in_flight: int | None = None
    hardware: str | None = None


class Counts(Strict):
    """Issues found, invented and missed in one case: micro F1 is made of their sums."""

    tp: int
    fp: int
    fn: int


class Outcome(Strict):
    """A case's response with its score in [0, 1]; ``retrieved``: ids of the chunks given, best first.

    ``retrieval_ms``: what a query of the index takes, a mean; 0 for a rung without retrieval.
    """

    id: str
    input: str
    reference: Any
    answerable: bool
    slice: str
    cluster: str
    score: float
    exact: bool
    valid: bool
    counts: Counts | None = None
    retrieved: list[str] = Field(default=[])
    retrieval_ms: float = 0.0
    response: Response

    @property
    def asked(self) -> str:
        """SHA-256 of input and reference: the same question, whatever it is called and grouped with."""
        return digest_value([self.input, self.reference])

    @property
    def identity(self) -> tuple[str, str, bool]:
        """What agrees where two outcomes are of one case: id, question, whether it can be answered."""
        return self.id, self.asked, self.answerable

    @property
    def latency_ms(self) -> float:
        """What the request waited, retrieval included."""
        return self.retrieval_ms + self.response.latency_ms


class JudgeRecord(Strict):
    """The judge that gave the scores, and how it was admitted: agreement with ``labels`` labels by people."""

    model: str
    digest: str
    labels: int
    kappa: Interval
    errors: JudgeErrors


class RungOutcomes(Strict):
    """All outcomes of one rung (or probe) on one set of cases, in case order."""

    task: str
    rung: Rung | str
    variant: str
    model_digest: str
    adapter_digest: str | None
    outcomes: list[Outcome]
    judge: JudgeRecord | None = None

    @property
    def case_digest(self) -> str:
        """SHA-256 of the cases' identities: the same whatever their order, slices and clusters."""
        return digest_value(sorted(one.identity for one in self.outcomes))
