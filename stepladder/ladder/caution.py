"""What a reader should know before trusting a verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from stepladder.data.duplicates import near_duplicates
from stepladder.evaluation.records import Outcome
from stepladder.ladder.evidence import Evidence
from stepladder.ladder.form import Verdict
from stepladder.ladder.weigh import LEAST_SAVING, timed_alike

ALIKE = 0.8  # Jaccard similarity of word 5-grams from which two inputs look like one written twice
_FEW = 5  # earlier rules that are named
_CONVINCING = 0.05  # Holm's p-value from which a slice is named


def warnings_of(verdict: Verdict, rows: Sequence[Outcome], pages: Mapping[str, Collection[str]]) -> list[str]:
    """In plain words.

    Args:
        verdict: all the rest of it.
        rows: the cases, as one rung answered them.
        pages: by case id, those that hold its evidence.
    """
    return [
        *_worn(verdict),
        *_other_rules(verdict),
        *_not_run(verdict),
        *_alike(rows),
        *_sources(rows, pages),
        *_slices(verdict),
        *_resamples(verdict),
    ]


def champion_warnings(evidence: Evidence, cases: int) -> list[str]:
    """Where what serves was not asked all of these cases, or knows other documents."""
    found = []
    if evidence.unweighed is not None:
        found.append(f"the champion was not weighed: {evidence.unweighed.why}")
    elif evidence.champion is not None and len(evidence.champion.outcomes) != cases:
        shared = len(evidence.champion.outcomes)
        found.append(f"the champion was asked {shared:,} of the {cases:,} cases: it is weighed on these only")
    if evidence.outdated:
        found.append("the champion answers from documents that have changed since it was registered")
    return found


def saving_warnings(evidence: Evidence, winner: str | None) -> list[str]:
    """Where a rung costs less than the champion and that is not counted."""
    known = evidence.champion_cost
    if winner is None or known is None or evidence.costs[winner].per_1000 >= known.per_1000:
        return []
    own = evidence.costs[winner]
    if not timed_alike(own, known):
        here, there = (one.usage.circumstances() if one.usage else "no clock" for one in (own, known))
        return [
            f"{winner} seems cheaper than the champion, and is not counted as cheaper: its cost rests on"
            f" {here}; that of the champion on {there}"
        ]
    if own.per_1000 > (1 - LEAST_SAVING) * known.per_1000:
        return [
            f"{winner} costs less than the champion by less than {LEAST_SAVING:.0%}, which is not counted as"
            " cheaper"
        ]
    return []


def judge_warnings(evidence: Evidence) -> list[str]:
    """Who scored, where that was no rule."""
    judge = next(iter(evidence.outcomes.values())).judge
    if judge is None:
        return []
    kappa = judge.kappa
    return [
        f"a judge, {judge.model}, scored the answers: it agrees with people on {judge.labels:,} labels by a"
        f" kappa of {kappa.estimate:.2f} ({kappa.low or 0:.2f} to {kappa.high or 0:.2f}), finds"
        f" {judge.errors.sensitivity:.0%} of the right ones and {judge.errors.specificity:.0%} of the wrong"
        " ones; scores are corrected for that, as if it erred alike on every rung"
    ]


def _worn(verdict: Verdict) -> list[str]:
    seen = verdict.case_set
    if seen.looks is None:
        return ["looks at these cases were not counted"]
    if not seen.worn:
        return []
    return [
        f"these cases are worn: {seen.looks} verdicts looked at them, {seen.budget} were planned"
        f" (evaluation.looks); about {seen.fresh_cases:,} fresh cases are needed in their place"
    ]


def _other_rules(verdict: Verdict) -> list[str]:
    """A bar that was moved once the answers were known was not fixed beforehand."""
    rules = verdict.case_set.rules
    if not rules:
        return []
    more = f"; and {len(rules) - _FEW} more" if len(rules) > _FEW else ""
    return [f"these cases were looked at before under another rule: {'; '.join(rules[:_FEW])}{more}"]


def _not_run(verdict: Verdict) -> list[str]:
    """The promise of a promotion is about the rungs that were run."""
    if verdict.decision != "promote" or not verdict.skipped:
        return []
    names = " and ".join(verdict.skipped)
    return [
        f"{names} {'was' if len(verdict.skipped) == 1 else 'were'} not run: that none is better by the"
        " margin, or cheaper and as good, holds among the rungs that were"
    ]


def _alike(rows: Sequence[Outcome]) -> list[str]:
    """Inputs that look written from one another belong in one cluster; apart they count as too much."""
    pairs = near_duplicates([row.input for row in rows], None, ALIKE)
    apart = [(rows[pair.i], rows[pair.j]) for pair in pairs if rows[pair.i].cluster != rows[pair.j].cluster]
    if not apart:
        return []
    one, other = apart[0]
    return [
        f"{len(apart)} pairs of cases in different clusters read nearly the same, such as {one.id}"
        f" ({one.cluster}) and {other.id} ({other.cluster}): if they belong together,"
        " the intervals are too short"
    ]


def _sources(rows: Sequence[Outcome], pages: Mapping[str, Collection[str]]) -> list[str]:
    """Cases about one page fail together; apart they count as too much."""
    by_page: dict[str, dict[str, str]] = {}  # the first case of each cluster
    for row in rows:
        for page in pages.get(row.id, ()):
            by_page.setdefault(page, {}).setdefault(row.cluster, row.id)
    shared = {page: found for page, found in sorted(by_page.items()) if len(found) > 1}
    if not shared:
        return []
    page, found = next(iter(shared.items()))
    (cluster, one), (other_cluster, other), *_ = found.items()
    return [
        f"{len(shared)} pages of evidence are shared by cases in different clusters, such as {page} by {one}"
        f" ({cluster}) and {other} ({other_cluster}): if they belong together, the intervals are too short"
    ]


def _slices(verdict: Verdict) -> list[str]:
    if verdict.slices is None or verdict.decision != "promote":
        return []
    return [
        f"on {name}, {verdict.slices.a} is worse than {verdict.slices.b} by {-part.difference:.2f}"
        for name, part in verdict.slices.by_slice.items()
        if part.difference < 0 and part.p <= _CONVINCING
    ]


def _resamples(verdict: Verdict) -> list[str]:
    """The smallest p-value that resampling can give must be small enough to show anything."""
    tests = {pair.test for pair in verdict.comparisons}
    smallest = len(verdict.rungs) / (verdict.rule.resamples + 1)
    if "cluster sign-flip permutation" not in tests or smallest <= verdict.level:
        return []
    return [f"{verdict.rule.resamples} resamples are too few to show that a rung is better: set more"]
