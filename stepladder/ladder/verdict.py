"""The verdict: which rung, why, how sure, and at what cost. A pure function of what was measured.

Rungs in order of cost; ``ladder.criteria`` asks each what its task's bars ask, ``evaluation.pairs`` compares
every two on the same cases, and ``ladder.rule`` walks up the ladder on the p-values, so that the chance of a
wrong promotion stays below ``evaluation.alpha``. Where a question stays open the verdict is
``inconclusive``, and says how many cases would settle it. A champion that serves already is
replaced only by a rung that is shown to be better, or no worse by the margin and cheaper, or no worse and
answering from documents that have changed since.
"""

from __future__ import annotations

import math

from stepladder.evaluation.looks import case_set_digest, responses_digest
from stepladder.evaluation.multiplicity import holm
from stepladder.evaluation.pairs import Pair
from stepladder.evaluation.proportions import Interval
from stepladder.files import digest_value
from stepladder.ladder import wording
from stepladder.ladder.burden import burdens_of
from stepladder.ladder.caution import champion_warnings, judge_warnings, saving_warnings, warnings_of
from stepladder.ladder.criteria import Asked, Risen, forgotten
from stepladder.ladder.digest import decision_digest
from stepladder.ladder.evidence import Evidence, check
from stepladder.ladder.form import DIGITS, CaseSet, PairVerdict, Rule, RungVerdict, Verdict
from stepladder.ladder.rule import ways_to_leave
from stepladder.ladder.sensitivity import flips
from stepladder.ladder.serving import champion_verdict
from stepladder.ladder.settle import fresh_cases, settle
from stepladder.ladder.slices import weigh_slices
from stepladder.ladder.weigh import Weighed, decision_of, weigh
from stepladder.settings import Evaluation
from stepladder.tasks import TaskSpec
from stepladder.tuning.forgetting import Forgetting

__all__ = ["Evidence", "Verdict", "decide", "rule_of"]

_WHAT_EACH_HALF_ADDS = (("rag", "prompt"), ("lora", "prompt"), ("lora+rag", "rag"), ("lora+rag", "lora"))


def decide(evidence: Evidence) -> Verdict:
    """Apply the rule.

    Raises:
        StepladderError: there is no rung, a rung lacks its summary or cost, cases differ between rungs, or
            a case stands there twice.
    """
    check(evidence)
    weighed = weigh(evidence)
    decision, rung = decision_of(weighed, evidence)
    rungs = {name: _judge(name, weighed, evidence) for name in weighed.order}
    best = _best(rungs)
    settled = settle(weighed, evidence)
    rule = rule_of(evidence.evaluation, evidence.spec, evidence.seed)
    verdict = Verdict(
        task=evidence.task,
        title=evidence.spec.title,
        decision=decision,
        rung=rung,
        sentence="",
        bar=evidence.spec.bars.score,
        margin=evidence.spec.margin,
        confidence=evidence.evaluation.confidence,
        level=round(weighed.walk.level, DIGITS),
        rule=rule,
        unsettled=weighed.walk.stuck,
        open=settled.open,
        rungs=rungs,
        comparisons=_comparisons(weighed, best, evidence),
        cases_needed=settled.cases,
        gaps=dict(evidence.gaps),
        needs={need: _rounded(share) for need, share in evidence.needs.items()},
        advice=wording.advice(evidence.gaps, weighed.order),
        burdens=burdens_of(rungs, evidence.spec.bars),
        forgetting=_round(_rise(evidence)),
        forgetting_interval=_rise_between(evidence),
        retrieval=dict(evidence.retrieval),
        skipped=dict(evidence.skipped),
        costs={name: evidence.costs[name] for name in weighed.order},
        break_even=list(evidence.break_even),
        training=evidence.training,
        flips=flips(weighed, evidence),
        sizes=dict(evidence.sizes),
        digests=_digests(evidence, rule),
        champion=_serving(evidence),
        champion_outdated=evidence.outdated,
        champion_measured=champion_verdict(evidence),
        slices=weigh_slices(weighed, weighed.walk.promoted or best, evidence),
        case_set=_case_set(weighed, evidence),
        warnings=[],
        digest="",
    )
    unweighed = evidence.unweighed.why if evidence.unweighed else None
    verdict = verdict.model_copy(update={"sentence": wording.sentence(verdict, unweighed, settled.labels)})
    warnings = [
        *champion_warnings(evidence, weighed.cases()),
        *saving_warnings(evidence, weighed.walk.promoted),
        *judge_warnings(evidence),
        *warnings_of(verdict, weighed.rows[weighed.order[0]], evidence.pages),
    ]
    verdict = verdict.model_copy(update={"warnings": warnings})
    return verdict.model_copy(update={"digest": decision_digest(verdict)})


def _best(rungs: dict[str, RungVerdict]) -> str:
    """The highest score, among the eligible if there are any; of equals the cheapest."""
    eligible = [name for name, judged in rungs.items() if judged.eligible]
    return max(eligible or rungs, key=lambda name: rungs[name].score)


def _judge(rung: str, weighed: Weighed, evidence: Evidence) -> RungVerdict:
    summary, asked, level = evidence.summaries[rung], weighed.asked[rung], weighed.walk.level
    fails = _shown_to_fail(rung, weighed)
    eligible = asked.p_holds <= level
    criteria = [
        *(one.answered(level, fails[i]) for i, one in enumerate(asked.bounded)),
        *(one.answered() for one in asked.measured),
    ]
    undecided = not eligible and not any(fails)
    interval = asked.score.interval(evidence.evaluation.confidence)
    return RungVerdict(
        variant=summary.variant,
        n=summary.n,
        clusters=summary.clusters,
        statistic=summary.statistic,
        score=round(asked.score.estimate, DIGITS),
        interval=_ends(interval),
        lower_bound=_round(asked.score.lower(level)),
        exact_rate=round(summary.exact_rate, DIGITS),
        valid_rate=round(summary.valid_rate, DIGITS),
        abstention_accuracy=_round(summary.abstention_accuracy),
        cost_per_1000=evidence.costs[rung].per_1000,
        latency_p95_ms=summary.latency_p95_ms,
        eligible=eligible,
        undecided=undecided,
        reasons=wording.reasons(criteria, level, evidence.spec.bars, summary.latency_p95_ms),
        cases_needed=_cases_needed(asked, level, evidence) if undecided else None,
        criteria=criteria,
        design_effect=round(max(1.0, asked.score.design_effect), DIGITS),
        sd=_sd(asked.score.sd, asked.score.fixed, summary.n),
    )


def _shown_to_fail(rung: str, weighed: Weighed) -> list[bool]:
    """For each question that could be, as the walk asks it: in the first step, or as one way to leave."""
    walk, p_fails = weighed.walk, weighed.asked[rung].p_fails
    level = walk.level / ways_to_leave(weighed.ladder, rung, walk.out)
    return [
        adjusted <= level or p <= walk.screening for p, adjusted in zip(p_fails, holm(p_fails), strict=True)
    ]


def _cases_needed(asked: Asked, level: float, evidence: Evidence) -> int | None:
    """Cases that would answer every question still open, if the estimates stay as they are."""
    if not asked.all_measured or asked.score.lower(level) is None:
        return None
    cases = asked.first.cases
    needed = [
        q.cases_needed(level, evidence.evaluation.power, cases) for q in asked.bounded if q.p_holds > level
    ]
    known = [more for more in needed if more is not None]
    return max(known, default=None) if len(known) == len(needed) else None


def _rise(evidence: Evidence) -> float | None:
    lost = evidence.forgetting
    return lost.relative_rise if isinstance(lost, Forgetting) else lost


def _rise_between(evidence: Evidence) -> tuple[float, float] | None:
    asked = forgotten(evidence.forgetting, evidence.spec.bars.forgetting, evidence.how)
    ends = asked.ends(evidence.evaluation.confidence) if isinstance(asked, Risen) else None
    return None if ends is None else (round(ends[0], DIGITS), round(ends[1], DIGITS))


def _serving(evidence: Evidence) -> str | None:
    serves = evidence.champion or evidence.unweighed
    return str(serves.rung) if serves else None


def _comparisons(weighed: Weighed, best: str, evidence: Evidence) -> list[PairVerdict]:
    confidence = evidence.evaluation.confidence
    found = []
    for a, b in _worth_comparing(weighed.order, best):
        found.append(_pair_verdict(a, b, weighed.tests.pair(a, b), confidence, weighed.cases()))
    if weighed.champion is not None and weighed.walk.promoted:
        shared = len(evidence.champion.outcomes) if evidence.champion else weighed.cases()
        found.append(_pair_verdict(weighed.walk.promoted, "champion", weighed.champion, confidence, shared))
    return found


def _worth_comparing(order: list[str], best: str) -> list[tuple[str, str]]:
    """What retrieval and an adapter add, each rung with the next cheaper one, and each with the best."""
    added = [pair for pair in _WHAT_EACH_HALF_ADDS if set(pair) <= set(order)]
    steps = [(order[i], order[i - 1]) for i in range(1, len(order))]
    place = order.index(best)
    to_best = [(best, rung) if i < place else (rung, best) for i, rung in enumerate(order) if i != place]
    others = [pair for pair in steps + to_best if pair not in added and pair[::-1] not in added]
    return list(dict.fromkeys(added + others))


def _pair_verdict(a: str, b: str, pair: Pair, confidence: float, cases: int) -> PairVerdict:
    compared = pair.comparison(confidence)
    return PairVerdict(
        a=a,
        b=b,
        difference=round(compared.difference, DIGITS),
        interval=_ends(compared.interval),
        p=round(compared.p, DIGITS),
        test=compared.test,
        discordance=round(pair.discordance, DIGITS),
        sd=_sd(pair.sd, pair.error.fixed_at(pair.difference), cases),
    )


def _sd(of_cases: float, fixed: float, cases: int) -> float:
    """The whole standard error times the root of n."""
    return round(math.sqrt(of_cases**2 + cases * fixed), DIGITS)


def rule_of(evaluation: Evaluation, spec: TaskSpec, seed: int) -> Rule:
    """What is fixed before the cases are looked at."""
    return Rule(
        alpha=evaluation.alpha,
        power=evaluation.power,
        confidence=evaluation.confidence,
        resamples=evaluation.resamples,
        seed=seed,
        looks=evaluation.looks,
        margin=spec.margin,
        bars=spec.bars,
        monthly_requests=spec.monthly_requests,
    )


def _digests(evidence: Evidence, rule: Rule) -> dict[str, str]:
    return {
        **evidence.digests,
        "case_set": case_set_digest(evidence.outcomes),
        "responses": responses_digest(evidence.outcomes),
        "rule": digest_value(rule.model_dump(mode="json")),
    }


def _case_set(weighed: Weighed, evidence: Evidence) -> CaseSet:
    budget, seen = evidence.evaluation.looks, evidence.seen
    if seen is None:
        return CaseSet(looks=None, budget=budget, worn=False, fresh_cases=None)
    worn = seen.looks > budget
    fresh = fresh_cases(weighed, evidence) if worn else None
    return CaseSet(looks=seen.looks, rules=seen.rules, budget=budget, worn=worn, fresh_cases=fresh)


def _ends(interval: Interval) -> tuple[float, float] | None:
    if interval.low is None or interval.high is None:
        return None
    return round(interval.low, DIGITS), round(interval.high, DIGITS)


def _rounded(share: Interval) -> Interval:
    ends = {"low": _round(share.low), "high": _round(share.high)}
    return share.model_copy(update={"estimate": round(share.estimate, DIGITS), **ends})


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
