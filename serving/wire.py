"""What goes over the wire: OpenAI's chat form, and what Stepladder adds to it under ``stepladder``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stepladder.tasks import Strict


class TextPart(BaseModel):
    """A part of a message. Only text is understood."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A turn. System and developer turns are accepted and ignored: the release has its own prompt."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """All of its text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class JsonSchema(BaseModel):
    """The schema of a structured answer."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    name: str = Field(default="answer", max_length=64)
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """The form of the answer."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(BaseModel):
    """What a stream holds beside the answer."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of ``POST /v1/chat/completions``.

    ``model`` is a task's name; ``task@release`` (an alias or version; scope admin) asks a release that is
    not the champion. Decoding is the release's: ``temperature`` and its like are accepted, not used, and
    named in the answer's ``stepladder.ignored``.
    """

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    response_format: ResponseFormat | None = None
    n: Literal[1] | None = None
    tools: list[Any] | None = Field(default=None, max_length=0, description="not supported")
    functions: list[Any] | None = Field(default=None, max_length=0, description="not supported")
    logprobs: Literal[False] | None = Field(default=None, description="not supported")
    user: str | None = Field(default=None, max_length=512)


class Source(Strict):
    """A passage that the answer was given; ``score`` is that of the retrieval, higher is better."""

    id: str
    page: str
    heading: str
    score: float


class Extra(Strict):
    """What Stepladder adds to an answer.

    ``abstained``: the answer says that the documents do not hold it; null until that is known.
    """

    interaction: str
    task: str
    release: str
    version: str
    rung: str
    sources: list[Source]
    abstained: bool | None = None
    ignored: list[str] = Field(default=[])


class Feedback(Strict):
    """The body of ``POST /v1/feedback``: at least one of thumb, correction and comment."""

    interaction: str = Field(min_length=1, max_length=100, description="the `id` of the answer")
    thumb: Literal["up", "down"] | None = None
    correction: str | None = Field(default=None, min_length=1, description="what the answer should have been")
    comment: str | None = Field(default=None, min_length=1)


class FeedbackReceipt(Strict):
    """What became of feedback. ``row``: the file of the new example, where it held a correction."""

    id: str
    interaction: str
    row: str | None


class ReleaseCard(Strict):
    """A release that is loaded."""

    alias: str
    version: str
    digest: str
    rung: str


class ModelCard(Strict):
    """A task, as ``GET /v1/models`` lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "stepladder"
    title: str
    releases: list[ReleaseCard]


class ModelList(Strict):
    """All tasks."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
