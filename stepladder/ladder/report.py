"""The report: one HTML file that says what the verdict is and shows everything it rests on, offline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.summary import RungSummary
from stepladder.files import write_text
from stepladder.ladder import plots, wording
from stepladder.ladder.attribution import CaseLabel, Failures
from stepladder.ladder.causes import PASS, passes
from stepladder.ladder.form import Verdict
from stepladder.ladder.gaps import names_of, shown
from stepladder.ladder.tree import branches
from stepladder.tasks import Strict

MOST_CASES = 25
MOST_MISSED = 12
_LAST = 10**6  # a rank behind all others


class FailingCase(Strict):
    """One case that at least one rung fails, with what each rung said, cheapest first."""

    id: str
    input: str
    reference: str
    slice: str
    answerable: bool
    by_rung: dict[str, Outcome]


def write_report(
    verdict: Verdict,
    summaries: Mapping[str, RungSummary],
    outcomes: Mapping[str, RungOutcomes],
    losses: Sequence[float] | None,
    path: Path,
    failures: Failures | None = None,
) -> None:
    """Write the report, whole or not at all. The same inputs give the same bytes.

    Args:
        verdict: what is reported; its rungs give the columns.
        summaries: by rung, for the slices.
        outcomes: by rung, for the failing cases.
        losses: training loss by step; None or empty where nothing was trained.
        path: the HTML file.
        failures: causes with their intervals, what retrieval missed, and references to look at.

    Raises:
        StepladderError: the file cannot be written.
    """
    write_text(path, render_report(verdict, summaries, outcomes, losses, failures))


def render_report(
    verdict: Verdict,
    summaries: Mapping[str, RungSummary],
    outcomes: Mapping[str, RungOutcomes],
    losses: Sequence[float] | None,
    failures: Failures | None = None,
) -> str:
    """The report's HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("stepladder", "ladder"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["money"] = wording.money
    environment.filters["figure"] = wording.figure
    environment.globals["least_right"] = PASS
    rungs = list(verdict.rungs)
    return environment.get_template("report.html.j2").render(
        verdict=verdict,
        summaries={rung: summaries[rung] for rung in rungs},
        slices={name: part.n for rung in rungs for name, part in sorted(summaries[rung].slices.items())},
        cases=failing_cases(outcomes, rungs),
        failing=_count_failing(outcomes, rungs),
        branches=branches(verdict),
        helps=wording.what_helps(verdict),
        failures=failures,
        missed=_missed(failures) if failures else [],
        quality=plots.quality_against_cost(verdict),
        volume=plots.cost_by_volume(verdict),
        gaps=plots.failure_shares(shown(verdict.gaps, rungs)) if any(verdict.gaps.values()) else "",
        names=names_of(verdict.gaps, rungs),
        loss=plots.training_loss(losses) if losses else "",
        assumptions=list(dict.fromkeys(line for cost in verdict.costs.values() for line in cost.assumptions)),
    )


def _missed(failures: Failures) -> list[CaseLabel]:
    """Cases that fail because retrieval missed their evidence, the nearest misses first."""
    found = [label for label in failures.labels if label.cause == "retrieval" and label.place]
    return sorted(found, key=lambda label: (label.place.rank or _LAST, label.id) if label.place else ())[
        :MOST_MISSED
    ]


def failing_cases(outcomes: Mapping[str, RungOutcomes], rungs: Sequence[str]) -> list[FailingCase]:
    """At most ``MOST_CASES`` cases that some rung fails, those where the rungs differ most first.

    Those that every rung fails come last, and have the share of the places that they have of the cases.
    """
    by_case: dict[str, dict[str, Outcome]] = {}
    for rung in rungs:
        for outcome in outcomes[rung].outcomes:
            by_case.setdefault(outcome.id, {})[rung] = outcome
    failing = [case for case in by_case.items() if _passing(case[1]) < len(case[1])]
    failing.sort(key=lambda case: (-_spread(case[1]), case[0]))
    hopeless = [by_rung for _, by_rung in failing if not _passing(by_rung)]
    places = min(MOST_CASES, len(failing))
    last = ceil(places * len(hopeless) / len(failing)) if failing else 0
    told = [by_rung for _, by_rung in failing if _passing(by_rung)][: places - last]
    return [_failing_case(by_rung) for by_rung in (*told, *hopeless[: places - len(told)])]


def _count_failing(outcomes: Mapping[str, RungOutcomes], rungs: Sequence[str]) -> int:
    return len({o.id for rung in rungs for o in outcomes[rung].outcomes if not passes(o)})


def _passing(by_rung: Mapping[str, Outcome]) -> int:
    return sum(passes(outcome) for outcome in by_rung.values())


def _spread(by_rung: Mapping[str, Outcome]) -> float:
    scores = [outcome.score for outcome in by_rung.values()]
    return round(max(scores) - min(scores), 6)


def _failing_case(by_rung: dict[str, Outcome]) -> FailingCase:
    one = next(iter(by_rung.values()))
    return FailingCase(
        id=one.id,
        input=one.input,
        reference=_readable(one.reference),
        slice=one.slice,
        answerable=one.answerable,
        by_rung=by_rung,
    )


def _readable(reference: Any) -> str:
    return reference if isinstance(reference, str) else json.dumps(reference, indent=2, ensure_ascii=False)
