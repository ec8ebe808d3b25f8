"""The form of a verdict. ``verdict.schema.json`` beside this file is made from it: ``schema()``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from stepladder.evaluation.cost import RungCost
from stepladder.evaluation.statistics import Interval, Statistic
from stepladder.tasks import Strict

Decision = Literal["promote", "keep", "inconclusive", "none"]


class RungVerdict(Strict):
    """One rung against its bar and guardrails. ``cases_needed`` would settle a rung that is undecided."""

    variant: str
    n: int
    clusters: int
    statistic: Statistic
    score: float
    interval: tuple[float, float] | None = Field(description="two-sided [low, high]; null where undefined")
    lower_bound: float | None = Field(description="one-sided 95% bound, held against the bar")
    exact_rate: float
    valid_rate: float
    abstention_accuracy: float | None
    cost_per_1000: float = Field(description="US dollars per 1,000 requests")
    latency_p95_ms: float
    eligible: bool
    undecided: bool = Field(description="the bar lies inside the interval: more cases would decide")
    reasons: list[str] = Field(description="why it is eligible or not, in plain words")
    cases_needed: int | None


class PairVerdict(Strict):
    """Score of ``a``, the dearer, minus score of ``b`` (a rung, or ``champion``) on the same cases."""

    a: str
    b: str
    difference: float
    interval: tuple[float, float] | None
    p: float = Field(description="two-sided")
    test: str


class Verdict(Strict):
    """The decision record: ``build/<task>/verdict.json``. Times stand only in latency and cost fields."""

    version: Literal[1] = 1
    task: str
    title: str
    decision: Decision
    rung: str | None = Field(description="the rung to serve; null where none is good enough")
    sentence: str = Field(description="the verdict in one plain sentence")
    bar: float
    margin: float
    confidence: float
    rungs: dict[str, RungVerdict] = Field(description="cheapest first")
    comparisons: list[PairVerdict]
    cases_needed: int | None = Field(description="cases that would settle an inconclusive verdict")
    gaps: dict[str, float] = Field(description="share of failing cases per cause")
    advice: list[str] = Field(description="what would help most, from the gaps")
    forgetting: float | None = Field(description="relative rise in perplexity on general text")
    retrieval: dict[str, Interval]
    skipped: dict[str, str] = Field(description="rungs not run, with the reason")
    costs: dict[str, RungCost]
    sizes: dict[str, Any] = Field(description="what this climb could afford")
    digests: dict[str, str]
    champion: str | None = Field(description="the rung that was serving")


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a verdict as it is written."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Verdict.model_json_schema(mode="serialization"),
    }
