"""From a chat request to the engine's, by the code that evaluation uses (``stepladder.prompting``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.errors import ApiError
from serving.inline import without_sources
from serving.router import Passage, Serving
from serving.settings import Limits
from serving.wire import ChatMessage, ChatRequest, Source
from stepladder.evaluation.respond import engine_body
from stepladder.knowledge.chunk import Chunk
from stepladder.prompting.compose import compose
from stepladder.tasks import Message

_MOST_NAMED = 20
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Conversation:
    """What the client said: the last user turn, the turns before it, and what of the request is not used."""

    question: str
    history: tuple[Message, ...]
    ignored: tuple[str, ...]


def conversation(chat: ChatRequest, limits: Limits) -> Conversation:
    """Read the messages of a request.

    Raises:
        ApiError: 400, too many or too long messages, or no question at the end.
    """
    if len(chat.messages) > limits.messages:
        raise ApiError(
            400, "too_many_messages", f"at most {limits.messages} messages are read", param="messages"
        )
    if sum(len(message.text) for message in chat.messages) > limits.characters:
        raise ApiError(
            400,
            "context_length_exceeded",
            f"the messages have more than {limits.characters} characters",
            param="messages",
        )
    turns = [turn for turn in chat.messages if turn.role in ("user", "assistant") and turn.text.strip()]
    if not turns or turns[-1].role != "user" or chat.messages[-1].role != "user":
        raise ApiError(
            400, "no_question", "the last message must be the user's and hold text", param="messages"
        )
    return Conversation(turns[-1].text, tuple(map(_earlier, turns[:-1])), tuple(_ignored(chat)))


def _earlier(turn: ChatMessage) -> Message:
    text = without_sources(turn.text) if turn.role == "assistant" else turn.text
    return Message.model_validate({"role": turn.role, "content": text or turn.text})


def _ignored(chat: ChatRequest) -> list[str]:
    given = [name for name, value in (chat.model_extra or {}).items() if value is not None]
    system = [turn.role for turn in chat.messages if turn.role in ("system", "developer")]
    names = [*dict.fromkeys(f"{role} message" for role in system), *given]
    return [name[:_LONGEST_NAME] for name in names[:_MOST_NAMED]]


def engine_request(
    serving: Serving, chat: ChatRequest, said: Conversation, found: Sequence[Passage]
) -> tuple[dict[str, Any], list[Source]]:
    """The body for the engine, and the passages that it holds.

    A client may ask for a shorter answer and for a schema of its own; all else is the release's.
    """
    tokens = {one.chunk.text: one.tokens for one in found}
    request, chunks = compose(
        serving.task,
        serving.registered.release.plan,
        said.question,
        [one.chunk for one in found],
        tokens.__getitem__,
        said.history,
    )
    body = engine_body(serving.engine.model, request)
    if wanted := chat.max_completion_tokens or chat.max_tokens:
        body["max_tokens"] = min(wanted, request.max_tokens)
    _apply_format(body, chat)
    scores = {one.chunk.id: one.score for one in found}
    return body, [_source(chunk, scores[chunk.id]) for chunk in chunks]


def _apply_format(body: dict[str, Any], chat: ChatRequest) -> None:
    form = chat.response_format
    if form is None or form.type == "text":
        return
    if form.type == "json_object":
        body.setdefault("response_format", {"type": "json_object"})
        return
    if form.json_schema is None:
        raise ApiError(
            400, "missing_schema", "response_format.json_schema is missing", param="response_format"
        )
    schema = form.json_schema.model_dump(by_alias=True, exclude_none=True)
    body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _source(chunk: Chunk, score: float) -> Source:
    return Source(id=chunk.id, page=chunk.page, heading=" > ".join(chunk.heading), score=round(score, 6))
