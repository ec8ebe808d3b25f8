"""The whole rule on thousands of ladders whose truth is known: wrong promotions, and the power to be right.

Every ladder has four rungs on the same cases; a case is as hard for all of them up to a correlation of
1/2, and cases of one cluster are alike. "Wrong" is what the rule promises against: a rung that misses
the bar, one that is worse by the margin than a good dearer one, or one dearer than a rung that is as good.
Pairs are compared only where the walk comes to ask about them: it is the same walk, at a third of the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import special, stats

from stepladder.evaluation.cost import rung_cost
from stepladder.evaluation.intervals import score_of
from stepladder.evaluation.multiplicity import full_level, holm
from stepladder.evaluation.pairs import Pair, pair_of
from stepladder.evaluation.power import cases_for_share, cases_needed
from stepladder.evaluation.proportions import proportion
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.resampling import Resampling, Statistic
from stepladder.ladder.criteria import Asked, Bounded
from stepladder.ladder.evidence import Evidence
from stepladder.ladder.rule import Ladder, Walk, walk
from stepladder.ladder.weigh import decision_of, replaces, weigh
from stepladder.settings import Evaluation
from tests.evaluation.test_tango import score_statistic_by_numerical_likelihood

from .conftest import PRICES, SPEC, make_outcomes

LADDERS = 2000
ALPHA, BAR, MARGIN = 0.05, 0.7, 0.1
RUNGS = ("prompt", "rag", "lora", "lora+rag")
QUICK = Resampling(resamples=400)
SKEWED = tuple(range(1, 21))  # sizes of clusters
Scores = dict[str, np.ndarray]
Two = tuple[str, str]


class Lazily(dict[Two, float]):
    """p-values by (dearer, cheaper), computed when they are asked for."""

    def __init__(self, compute: Callable[[Two], float]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, two: Two) -> float:
        self[two] = self._compute(two)
        return self[two]


def decide(
    scores: Scores,
    clusters: list[str],
    extra: int = 0,
    statistic: Statistic = "mean",
    guardrails: dict[str, list[Bounded]] | None = None,
    unseen: int = 0,
) -> Walk:
    """The rule as ``weigh`` applies it, to the rungs of ``scores`` from the cheapest up.

    ``extra`` is 1 where a champion serves; ``unseen`` rungs were skipped for what these cases showed.
    """
    asked = {
        rung: Asked(
            Bounded("score", BAR, score_of(one, clusters, statistic, QUICK), len(one)),
            tuple((guardrails or {}).get(rung, ())),
            (),
        )
        for rung, one in scores.items()
    }
    pairs: dict[Two, Pair] = {}

    def pair(two: Two) -> Pair:
        if two not in pairs:
            pairs[two] = pair_of(scores[two[0]], scores[two[1]], clusters, statistic, QUICK)
        return pairs[two]

    ladder = Ladder(
        order=list(scores),
        holds={rung: one.p_holds for rung, one in asked.items()},
        fails={rung: one.p_fails for rung, one in asked.items()},
        better=Lazily(lambda two: pair(two).p_better),
        as_good=Lazily(lambda two: pair(two).p_shown_below(MARGIN)),
        extra=extra,
        unseen=unseen,
    )
    return walk(ladder, ALPHA)


def uniforms(
    generator: np.random.Generator,
    clusters: int,
    size: int | Sequence[int],
    rungs: Sequence[str] = RUNGS,
) -> Scores:
    """Uniform by case and rung: half of the variance is shared by rungs, and of that half by the cluster.

    ``size``: of every cluster, or of each.
    """
    together = size != 1
    cases = clusters * size if isinstance(size, int) else sum(size)
    within = np.repeat(generator.standard_normal(clusters), size) if together else np.zeros(cases)
    shared = within + generator.standard_normal(cases) * (1.0 if together else np.sqrt(2))
    many = len(rungs)
    own = np.repeat(generator.standard_normal((clusters, many)), size, axis=0) if together else 0.0
    mine = own + generator.standard_normal((cases, many)) * (1.0 if together else np.sqrt(2))
    latent = (shared[:, None] + mine) / 2
    return {rung: special.ndtr(latent[:, i]) for i, rung in enumerate(rungs)}


def binary(uniform: np.ndarray, mean: float) -> np.ndarray:
    return (uniform < mean).astype(float)


def continuous(uniform: np.ndarray, mean: float) -> np.ndarray:
    """A power of a uniform: its mean is 1 / (power + 1)."""
    return uniform ** (1 / mean - 1)


Kind = Callable[[np.ndarray, float], np.ndarray]


def wrong_share(
    kind: Kind, size: int, means: tuple[float, ...], wrong: set[str], naive: bool = False
) -> float:
    """Share of ladders on which the rule promotes a rung that it should not."""
    generator = np.random.default_rng([size, len(wrong), int(naive)])
    clusters = 160 // size
    names = [str(i if naive else i // size) for i in range(clusters * size)]
    count = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, clusters, size)
        scores = {rung: kind(drawn[rung], mean) for rung, mean in zip(RUNGS, means, strict=True)}
        count += decide(scores, names).promoted in wrong
    return count / LADDERS


def wrong_share_skewed(kind: Kind, means: tuple[float, ...], wrong: set[str], ladders: int) -> float:
    """The same where clusters are of unequal size."""
    generator = np.random.default_rng([20, len(wrong)])
    names = [str(i) for i, size in enumerate(SKEWED) for _ in range(size)]
    count = 0
    for _ in range(ladders):
        drawn = uniforms(generator, len(SKEWED), SKEWED)
        scores = {rung: kind(drawn[rung], mean) for rung, mean in zip(RUNGS, means, strict=True)}
        count += decide(scores, names).promoted in wrong
    return count / ladders


shapes = pytest.mark.parametrize("size", [1, 8], ids=["unclustered", "clusters of 8"])
kinds = pytest.mark.parametrize("kind", [binary, continuous])


@pytest.mark.slow
@kinds
@shapes
def test_all_equal_at_the_bar_any_promotion_is_wrong(kind: Kind, size: int) -> None:
    assert wrong_share(kind, size, (BAR,) * 4, set(RUNGS)) <= ALPHA


@pytest.mark.slow
@kinds
@shapes
def test_all_equal_above_the_bar_to_promote_a_dearer_one_is_wrong(kind: Kind, size: int) -> None:
    assert wrong_share(kind, size, (0.85,) * 4, set(RUNGS[1:])) <= ALPHA


@pytest.mark.slow
@kinds
@shapes
def test_three_that_are_worse_by_the_margin_are_not_promoted(kind: Kind, size: int) -> None:
    """The hardest case for "no worse": every cheaper rung lies exactly the margin below the dearest."""
    assert wrong_share(kind, size, (0.83, 0.83, 0.83, 0.93), set(RUNGS[:3])) <= ALPHA


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "ladders"), [(binary, 1500), (continuous, 500)])
@pytest.mark.parametrize(
    ("means", "wrong"),
    [((BAR,) * 4, set(RUNGS)), ((0.85,) * 4, set(RUNGS[1:])), ((0.83, 0.83, 0.83, 0.93), set(RUNGS[:3]))],
    ids=["at the bar", "above the bar", "worse by the margin"],
)
def test_clusters_of_unequal_size_leave_the_promise(
    kind: Kind, ladders: int, means: tuple[float, ...], wrong: set[str]
) -> None:
    """Sizes 1 to 20. Within the error of the draws: tests of differences err close to their level."""
    share = wrong_share_skewed(kind, means, wrong, ladders)
    assert share <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / ladders)


@pytest.mark.slow
@kinds
@pytest.mark.parametrize("size", [1, 4], ids=["unclustered", "clusters of 4"])
def test_a_champion_that_is_no_worse_stays(kind: Kind, size: int) -> None:
    """As good as dearer rungs, or better by the margin than cheaper ones: no rung may replace it."""
    generator = np.random.default_rng([7, size])
    names = [str(i // size) for i in range(160)]
    promoted, wrong = 0, {0.0: 0, MARGIN: 0}
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160 // size, size, (*RUNGS, "champion"))
        scores = {rung: kind(drawn[rung], 0.88) for rung in RUNGS}
        ended = decide(scores, names, extra=1)
        if ended.promoted:
            promoted += 1
            for lead in wrong:
                against = pair_of(
                    scores[ended.promoted], kind(drawn["champion"], 0.88 + lead), names, "mean", QUICK
                )
                wrong[lead] += replaces(against, lead > 0, MARGIN, ended.level)
    assert promoted / LADDERS > 0.2, "else there is nothing to replace it with"
    assert max(wrong.values()) / LADDERS <= ALPHA


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [(binary, 1), (binary, 8), (continuous, 8)])
def test_rungs_that_are_skipped_for_what_the_cases_show_leave_the_promise(kind: Kind, size: int) -> None:
    """All at the bar. No adapter is trained where a cheap rung holds at the level of the warrant."""
    generator = np.random.default_rng([8, size])
    names = [str(i // size) for i in range(160)]
    skipped = wrong = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160 // size, size)
        scores = {rung: kind(drawn[rung], BAR) for rung in RUNGS}
        cheap = {rung: scores[rung] for rung in ("prompt", "rag")}
        holds = [score_of(one, names, "mean", QUICK).p_at_most(BAR) for one in cheap.values()]
        skips = min(holds) <= full_level(ALPHA, len(RUNGS) + 1)
        skipped += skips
        wrong += decide(cheap if skips else scores, names, unseen=2 * skips).promoted is not None
    assert skipped > 0
    assert wrong / LADDERS <= ALPHA


@pytest.mark.slow
def test_weigh_walks_as_here_and_a_better_champion_of_older_documents_stays() -> None:
    """From outcomes to decision; the champion is better by the margin, and to be as good would be enough."""
    generator = np.random.default_rng(9)
    names = [f"{i:03d}" for i in range(160)]
    said = [make_outcomes("rag", score, clusters=160, size=1).outcomes for score in (0.0, 1.0)]
    costs = {rung: rung_cost(0.1 * place, PRICES, 1000) for place, rung in enumerate(RUNGS, 1)}
    evaluation = Evaluation(alpha=ALPHA, resamples=QUICK.resamples)
    spec = SPEC.model_copy(update={"margin": MARGIN})
    assert spec.bars.score == BAR
    weighable = wrong = 0
    for _ in range(LADDERS // 2):
        drawn = uniforms(generator, 160, 1, (*RUNGS, "champion"))
        scores = {rung: binary(drawn[rung], 0.85) for rung in RUNGS}
        champion = _outcomes("rag", binary(drawn["champion"], 0.85 + MARGIN), said)
        outcomes = {rung: _outcomes(rung, one, said) for rung, one in scores.items()}
        evidence = Evidence(
            "t", spec, outcomes, {}, costs, evaluation, forgetting=0.0, champion=champion, outdated=True
        )
        weighed = weigh(evidence)
        assert weighed.walk == decide(scores, names, extra=1)
        weighable += weighed.champion is not None
        wrong += decision_of(weighed, evidence)[0] == "promote"
    assert weighable / (LADDERS // 2) > 0.2
    assert wrong / (LADDERS // 2) <= ALPHA


def _outcomes(rung: str, scores: np.ndarray, said: list[list[Outcome]]) -> RungOutcomes:
    """``said``: what is wrong and what is right, by case."""
    rows = [said[int(right)][i] for i, right in enumerate(scores)]
    return RungOutcomes(
        task="t", rung=rung, variant="v", model_digest="m", adapter_digest=None, outcomes=rows
    )


@pytest.mark.slow
def test_counting_clustered_cases_as_if_they_were_independent_breaks_the_promise() -> None:
    assert wrong_share(binary, 8, (BAR,) * 4, set(RUNGS), naive=True) > ALPHA
    assert wrong_share(continuous, 8, (BAR,) * 4, set(RUNGS), naive=True) > ALPHA


@pytest.mark.slow
def test_a_level_of_alpha_for_each_rung_would_break_the_promise() -> None:
    """Why the level is shared: four rungs at their bars, each tested at alpha on its own."""
    generator = np.random.default_rng(3)
    names = [str(i) for i in range(160)]
    wrong = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160, 1)
        wrong += any(score_of(binary(one, BAR), names).p_at_most(BAR) <= ALPHA for one in drawn.values())
    assert wrong / LADDERS > 1.5 * ALPHA


@pytest.mark.slow
def test_the_right_rung_is_promoted_as_often_as_was_planned() -> None:
    """Three rungs out of the question: the power is that of one exact binomial test, summed, at 0.9 alpha."""
    truth = 0.8
    cases = cases_for_share(truth, BAR, power=0.8, alpha=0.9 * ALPHA)
    generator = np.random.default_rng(5)
    names = [str(i) for i in range(cases)]
    promoted = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, cases, 1)
        means = zip(RUNGS, (0.1, 0.2, 0.1, truth), strict=True)
        promoted += (
            decide({rung: binary(drawn[rung], mean) for rung, mean in means}, names).promoted == "lora+rag"
        )
    counts = np.arange(cases + 1)
    rejected = stats.binom.sf(counts - 1, cases, BAR) <= 0.9 * ALPHA
    power = stats.binom.pmf(counts, cases, truth)[rejected].sum()
    assert power >= 0.79
    assert promoted / LADDERS == pytest.approx(power, abs=3 * np.sqrt(0.16 / LADDERS))


def discordant(first: float, second: float) -> tuple[float, float]:
    """Shares of cases that only the first of two rungs has right, and only the second, by ``uniforms``."""
    ends = [stats.norm.ppf(first), stats.norm.ppf(second)]
    both = float(stats.multivariate_normal.cdf(ends, cov=[[1, 0.5], [0.5, 1]]))
    return first - both, second - both


def promoted_share(cases: int, prompt: float, rag: float) -> dict[str | None, float]:
    """How often each rung is promoted where the adapter's are out of the question."""
    generator = np.random.default_rng([16, cases])
    names = [str(i) for i in range(cases)]
    ended: Counter[str | None] = Counter()
    for _ in range(LADDERS):
        drawn = uniforms(generator, cases, 1)
        means = zip(RUNGS, (prompt, rag, 0.1, 0.1), strict=True)
        ended[decide({rung: binary(drawn[rung], mean) for rung, mean in means}, names).promoted] += 1
    return {rung: count / LADDERS for rung, count in ended.items()}


@pytest.mark.slow
def test_a_dearer_rung_that_is_better_is_promoted_as_often_as_cases_needed_tells() -> None:
    """Two in the running, two ways to leave: exact McNemar at 0.9 alpha / 4, summed over all counts."""
    prompt, rag, level = 0.82, 0.92, 0.9 * ALPHA / 4
    only_prompt, only_rag = discordant(prompt, rag)
    differ = only_prompt + only_rag
    cases = cases_needed(rag - prompt, discordance=differ, power=0.8, alpha=level)
    power = 0.0
    for count in range(1, cases + 1):
        tails = stats.binom.sf(np.arange(count + 1) - 1, count, 0.5)
        rejected = stats.binom.pmf(np.arange(count + 1), count, only_rag / differ)[tails <= level].sum()
        power += stats.binom.pmf(count, cases, differ) * rejected
    assert 0.74 < power < 0.82, "the exact test falls a little short of the normal approximation"
    shares = promoted_share(cases, prompt, rag)
    assert shares["rag"] == pytest.approx(power, abs=3 * np.sqrt(0.16 / LADDERS))


@pytest.mark.slow
def test_a_cheaper_rung_that_is_as_good_is_promoted_as_often_as_tangos_test_shows_it() -> None:
    """Two in the running: the score test at 0.9 alpha / 2, by another algebra, summed over all counts."""
    cases, score = 120, 0.9
    only_one, only_other = discordant(score, score)
    power = 0.0
    for b in range(cases + 1):
        for c in range(cases + 1 - b):
            chance = stats.multinomial.pmf(
                [b, c, cases - b - c], cases, [only_one, only_other, 1 - only_one - only_other]
            )
            if chance > 1e-6:
                z = score_statistic_by_numerical_likelihood(b, c, cases, MARGIN)
                power += chance * (stats.norm.cdf(z) <= 0.9 * ALPHA / 2)
    assert 0.7 < power < 0.9
    shares = promoted_share(cases, score, score)
    assert shares["prompt"] == pytest.approx(power, abs=3 * np.sqrt(0.16 / LADDERS))
    assert shares.get("rag", 0.0) <= ALPHA


def reviews(generator: np.random.Generator, uniform: np.ndarray, f1: float) -> np.ndarray:
    """(tp, fp, fn) by case, two issues in each; micro F1 is in truth ``f1``, clusters as in ``uniform``."""
    found = continuous(uniform, f1)
    tp, fp = generator.binomial(2, found), generator.binomial(2, 1 - found)
    return np.column_stack([tp, fp, 2 - tp]).astype(float)


def promoted_on_reviews(size: int, f1: tuple[float, ...]) -> list[str | None]:
    generator = np.random.default_rng([11, size, int(100 * f1[0])])
    names = [str(i // size) for i in range(160)]
    ended = []
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160 // size, size)
        scores = {rung: reviews(generator, drawn[rung], one) for rung, one in zip(RUNGS, f1, strict=True)}
        ended.append(decide(scores, names, statistic="micro-f1").promoted)
    return ended


@pytest.mark.slow
@shapes
def test_on_micro_f1_a_promotion_at_the_bar_is_as_seldom(size: int) -> None:
    promoted = promoted_on_reviews(size, (BAR,) * 4)
    assert sum(one is not None for one in promoted) / LADDERS <= ALPHA


@pytest.mark.slow
def test_on_micro_f1_the_power_is_that_of_the_normal_approximation() -> None:
    """Three rungs out of the question; the standard error of a ratio of sums, by the delta method."""
    promoted = promoted_on_reviews(1, (0.1, 0.2, 0.1, 0.76))
    generator = np.random.default_rng(12)
    counts = reviews(generator, generator.random(200_000), 0.76)
    over, under = 2 * counts[:, 0], 2 * counts[:, 0] + counts[:, 1] + counts[:, 2]
    error = np.std(over - 0.76 * under) / under.mean() / np.sqrt(160)
    power = stats.norm.sf(stats.norm.isf(0.9 * ALPHA) - (0.76 - BAR) / error)
    assert 0.5 < power < 0.95
    share = sum(one == "lora+rag" for one in promoted) / LADDERS
    assert share == pytest.approx(power, abs=0.03 + 3 * np.sqrt(0.16 / LADDERS))


def guarded(generator: np.random.Generator, shares: dict[str, tuple[float, float]]) -> list[Bounded]:
    """Guardrails of one rung on 160 cases that stand alone: by name its limit and the true share."""
    names = [str(i) for i in range(160)]
    return [
        Bounded(name, limit, proportion(binary(generator.random(160), share), names), 160)  # type: ignore[arg-type]
        for name, (limit, share) in shares.items()
    ]


@pytest.mark.slow
def test_a_rung_that_misses_one_guardrail_is_promoted_at_most_as_often_as_allowed() -> None:
    """All score well; each stands just at the limit of one guardrail, which it does not hold."""
    generator = np.random.default_rng(13)
    names = [str(i) for i in range(160)]
    wrong = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160, 1)
        guardrails = {
            rung: guarded(generator, {"valid": (0.9, 0.9 + 0.09 * odd), "latency": (0.9, 0.99 - 0.09 * odd)})
            for odd, rung in zip((0, 1, 0, 1), RUNGS, strict=True)
        }
        scores = {rung: binary(drawn[rung], 0.9) for rung in RUNGS}
        wrong += decide(scores, names, guardrails=guardrails).promoted is not None
    assert wrong / LADDERS <= ALPHA


@pytest.mark.slow
def test_a_rung_that_meets_all_guardrails_is_left_for_a_dearer_one_at_most_as_often_as_allowed() -> None:
    """The cheapest is just at five limits: that one seems missed is likely, and Holm's method knows."""
    generator = np.random.default_rng(14)
    names = [str(i) for i in range(160)]
    limits = {"valid": 0.9, "abstention": 0.8, "latency": 0.95, "format": 0.7, "other": 0.85}
    wrong = by_holm = each_alone = 0
    for _ in range(LADDERS):
        drawn = uniforms(generator, 160, 1)
        met = guarded(generator, {name: (limit, limit) for name, limit in limits.items()})
        scores = {
            rung: binary(drawn[rung], mean) for rung, mean in zip(RUNGS, (0.9, 0.1, 0.1, 0.9), strict=True)
        }
        wrong += decide(scores, names, guardrails={"prompt": met}).promoted == "lora+rag"
        p = [one.p_fails for one in met]
        by_holm += min(holm(p)) <= ALPHA
        each_alone += min(p) <= ALPHA
    assert wrong / LADDERS <= ALPHA
    assert by_holm / LADDERS <= ALPHA
    assert each_alone / LADDERS > 2 * ALPHA, "why Holm"


@pytest.mark.slow
def test_the_power_with_a_guardrail_is_that_of_both_exact_tests() -> None:
    """One rung in the running, score and guardrail drawn apart: the chances of the two tests multiply."""
    generator = np.random.default_rng(15)
    names = [str(i) for i in range(160)]
    promoted = 0
    for _ in range(LADDERS):
        means = zip(RUNGS, (0.1, 0.2, 0.1, 0.8), strict=True)
        scores = {rung: binary(generator.random(160), mean) for rung, mean in means}
        guardrails = {"lora+rag": guarded(generator, {"valid": (0.9, 0.96)})}
        promoted += decide(scores, names, guardrails=guardrails).promoted == "lora+rag"
    counts = np.arange(161)
    power = 1.0
    for limit, truth in ((BAR, 0.8), (0.9, 0.96)):
        rejected = stats.binom.sf(counts - 1, 160, limit) <= 0.9 * ALPHA
        power *= stats.binom.pmf(counts, 160, truth)[rejected].sum()
    assert 0.4 < power < 0.95
    assert promoted / LADDERS == pytest.approx(power, abs=3.5 * np.sqrt(0.25 / LADDERS))
