"""A model as judge of open answers, through MLflow's judges: admitted by its agreement with people.

A judge is asked whether an answer is right beside a reference, once for each (question, reference, answer);
what it said is kept in the response cache. Before it scores anything it judges the task's labels, answers
that people have called right or wrong. It is admitted where the lower end of the interval of Cohen's kappa
(1960, "A coefficient of agreement for nominal scales") is at least ``judge.least_kappa``; labels of one
cluster count together there. The labels also
tell its sensitivity and specificity, for which every score is corrected (``stepladder.evaluation.judged``).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import Any

from pydantic import Field, ValidationError

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.evaluation.proportions import Interval, proportion
from stepladder.evaluation.records import JudgeRecord
from stepladder.evaluation.resampling import JudgeErrors, numbered
from stepladder.failures import first_line
from stepladder.files import digest_value, read_jsonl
from stepladder.tasks import Judge, Strict, TaskSpec, explain

_KAPPA = "Cohen's kappa"
_AT_ONCE = 8  # questions to the judge in flight
_LEAST_OF_EACH = 10  # labels called right, and called wrong, to tell a judge's errors by


class Judged(Strict):
    """What a judge is asked: an answer beside its question and reference."""

    input: str = Field(min_length=1)
    reference: Any
    response: str


_ASKED = set(Judged.model_fields)


class Label(Judged):
    """A person's word on an answer. ``cluster``: what belongs together; by default each label alone."""

    right: bool
    cluster: str = ""


def admit(spec: TaskSpec, folder: Path, cache: Cache) -> JudgeRecord:
    """Ask the task's judge about the labels, and refuse it where it agrees with people too little.

    Raises:
        StepladderError: there are too few labels, the judge does not answer, or it agrees too little.
    """
    judge = judge_of(spec)
    path = folder / judge.labels
    labels = read_labels(path)
    called = ask_judge(
        judge, [Judged.model_validate(one.model_dump(include=_ASKED)) for one in labels], cache
    )
    people = [one.right for one in labels]
    kappa = agreement(people, called, [one.cluster for one in labels])
    record = JudgeRecord(
        model=judge.model,
        digest=_digest(judge),
        labels=len(labels),
        kappa=kappa,
        errors=_errors(labels, called),
    )
    if kappa.low is None or kappa.low < judge.least_kappa:
        between = "" if kappa.low is None else f" ({kappa.low:.2f} to {kappa.high:.2f})"
        raise StepladderError(
            f"the judge {judge.model} agrees too little with people: Cohen's kappa {kappa.estimate:.2f}"
            f"{between} on {len(labels)} labels, and {judge.least_kappa:.2f} is the least for its lower end",
            where=str(path),
            remedy="mend judge.instructions, take another model, or give more labels; the scorers"
            " short-answer and exact need no judge",
        )
    return record


def ask_judge(judge: Judge, rows: Sequence[Judged], cache: Cache) -> list[bool]:
    """Whether each answer is right, in order; known ones are not asked again.

    Raises:
        StepladderError: the judge cannot be reached, or says neither yes nor no.
    """
    keys = [digest_value([_digest(judge), row.model_dump(mode="json")]) for row in rows]
    known = {key: value == b"1" for key, value in cache.get(keys).items()}
    missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
    if missing:
        with _asking(judge) as ask, ThreadPoolExecutor(_AT_ONCE) as pool:
            for key, right in zip(missing, pool.map(ask, missing.values()), strict=True):
                known[key] = right
                cache.put({key: b"1" if right else b"0"})
    return [known[key] for key in keys]


def agreement(
    people: Sequence[bool],
    called: Sequence[bool],
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Cohen's kappa with the interval of Fleiss, Cohen & Everitt (1969), by statsmodels.

    Where labels share clusters (one name a label), its error is that of the jackknife that leaves out one
    cluster at a time (Efron & Stein, 1981, "The jackknife estimate of variance"), if that is larger, with
    Student's t. Undefined where all labels, or all of the judge's words, are the same, or in one cluster.
    """
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa

    pairs = list(zip(people, called, strict=True))
    table = np.array([[pairs.count((a, b)) for b in (True, False)] for a in (True, False)])
    if 0 in (*table.sum(axis=0), *table.sum(axis=1)):
        return Interval(estimate=0.0, low=None, high=None, confidence=confidence, method=_KAPPA)
    found = cohens_kappa(table)
    kappa, method = float(found.kappa), _KAPPA
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * float(found.std_kappa)
    if clusters is not None and len(set(clusters)) < len(clusters):
        method = f"{_KAPPA}, cluster jackknife"
        reach = max(reach, _jackknifed_reach(people, called, clusters, confidence))
    if reach == math.inf:
        return Interval(estimate=kappa, low=None, high=None, confidence=confidence, method=method)
    return Interval(
        estimate=kappa, low=kappa - reach, high=min(1.0, kappa + reach), confidence=confidence, method=method
    )


def _jackknifed_reach(
    people: Sequence[bool], called: Sequence[bool], clusters: Sequence[str], confidence: float
) -> float:
    """Half the interval's width; infinite where kappa is undefined without some cluster."""
    import numpy as np
    from scipy import special

    index, size = numbered(clusters)
    cells = 2 * np.asarray(people, dtype=int) + np.asarray(called, dtype=int)
    tables = np.bincount(4 * index + cells, minlength=4 * size).reshape(size, 2, 2)
    left = tables.sum(axis=0) - tables
    shares = left / np.maximum(left.sum(axis=(1, 2)), 1)[:, None, None]
    observed = shares[:, 0, 0] + shares[:, 1, 1]
    chance = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
    if size == 1 or float(chance.max()) == 1:
        return math.inf
    kappas = (observed - chance) / (1 - chance)
    error = math.sqrt((size - 1) / size * float(((kappas - kappas.mean()) ** 2).sum()))
    return error * -float(special.stdtrit(size - 1, (1 - confidence) / 2))


def judge_of(spec: TaskSpec) -> Judge:
    """The task's judge.

    Raises:
        StepladderError: it names none.
    """
    if spec.judge is None:
        raise StepladderError("the scorer judge needs a section judge", where="task.yaml")
    return spec.judge


def read_labels(path: Path) -> list[Label]:
    """The labels of a JSON Lines file.

    Raises:
        StepladderError: it is missing, a row is wrong, or there are too few of either kind.
    """
    labels = []
    for number, value in read_jsonl(path):
        try:
            label = Label.model_validate(value)
        except ValidationError as error:
            raise StepladderError(
                explain(error), where=f"{path}:{number}", remedy="mend that label (docs/02-your-own-task.md)"
            ) from error
        labels.append(label if label.cluster else label.model_copy(update={"cluster": f"line-{number}"}))
    right = sum(one.right for one in labels)
    if min(right, len(labels) - right) < _LEAST_OF_EACH:
        raise StepladderError(
            f"{right} labels say right and {len(labels) - right} wrong: a judge's errors cannot be told",
            where=str(path),
            remedy=f"label at least {_LEAST_OF_EACH} answers of each kind, better a hundred",
        )
    return labels


def _errors(labels: Sequence[Label], called: Sequence[bool]) -> JudgeErrors:
    """Sensitivity and specificity, with effective numbers of labels."""
    shares = {}
    for right in (True, False):
        mine = ((one, said) for one, said in zip(labels, called, strict=True) if one.right == right)
        rows = [(float(said == right), one.cluster) for one, said in mine]
        shares[right] = proportion([hit for hit, _ in rows], [cluster for _, cluster in rows])
    return JudgeErrors(
        sensitivity=shares[True].estimate,
        right=shares[True].effective,
        specificity=shares[False].estimate,
        wrong=shares[False].effective,
    )


def _digest(judge: Judge) -> str:
    """Of what decides its answers: model, server and instructions."""
    return digest_value([judge.model, judge.url, judge.instructions])


@contextmanager
def _asking(judge: Judge) -> Iterator[Any]:
    """A function that asks MLflow's judge one row."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if judge.url is not None:
        os.environ.setdefault("OPENAI_API_KEY", "none")  # a server of one's own asks for none
    from mlflow.exceptions import MlflowException
    from mlflow.genai.judges import make_judge

    theirs = make_judge(
        name="right",
        instructions=judge.instructions,
        model=f"openai:/{judge.model}",
        base_url=judge.url,
        feedback_value_type=bool,
        inference_params={"temperature": 0.0, "seed": 0},
    )

    def ask(row: Judged) -> bool:
        reference = row.reference if isinstance(row.reference, str) else json.dumps(row.reference)
        try:
            said = theirs(
                inputs={"question": row.input}, outputs=row.response, expectations={"reference": reference}
            )
        except MlflowException as error:
            raise _unanswered(judge, first_line(error)) from error
        if not isinstance(said.value, bool):
            raise _unanswered(judge, f"it says {said.value!r}, neither true nor false")
        return said.value

    yield ask


def _unanswered(judge: Judge, why: str) -> StepladderError:
    return StepladderError(
        f"the judge {judge.model} does not answer: {why}",
        where=judge.url or "judge in task.yaml",
        remedy="check judge.url and judge.model, and OPENAI_API_KEY where the server asks for a key; what it"
        " said so far is kept",
    )
