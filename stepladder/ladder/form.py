"""The form of a verdict. ``verdict.schema.json`` beside this file is made from it: ``schema()``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from stepladder.evaluation.cost import BreakEven, RungCost
from stepladder.evaluation.proportions import Interval
from stepladder.evaluation.resampling import Statistic
from stepladder.tasks import Bars, Strict
from stepladder.tuning.estimate import EstimateCheck

DIGITS = 6  # of numbers: the same bytes whatever the last bits of a matrix product are

Decision = Literal["promote", "keep", "inconclusive", "none"]
CriterionName = Literal["score", "abstention", "valid", "latency", "forgetting", "cost"]
State = Literal["holds", "fails", "open"]
Factor = Literal["bar", "margin", "monthly requests", "engine price", "token price", "training price"]


class Criterion(Strict):
    """One question to a rung, with its answer.

    ``score``, ``abstention``, ``valid`` and ``latency`` (the share of requests within the limit on p95) must
    be at least ``limit`` on the bound, ``forgetting`` (of general items, which ``cases`` counts) at most;
    ``cost`` at most, as measured: it has no bound, nor has forgetting where the items were not kept.
    """

    name: CriterionName
    limit: float
    estimate: float | None = Field(description="null where it was not measured")
    bound: float | None = Field(description="one-sided, at confidence 1 - level")
    p: float | None = Field(description="one-sided, against: it is missed")
    state: State
    cases: int | None = Field(description="how many cases speak to it")


class RungVerdict(Strict):
    """One rung against its bar and guardrails. ``cases_needed`` would settle a rung that is undecided."""

    variant: str
    n: int
    clusters: int
    statistic: Statistic
    score: float
    interval: tuple[float, float] | None = Field(description="two-sided [low, high]; null where undefined")
    lower_bound: float | None = Field(description="one-sided, at confidence 1 - level: held against the bar")
    exact_rate: float
    valid_rate: float
    abstention_accuracy: float | None
    cost_per_1000: float = Field(description="US dollars per 1,000 requests")
    latency_p95_ms: float
    eligible: bool = Field(description="shown to meet the bar and all guardrails")
    undecided: bool = Field(description="shown neither to meet nor to fail them: more cases would decide")
    reasons: list[str] = Field(description="why it is eligible or not, in plain words")
    cases_needed: int | None
    criteria: list[Criterion] = Field(description="the bar, then the guardrails that the task asks for")
    design_effect: float = Field(description="how many times more cases than if they were independent")
    sd: float = Field(description="standard error of the score times the root of n")


class PairVerdict(Strict):
    """Score of ``a``, the dearer, minus score of ``b`` (a rung, or ``champion``) on the same cases."""

    a: str
    b: str
    difference: float
    interval: tuple[float, float] | None
    p: float = Field(description="two-sided")
    test: str
    discordance: float = Field(description="share of cases on which the two differ")
    sd: float = Field(description="standard error of the difference times the root of n")


class ChampionVerdict(Strict):
    """What serves, on those of the cases that it was asked, at the present prices."""

    variant: str
    n: int
    score: float
    interval: tuple[float, float] | None = Field(description="two-sided [low, high]; null where undefined")
    cost_per_1000: float | None = Field(description="US dollars per 1,000 requests; null where not known")
    latency_p95_ms: float


class SliceVerdict(Strict):
    """On one kind of case: the decided rung minus the one it is weighed against; p by Holm over slices."""

    n: int
    difference: float
    interval: tuple[float, float] | None
    p: float


class Slices(Strict):
    """The decided (or best) rung ``a`` against ``b`` on each slice. It informs; it does not decide."""

    a: str
    b: str
    by_slice: dict[str, SliceVerdict]


class CaseSet(Strict):
    """How often this set of cases was looked at, this verdict included; null where that was not counted."""

    looks: int | None
    rules: list[str] = Field(default=[], description="what was different in the rules of earlier looks")
    budget: int
    worn: bool
    fresh_cases: int | None = Field(description="where worn: new cases that would take its place")


class Rule(Strict):
    """What was fixed before the cases were looked at: ``params.yaml`` evaluation, ``task.yaml``."""

    alpha: float
    power: float
    confidence: float
    resamples: int
    seed: int
    looks: int
    margin: float
    bars: Bars
    monthly_requests: int


class Burden(Strict):
    """A rung that is good enough and above its limit: on p95 latency (ms) or cost (US dollars per 1,000)."""

    rung: str
    guardrail: Literal["latency", "cost"]
    measured: float
    limit: float
    shown: bool = Field(description="false: measured above the limit, and not shown to be")


class Flip(Strict):
    """With about ``at`` instead of ``present`` the decision would be another; prices are multiples."""

    factor: Factor
    present: float
    at: float
    decision: Decision
    rung: str | None


class Verdict(Strict):
    """The decision record: ``build/<task>/verdict.json``.

    Measured times stand only in latency and cost fields, which ``digest`` leaves out (``ladder.digest``).
    """

    version: Literal[1] = 1
    task: str
    title: str
    decision: Decision
    rung: str | None = Field(description="the rung to serve; null where none is good enough")
    sentence: str = Field(description="the verdict in one plain sentence")
    bar: float
    margin: float
    confidence: float
    level: float = Field(description="of every single one-sided test, so that the whole rule keeps alpha")
    rule: Rule
    unsettled: str | None = Field(description="the rung that is not settled; null unless inconclusive")
    open: list[str] = Field(description="what is not settled, in plain words; empty unless inconclusive")
    rungs: dict[str, RungVerdict] = Field(description="cheapest first")
    comparisons: list[PairVerdict]
    cases_needed: int | None = Field(description="cases that would settle an inconclusive verdict")
    gaps: dict[str, float] = Field(description="share of failing cases per cause")
    needs: dict[str, Interval] = Field(
        default={}, description="share of all cases that fail for want of documents, and of training"
    )
    advice: list[str] = Field(description="what would help most, from the gaps")
    burdens: list[Burden] = Field(
        default=[], description="rungs of the quality asked for that are too slow or too dear"
    )
    forgetting: float | None = Field(description="relative rise in perplexity on general text")
    forgetting_interval: tuple[float, float] | None = Field(
        default=None, description="two-sided, over the general items; null where they were not kept"
    )
    retrieval: dict[str, Interval]
    skipped: dict[str, str] = Field(description="rungs not run, with the reason")
    costs: dict[str, RungCost]
    break_even: list[BreakEven] = Field(description="monthly volumes at which two rungs cost the same")
    training: EstimateCheck | None = Field(description="what training was estimated to take, and took")
    flips: list[Flip] = Field(default=[], description="the nearest numbers with which it would be another")
    sizes: dict[str, Any] = Field(description="what this climb could afford")
    digests: dict[str, str]
    champion: str | None = Field(description="the rung that was serving")
    champion_release: str | None = Field(default=None, description="its version in the registry")
    champion_outdated: bool = Field(default=False, description="its documents have changed since")
    champion_measured: ChampionVerdict | None = Field(
        default=None, description="null where nothing serves, or it could not be weighed"
    )
    slices: Slices | None = Field(description="null where there is one rung or one slice")
    case_set: CaseSet
    warnings: list[str] = Field(description="what a reader should know before trusting it")
    digest: str = Field(description="SHA-256 of all that is decided; measured times and prices left out")

    @property
    def chosen(self) -> str | None:
        """The rung of this climb to serve; None where the champion stays: it is no rung of this climb."""
        return self.rung if self.decision == "promote" else None


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a verdict as it is written."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Verdict.model_json_schema(mode="serialization"),
    }
