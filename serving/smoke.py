"""Smoke cases: before a release gets a request, it must say again what it said when it was evaluated."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import httpx

from serving.beside import left_when_over
from serving.engines import is_away
from serving.router import Passage
from stepladder.data.answers import answer_check
from stepladder.engine import RunningEngine
from stepladder.errors import StepladderError
from stepladder.evaluation.records import Outcome, RungOutcomes
from stepladder.evaluation.respond import engine_body
from stepladder.evaluation.score import said, score_response
from stepladder.prompting.compose import Plan, Request, compose
from stepladder.tasks import Case, Task

Search = Callable[[str], list[Passage]]
"""The best passages for a question; where a release has no knowledge, there is none."""


class RefusalError(Exception):
    """A release is not what it should be: its own fault, which another attempt would not mend."""


class HungError(StepladderError):
    """An engine did not answer a smoke case in time."""


class MismatchError(RefusalError):
    """A release answers its smoke cases otherwise than it did: at its first load, its own fault."""


def choose(outcomes: RungOutcomes, most: int) -> list[Outcome]:
    """So many cases, spread evenly over those that were answered validly; over all where none was."""
    able = [one for one in outcomes.outcomes if one.valid] or outcomes.outcomes
    step = max(1, len(able) // most)
    return able[::step][:most]


def require_smoke(
    task: Task,
    plan: Plan,
    engine: RunningEngine,
    search: Search | None,
    cases: Sequence[Outcome],
    timeout_s: float,
    go_on: Callable[[], None] = lambda: None,
) -> None:
    """Ask the engine the cases, by the code of evaluation. The first question also warms it.

    Args:
        task: the release's task.
        plan: the release's plan.
        engine: where it is loaded.
        search: see ``Search``.
        cases: what it said in its evaluation.
        timeout_s: how long one answer may take.
        go_on: called meanwhile; what it raises ends the wait.

    Raises:
        MismatchError: an answer is not in the task's form where it was, or most are other ones than they
            were; of a task whose answers a judge scores, most are of another form.
        RefusalError: there is nothing to check it against.
        HungError: the engine does not answer in time.
        StepladderError: it fails.
    """
    if not cases:
        raise RefusalError("it has no recorded answers to check it against (outcomes.json)")
    other = 0
    for case in cases:
        request = _request(task, plan, search, case.input)
        text = left_when_over(partial(_ask, engine, request, case.id, timeout_s), go_on)
        # As for the score: the case's evidence takes no part in it.
        asked = Case(**case.model_dump(include=_OF_CASE), evidence=[])
        if case.valid and not score_response(task.spec, asked, text).valid:
            raise MismatchError(f"smoke case {case.id}: the answer is not in the task's form")
        other += _gist(task, text) != _gist(task, case.response.text)
    if 2 * other >= len(cases):
        raise MismatchError(
            f"{other} of {len(cases)} smoke cases were answered otherwise than in the evaluation"
        )


def _gist(task: Task, text: str) -> Hashable:
    """What an answer is compared by: where a judge scores, its form, for wordings differ there."""
    found = said(task.spec, text)
    if task.spec.scorer != "judge":
        return found
    fault = answer_check(task.spec.output_schema, task.folder / "task.yaml")(text)
    return found is not None, fault is None


_OF_CASE = {"id", "input", "reference", "answerable", "slice", "cluster"}


def _request(task: Task, plan: Plan, search: Search | None, question: str) -> Request:
    found = search(question) if search else []
    tokens = {one.chunk.text: one.tokens for one in found}
    return compose(task, plan, question, [one.chunk for one in found], tokens.__getitem__)[0]


def _ask(engine: RunningEngine, request: Request, name: str, timeout_s: float) -> str:
    body = engine_body(engine.model, request)
    try:
        answer = httpx.post(f"{engine.url}/chat/completions", json=body, timeout=timeout_s)
        if answer.status_code == 400:
            raise MismatchError(f"smoke case {name}: the engine refuses the request")
        return str(answer.raise_for_status().json()["choices"][0]["message"]["content"] or "")
    except httpx.TimeoutException as error:
        raise HungError(
            f"smoke case {name}: the engine did not answer within {timeout_s:.0f} s",
            where=engine.url,
            may_pass=engine.log is None,
        ) from error
    except (httpx.HTTPError, KeyError, IndexError, ValueError) as error:
        # One that was started here may have been broken by the release; a server has other reasons.
        raise StepladderError(
            f"smoke case {name}: the engine did not answer: {error}",
            where=engine.url,
            may_pass=engine.log is None and is_away(error),
        ) from error
