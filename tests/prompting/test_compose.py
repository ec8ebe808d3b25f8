"""One code path from question to request: what is rendered, what fits, what is named as source."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepladder.errors import StepladderError
from stepladder.knowledge.chunk import Chunk
from stepladder.prompting.compose import Plan, compose
from stepladder.prompting.render import numbered, render
from stepladder.tasks import Bars, Example, Message, Task, TaskSpec

PROMPT = "{% if tuned %}Short.{% else %}Long.{% endif %}{% if retrieval %} Use the context.{% endif %}"


def task(prompt: str = PROMPT, **spec: object) -> Task:
    fields = {"title": "t", "scorer": "exact", "bars": Bars(score=0.5), "margin": 0.1, "monthly_requests": 1}
    return Task(Path("tasks/t"), TaskSpec(**{**fields, **spec}), prompt)  # type: ignore[arg-type]


def chunk(name: str, text: str) -> Chunk:
    return Chunk(id=f"{name}#", page=name, heading=(name,), text=text)


CHUNKS = [chunk("a", "alpha one"), chunk("b", "beta two three"), chunk("c", "gamma")]
SHOT = Example.model_validate({"prompt": "2+2?", "completion": "4"})


def words(text: str) -> int:
    return len(text.split())


def test_the_prompt_rung_asks_the_bare_question() -> None:
    assert render(task(), "Why?") == [
        {"role": "system", "content": "Long."},
        {"role": "user", "content": "Why?"},
    ]


def test_retrieval_puts_the_passages_before_the_question() -> None:
    messages = render(task(), "Why?", tuned=True, context=CHUNKS[:2])
    assert messages == [
        {"role": "system", "content": "Short. Use the context."},
        {"role": "user", "content": "Context:\nalpha one\n\nbeta two three\n\nQuestion: Why?"},
    ]


def test_shots_are_earlier_turns() -> None:
    roles = [m["role"] for m in render(task(), "3+3?", shots=[SHOT])]
    assert roles == ["system", "user", "assistant", "user"]


def test_an_empty_prompt_makes_no_system_message() -> None:
    assert [m["role"] for m in render(task(prompt=""), "Why?")] == ["user"]


def test_the_input_template_can_number_lines() -> None:
    made = render(task(input_template="{{ input | numbered }}"), "a {\n}")
    assert made[-1]["content"] == "1: a {\n2: }"
    assert numbered("") == ""


def test_what_a_user_writes_is_never_a_template() -> None:
    hostile = "{{ 7 * 7 }} {% include 'x' %}"
    assert render(task(), hostile)[-1]["content"] == hostile


@pytest.mark.parametrize("prompt", ["{% if %}", "{{ unknown }}", "{{ ''.__class__.__mro__ }}"])
def test_a_wrong_prompt_is_named_with_its_file(prompt: str) -> None:
    with pytest.raises(StepladderError, match=r"prompt\.md.*cannot be rendered"):
        render(task(prompt=prompt), "Why?")


def test_context_stops_at_the_budget_and_the_sources_are_what_was_given() -> None:
    plan = Plan(rung="rag", context_tokens=5)
    request, sources = compose(task(), plan, "Why?", CHUNKS, words)
    assert [source.id for source in sources] == ["a#", "b#"]
    assert "gamma" not in request.messages[-1]["content"]


def test_the_best_chunk_is_given_even_over_budget() -> None:
    _, sources = compose(task(), Plan(rung="rag", context_tokens=1), "Why?", CHUNKS, words)
    assert [source.id for source in sources] == ["a#"]


def test_a_rung_without_retrieval_gets_no_context() -> None:
    request, sources = compose(task(), Plan(rung="lora", context_tokens=99), "Why?", CHUNKS, words)
    assert (sources, request.messages[-1]["content"]) == ([], "Why?")


def test_the_schema_is_sent_only_where_decoding_is_constrained() -> None:
    with_schema = task(output_schema={"type": "object"})
    free, _ = compose(with_schema, Plan(rung="prompt", context_tokens=1), "Why?")
    held, _ = compose(with_schema, Plan(rung="prompt", context_tokens=1, constrained=True), "Why?")
    assert (free.output_schema, held.output_schema) == (None, {"type": "object"})


def test_variants_have_names() -> None:
    assert Plan(rung="prompt", context_tokens=1).variant == "zero-shot"
    assert Plan(rung="prompt", context_tokens=1, shots=[SHOT], constrained=True).variant == "few-shot+schema"


def test_earlier_turns_stand_between_the_shots_and_the_question_without_context() -> None:
    history = [Message(role="user", content="a?"), Message(role="assistant", content="A")]
    messages = render(
        task(input_template="Q: {{ input }}"), "b?", context=CHUNKS[:1], shots=[SHOT], history=history
    )
    assert [m["content"] for m in messages[1:]] == [
        "Q: 2+2?",
        "4",
        "Q: a?",
        "A",
        "Context:\nalpha one\n\nQuestion: Q: b?",
    ]
