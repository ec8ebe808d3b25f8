"""How sure a score is: the names that other parts use, each idea in a module of its own."""

from stepladder.evaluation.intervals import cluster_bootstrap, lower_bound, score_of
from stepladder.evaluation.multiplicity import holm
from stepladder.evaluation.pairs import Comparison, Pair, pair_of, paired_difference
from stepladder.evaluation.power import cases_needed
from stepladder.evaluation.proportions import Interval, proportion, wilson
from stepladder.evaluation.resampling import DEFAULT, Resampling, Statistic

__all__ = [
    "DEFAULT",
    "Comparison",
    "Interval",
    "Pair",
    "Resampling",
    "Statistic",
    "cases_needed",
    "cluster_bootstrap",
    "holm",
    "lower_bound",
    "pair_of",
    "paired_difference",
    "proportion",
    "score_of",
    "wilson",
]
