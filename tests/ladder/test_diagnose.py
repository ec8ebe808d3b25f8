"""Every failing case gets the cause that the evidence supports, and training is weighed against the bar."""

from __future__ import annotations

from stepladder.evaluation.records import Outcome, Response, RungOutcomes
from stepladder.ladder.diagnose import diagnose
from stepladder.tasks import Bars, Case, TaskSpec

SPEC = TaskSpec(title="t", scorer="exact", bars=Bars(score=0.8), margin=0.05, monthly_requests=1)
RESPONSE = Response(text="", prompt_tokens=1, completion_tokens=1, latency_ms=1, engine_s=1)


def case(name: str, evidence: tuple[str, ...] = ("page#a",)) -> Case:
    return Case(id=name, input="q", reference="r", evidence=list(evidence), cluster=name)


def outcomes(
    rung: str, scores: dict[str, float], retrieved: dict[str, list[str]] | None = None
) -> RungOutcomes:
    made = [
        Outcome(
            id=name,
            input="q",
            reference="r",
            answerable=name != "absent",
            slice="all",
            cluster=name,
            score=score,
            exact=score == 1,
            valid=True,
            retrieved=(retrieved or {}).get(name, []),
            response=RESPONSE,
        )
        for name, score in scores.items()
    ]
    return RungOutcomes(
        task="t", rung=rung, variant="zero-shot", model_digest="m", adapter_digest=None, outcomes=made
    )


CASES = [case("known"), case("missed"), case("distracted"), case("hard"), case("absent", ())]
PROMPT = outcomes("prompt", dict.fromkeys(["known", "missed", "distracted", "hard", "absent"], 0.0))
RAG = outcomes(
    "rag",
    {"known": 1.0, "missed": 0.0, "distracted": 0.0, "hard": 0.0, "absent": 0.0},
    {"missed": ["other#x"], "distracted": ["page#a/b"], "hard": ["page#a"]},
)
GOLD = outcomes("gold-evidence", {"missed": 1.0, "distracted": 1.0, "hard": 0.0})


def test_each_cause() -> None:
    made = diagnose(SPEC, CASES, PROMPT, RAG, GOLD, {"prompt": 0.0, "rag": 0.1}, "auto")
    assert {label.id: label.cause for label in made.labels} == {
        "known": "knowledge",
        "missed": "retrieval",
        "distracted": "behaviour",
        "hard": "unexplained",
        "absent": "behaviour",
    }
    assert made.gaps == {"knowledge": 0.2, "retrieval": 0.2, "behaviour": 0.4, "unexplained": 0.2}


def test_training_is_warranted_when_what_it_can_mend_reaches_the_bar() -> None:
    made = diagnose(SPEC, CASES, PROMPT, RAG, GOLD, {"prompt": 0.0, "rag": 0.1}, "auto")
    assert made.reachable == 0.8
    assert made.train


def test_training_is_refused_when_retrieval_is_what_is_missing() -> None:
    rag = outcomes("rag", dict.fromkeys(["known", "missed", "distracted", "hard", "absent"], 0.0))
    gold = outcomes("gold-evidence", {"known": 1.0, "missed": 1.0, "distracted": 1.0, "hard": 1.0})
    made = diagnose(SPEC, CASES, PROMPT, rag, gold, {"prompt": 0.0, "rag": 0.0}, "auto")
    assert not made.train
    assert "retrieval come first" in made.reason


def test_no_training_where_a_cheap_rung_is_good_enough() -> None:
    made = diagnose(SPEC, CASES, PROMPT, RAG, GOLD, {"prompt": 0.0, "rag": 0.85}, "auto")
    assert not made.train
    assert made.reason.startswith("rag meets the bar")


def test_full_mode_trains_regardless() -> None:
    assert diagnose(SPEC, CASES, PROMPT, RAG, GOLD, {"rag": 0.99}, "full").train


def test_without_documents_the_gap_is_behaviour() -> None:
    made = diagnose(SPEC, CASES, PROMPT, None, None, {"prompt": 0.0}, "auto")
    assert made.gaps["behaviour"] == 1.0
    assert made.best_cheap_rung == "prompt"


def test_nothing_failing_is_no_gap() -> None:
    perfect = outcomes("prompt", dict.fromkeys(["known", "missed", "distracted", "hard", "absent"], 1.0))
    made = diagnose(SPEC, CASES, perfect, None, None, {"prompt": 1.0}, "auto")
    assert (made.failing, sum(made.gaps.values()), made.train) == (0, 0.0, False)
