"""A request that may be answered, and what is known of its answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.asking import Conversation
from serving.router import Serving, Trial
from serving.wire import ChatRequest, Extra, Source


@dataclass(frozen=True)
class Asked:
    """A request that may be answered. ``deadline``: in the event loop's time; ``came``: ``time.monotonic()``.

    ``unit``: the user or conversation that asks; ``trial``: of a challenger, that the request takes part in.
    """

    chat: ChatRequest
    said: Conversation
    serving: Serving
    key_id: str
    deadline: float
    trace: Mapping[str, str]
    unit: str = ""
    trial: Trial | None = None
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    came: float = field(default_factory=time.monotonic)

    @property
    def task(self) -> str:
        """The task's name."""
        return self.serving.name

    @property
    def wants_schema(self) -> bool:
        """Whether the answer is to be JSON, so that nothing may be added to its text."""
        form = self.chat.response_format
        structured = form is not None and form.type != "text"
        return structured or self.serving.registered.release.plan.constrained


@dataclass
class Answer:
    """What is known of an answer; it grows while the engine speaks. Times in seconds.

    ``queued_s`` is None until it has left the queue; ``first_token_s`` counts from when the request came.
    """

    text: str = ""
    addition: str = ""
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sources: list[Source] = field(default_factory=list)
    abstained: bool | None = None
    valid: bool | None = None
    outcome: str = "cancelled"
    queued_s: float | None = None
    retrieval_s: float = 0.0
    engine_s: float = 0.0
    first_token_s: float | None = None

    def extra(self, asked: Asked) -> Extra:
        """What Stepladder adds to the answer."""
        registered = asked.serving.registered
        return Extra(
            interaction=asked.id,
            task=asked.task,
            release=registered.release.digest,
            version=registered.version,
            rung=registered.release.plan.rung,
            sources=self.sources,
            abstained=self.abstained,
            ignored=list(asked.said.ignored),
        )
