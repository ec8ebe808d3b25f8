"""The messages that a rung sends: one function for evaluation, training, ``ask`` and serving."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder.errors import StepladderError
from stepladder.knowledge.chunk import Chunk
from stepladder.tasks import Example, Message, Task

if TYPE_CHECKING:
    from jinja2 import Environment, Template

Messages = list[dict[str, str]]


def numbered(text: str) -> str:
    """Each line with its number in front: ``1: resource ...``."""
    return "\n".join(f"{number}: {line}" for number, line in enumerate(text.splitlines(), 1))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["numbered"] = numbered
    return environment


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    """Compiling costs more than filling, and a gateway fills the same templates at every request."""
    return _environment().from_string(template)


def _fill(template: str, where: str, **variables: object) -> str:
    from jinja2 import TemplateError

    try:
        return _compiled(template).render(variables).strip()
    except TemplateError as error:
        raise StepladderError(
            f"the template cannot be rendered: {error}",
            where=where,
            remedy="prompt.md knows `tuned` and `retrieval`; input_template knows `input` and `numbered`",
        ) from error


def system_prompt(task: Task, *, tuned: bool, retrieval: bool) -> str:
    """``prompt.md`` as a rung sends it.

    Raises:
        StepladderError: it is not a valid template.
    """
    return _system_prompt(task.prompt, task.folder, tuned, retrieval)


@lru_cache(maxsize=256)
def _system_prompt(prompt: str, folder: Path, tuned: bool, retrieval: bool) -> str:
    return _fill(prompt, str(folder / "prompt.md"), tuned=tuned, retrieval=retrieval)


def render(
    task: Task,
    question: str,
    *,
    tuned: bool = False,
    context: Sequence[Chunk] | None = None,
    shots: Sequence[Example] = (),
    history: Sequence[Message] = (),
) -> Messages:
    """Chat messages for one question.

    Args:
        task: gives the system prompt and the input template.
        question: the case's or user's input.
        tuned: whether the adapter answers (``prompt.md`` may be shorter for it).
        context: retrieved chunks, best first; None for a rung without retrieval.
        shots: few-shot examples, shown as earlier turns without context.
        history: earlier turns of a conversation; evaluation asks without.

    Raises:
        StepladderError: ``prompt.md`` or ``input_template`` is not a valid template.
    """
    system = system_prompt(task, tuned=tuned, retrieval=context is not None)
    messages = [{"role": "system", "content": system}] if system else []
    for shot in shots:
        messages.append({"role": "user", "content": _ask(task, shot.input, None)})
        messages.append({"role": "assistant", "content": shot.output})
    for turn in history:
        said = _ask(task, turn.content, None) if turn.role == "user" else turn.content
        messages.append({"role": turn.role, "content": said})
    return [*messages, {"role": "user", "content": _ask(task, question, context)}]


def _ask(task: Task, question: str, context: Sequence[Chunk] | None) -> str:
    asked = _fill(task.spec.input_template, f"{task.folder / 'task.yaml'} (input_template)", input=question)
    if context is None:
        return asked
    passages = "\n\n".join(chunk.text for chunk in context)
    return f"Context:\n{passages}\n\nQuestion: {asked}"
