"""A judge over real HTTP: asked once, and admitted only by its agreement with people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stepladder.cache import Cache
from stepladder.errors import StepladderError
from stepladder.evaluation.evaluate import score_responses
from stepladder.evaluation.judge import Judged, admit, agreement, ask_judge, judge_of
from stepladder.tasks import Bars, Case, Judge, Task, TaskSpec
from tests.stub_server import stub_server


def spec(url: str, **more: Any) -> TaskSpec:
    judge = Judge(model="stub", url=url, **more)
    return TaskSpec(
        title="t", scorer="judge", bars=Bars(score=0.7), margin=0.1, monthly_requests=1, judge=judge
    )


def write_labels(folder: Path, rows: int = 60) -> None:
    """Half of the answers are right, and say so."""
    lines = [
        {
            "input": f"q{i}",
            "reference": "r",
            "response": f"good {i}" if i % 2 else f"bad {i}",
            "right": bool(i % 2),
        }
        for i in range(rows)
    ]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))


def says(err: Callable[[int], bool] = lambda _: False) -> Callable[[dict[str, Any]], str]:
    """Right where the answer is good, and the opposite for the numbers of ``err``."""

    def answer(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        word, number = text.split('outputs: "')[1].split('"')[0].split()
        return json.dumps({"result": (word == "good") != err(int(number)), "rationale": "because"})

    return answer


def test_kappa_agrees_with_the_textbook() -> None:
    """Kappa .4 by hand, and the error of Fleiss, Cohen & Everitt (1969), their formula written out."""
    people = [True] * 25 + [False] * 25
    judge = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = agreement(people, judge)
    observed, chance = 0.7, 0.5
    assert found.estimate == pytest.approx((observed - chance) / (1 - chance))
    p = [[0.4, 0.1], [0.2, 0.3]]
    rows, columns, kappa = [0.5, 0.5], [0.6, 0.4], 0.4
    a = sum(p[i][i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(2))
    b = (1 - kappa) ** 2 * sum(
        p[i][j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j
    )
    c = (kappa - chance * (1 - kappa)) ** 2
    error = math.sqrt((a + b - c) / (50 * (1 - chance) ** 2))
    assert (found.low, found.high) == pytest.approx((kappa - 1.959964 * error, kappa + 1.959964 * error))
    assert agreement([True, False], [True, True]).low is None


def test_labels_of_one_cluster_are_no_more_evidence_than_one_of_them() -> None:
    people = [True] * 60 + [False] * 60
    judge = [True] * 50 + [False] * 10 + [True] * 12 + [False] * 48
    names = [str(i) for i in range(120)]
    alone = agreement(people, judge)
    assert agreement(people, judge, names) == alone
    fourfold = agreement(people * 4, judge * 4, names * 4)
    naive = agreement(people * 4, judge * 4)
    assert fourfold.estimate == pytest.approx(alone.estimate)
    assert fourfold.high - fourfold.low == pytest.approx(alone.high - alone.low, rel=0.03)
    assert fourfold.high - fourfold.low > 1.9 * (naive.high - naive.low)
    assert agreement(people, judge, ["one"] * 120).low is None


def test_the_jackknife_of_kappa_agrees_with_scikits_kappa_without_each_cluster() -> None:
    from sklearn.metrics import cohen_kappa_score

    generator = np.random.default_rng(1)
    people = np.repeat(generator.random(30) < 0.5, 4)
    judge = people ^ np.repeat(generator.random(30) < 0.15, 4)
    judge[0] = not judge[0]
    clusters = np.repeat(np.arange(30), 4)
    left_out = [cohen_kappa_score(people[clusters != c], judge[clusters != c]) for c in range(30)]
    error = np.sqrt(29 / 30 * np.sum((left_out - np.mean(left_out)) ** 2))
    found = agreement(list(people), list(judge), [str(c) for c in clusters])
    assert found.estimate - found.low == pytest.approx(stats.t.ppf(0.975, 29) * error)
    assert found.method == "Cohen's kappa, cluster jackknife"


@pytest.mark.slow
def test_a_judge_that_agrees_is_admitted_asked_once_and_corrected_for(tmp_path: Path) -> None:
    write_labels(tmp_path)
    with stub_server(says(lambda i: i in (1, 3, 5, 0))) as server, Cache(tmp_path / "c.sqlite") as cache:
        record = admit(spec(server.url), tmp_path, cache)
        assert len(server.seen) == record.labels == 60
        assert (record.errors.sensitivity, record.errors.specificity) == pytest.approx((27 / 30, 29 / 30))
        assert (record.errors.right, record.errors.wrong) == (30, 30)
        assert record.kappa.low is not None
        assert record.kappa.low >= 0.6
        body = server.seen[0]
        assert (body["model"], body["temperature"]) == ("stub", 0.0)
        assert "reference" in body["messages"][-1]["content"]
        case = Case(id="c", input="q", reference="r", cluster="c")
        task = Task(tmp_path, spec(server.url), "Answer.")
        judge, scores = score_responses(task, [case, case], ["good 70", "bad 71"], cache)
        assert judge == record
        assert [one.score for one in scores] == [1.0, 0.0]
        asked = len(server.seen)
        assert asked == 62, "the labels are known"
        assert score_responses(task, [case, case], ["good 70", "bad 71"], cache) == (judge, scores)
        assert len(server.seen) == asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("err", "words"), [(lambda i: i % 3 == 0, r"Cohen's kappa 0\.33"), (lambda i: i % 2 == 1, r"kappa 0\.00")]
)
def test_one_that_agrees_too_little_is_refused(
    tmp_path: Path, err: Callable[[int], bool], words: str
) -> None:
    write_labels(tmp_path)
    with (
        stub_server(says(err)) as server,
        Cache(tmp_path / "c.sqlite") as cache,
        pytest.raises(
            StepladderError, match=f"agrees too little with people: .*{words}".replace("..*", ".*")
        ) as caught,
    ):
        admit(spec(server.url), tmp_path, cache)
    assert "0.60 is the least" in str(caught.value)
    assert "judge.instructions" in str(caught.value.remedy)


@pytest.mark.slow
def test_a_point_above_the_minimum_is_not_enough(tmp_path: Path) -> None:
    write_labels(tmp_path, rows=24)
    with stub_server(says(lambda i: i < 4)) as server, Cache(tmp_path / "c.sqlite") as cache:
        with pytest.raises(StepladderError, match=r"kappa 0\.67"):
            admit(spec(server.url), tmp_path, cache)
        assert admit(spec(server.url, least_kappa=0.3), tmp_path, cache).kappa.estimate == pytest.approx(
            2 / 3
        )


def test_too_few_labels_of_a_kind_are_refused(tmp_path: Path) -> None:
    write_labels(tmp_path, rows=12)
    with Cache(tmp_path / "c.sqlite") as cache, pytest.raises(StepladderError, match="6 labels say right"):
        admit(spec("http://127.0.0.1:9/v1"), tmp_path, cache)


@pytest.mark.slow
def test_a_judge_that_is_down_is_named_with_what_to_do(tmp_path: Path) -> None:
    rows = [Judged(input="q", reference="r", response="good 1")]
    with stub_server(lambda _: 400) as server, Cache(tmp_path / "c.sqlite") as cache:
        with pytest.raises(StepladderError, match="the judge stub does not answer") as caught:
            ask_judge(judge_of(spec(server.url)), rows, cache)
        assert "judge.url" in str(caught.value.remedy)


def test_the_scorer_and_its_section_come_together() -> None:
    base = {"title": "t", "bars": {"score": 0.5}, "margin": 0.1, "monthly_requests": 1}
    with pytest.raises(ValueError, match="needs a section judge"):
        TaskSpec.model_validate({**base, "scorer": "judge"})
    with pytest.raises(ValueError, match="the others take none"):
        TaskSpec.model_validate({**base, "scorer": "exact", "judge": {"model": "m"}})
    bars = {"score": 0.5, "abstention": 0.5}
    with pytest.raises(ValueError, match=r"bars\.abstention"):
        TaskSpec.model_validate({**base, "bars": bars, "scorer": "judge", "judge": {"model": "m"}})
