"""Probes go through the cache and the one engine, show what they say they show, and stop when it is clear."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepladder.cache import Cache
from stepladder.engine import RunningEngine
from stepladder.evaluation.respond import Responder
from stepladder.ladder.attribution import Tried, attribute
from stepladder.prompting.compose import Plan
from stepladder.stages.answering import Assistant, Contexts
from stepladder.stages.probes import ask_probes, closed_set
from stepladder.tasks import Case, Example, Task
from tests.ladder.world import SHOTS, SPEC, MadeUpRetriever
from tests.stub_server import StubServer, stub_server

CASE = Case(
    id="c", input="What is the value of key 0?", reference="value-0", evidence=["page-0"], cluster="c"
)


class Engine:
    """A stub with its cache; counts how often it was started."""

    def __init__(self, server: StubServer, folder: Path) -> None:
        self.server, self.starts = server, 0
        self.responder = Responder("base", None, Cache(folder / "r.sqlite"), self._start, 4, 5)

    @contextmanager
    def _start(self) -> Iterator[RunningEngine]:
        self.starts += 1
        yield RunningEngine(self.server.url, "stub")


def climb(engine: Engine, gap: str, examples: list[Example] = SHOTS, rag: bool = True) -> Tried:
    """Cheap rungs and probes on one case."""
    retriever = MadeUpRetriever([gap] * 12) if rag else None
    task = Task(Path(), SPEC, "Answer.")
    assistant = Assistant(task, Contexts(retriever), engine.responder)  # type: ignore[arg-type]
    plans = {
        rung: Plan(rung=rung, context_tokens=1000) for rung in (("prompt", "rag") if rag else ("prompt",))
    }
    cheap = {rung: assistant.answer(plan, [CASE]) for rung, plan in plans.items()}
    probes = ask_probes(assistant, plans, cheap, [CASE], examples, examples[:2])
    return Tried(spec=SPEC, cases=[CASE], cheap=cheap, probes=probes)


def passages(body: dict[str, Any]) -> list[int]:
    """The keys of the passages shown, in order."""
    shown = body["messages"][-1]["content"].split("Question:")[0]
    return [int(line.split()[4]) for line in shown.splitlines() if line.startswith("The value of key")]


@pytest.mark.parametrize(
    ("gap", "mends", "shown"),
    [
        ("distracted", lambda keys, _: keys == [0], [[], [0, 1, 2], [0]]),
        ("retrieval", lambda keys, _: 0 in keys, [[], [1, 2, 3], [0], [0, 1, 2]]),
        ("format", lambda _, body: len(body["messages"]) > 2, [[], [0, 1, 2], [0], [0]]),
        ("knowledge", lambda keys, _: 0 in keys, [[], [0, 1, 2]]),
    ],
)
def test_each_probe_changes_one_thing_and_the_last_one_tells(
    tmp_path: Path, gap: str, mends: Any, shown: list[list[int]]
) -> None:
    def answer(body: dict[str, Any]) -> str:
        return "value-0" if mends(passages(body), body) else "junk"

    with stub_server(answer) as server:
        engine = Engine(server, tmp_path)
        tried = climb(engine, gap)
        assert [passages(body) for body in server.seen] == shown
        assert attribute(tried).labels[0].cause == {"distracted": "grounding"}.get(gap, gap)
        again = Engine(server, tmp_path)
        assert climb(again, gap) == tried
        assert (engine.starts, again.starts, len(server.seen)) == (1, 0, len(shown))


def test_a_closed_set_of_answers_is_tried_by_constrained_decoding(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        return '"value-0"' if "response_format" in body else "It is value-0, I think."

    labels = [
        Example.model_validate({"id": f"{i}", "prompt": f"q{i}", "completion": f"value-{i % 2}"})
        for i in range(6)
    ]
    with stub_server(answer) as server:
        tried = climb(Engine(server, tmp_path), "format", labels, rag=False)
        constrained = server.seen[-1]["response_format"]["json_schema"]["schema"]
    assert constrained == {"type": "string", "enum": ["value-0", "value-1"]}
    assert list(tried.probes) == ["constrained"], "few-shot is not asked once it is mended"
    assert attribute(tried).labels[0].cause == "format"


def test_answers_that_are_not_a_small_set_are_none() -> None:
    assert closed_set([]) is None
    assert closed_set(SHOTS) is None
