"""``POST /v1/chat/completions`` and ``GET /v1/models``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from serving import replies
from serving.asking import Conversation, conversation
from serving.auth import Key
from serving.errors import ApiError, internal_error
from serving.exchange import exchange
from serving.gateway import Gateway
from serving.interaction import Answer, Asked
from serving.router import Lineup
from serving.tracing import incoming
from serving.wire import ChatRequest, ModelCard, ModelList, ReleaseCard
from stepladder.files import digest_value

routes = APIRouter()
Result = TypeVar("Result")
_GONE = 499  # nginx's word for a client that left; nobody is there to read it


@routes.post("/v1/chat/completions", response_model=None)
async def complete(chat: ChatRequest, request: Request) -> Response:
    """Answer by the champion release of the task that ``model`` names, streamed or whole."""
    gateway: Gateway = request.app.state.gateway
    key: Key = request.state.key
    said = conversation(chat, gateway.settings.limits)
    unit = _unit(chat, said, key)
    serving = gateway.serving(chat.model, any_release="admin" in key.scopes, unit=unit)
    asked = Asked(
        chat=chat,
        said=said,
        serving=serving,
        key_id=key.id,
        deadline=asyncio.get_running_loop().time() + _patience(request, gateway),
        trace=incoming(request.headers),
        unit=unit,
        # A release that was named is no random draw.
        trial=None if "@" in chat.model else gateway.router.lineups[serving.name].trial,
    )
    # Held from here on: between the choice and the work, a switch must not find it unused and unload it.
    with gateway.router.using(asked.serving):
        return await (_stream(gateway, asked, request) if chat.stream else _whole(gateway, asked, request))


@routes.get("/v1/models")
async def models(request: Request) -> ModelList:
    """The tasks that have a champion, one model each."""
    lineups = request.app.state.gateway.router.lineups
    cards = [_card(task, lineup, request.state.key) for task, lineup in sorted(lineups.items())]
    return ModelList(data=[card for card in cards if card])


@routes.get("/v1/models/{model}")
async def model(model: str, request: Request) -> ModelCard:
    """One task."""
    gateway: Gateway = request.app.state.gateway
    serving = gateway.serving(model, any_release="admin" in request.state.key.scopes)
    card = _card(serving.name, gateway.router.lineups[serving.name], request.state.key)
    if card is None:
        raise ApiError(404, "model_not_found", "this task has no champion", param="model")
    return card


def _card(task: str, lineup: Lineup, key: Key) -> ModelCard | None:
    if lineup.champion is None:
        return None
    seen = lineup.servings.items() if "admin" in key.scopes else [("champion", lineup.champion)]
    releases = [
        ReleaseCard(
            alias=alias,
            version=serving.registered.version,
            digest=serving.digest,
            rung=serving.registered.release.plan.rung,
        )
        for alias, serving in seen
    ]
    champion = lineup.champion
    return ModelCard(id=task, created=champion.loaded, title=champion.task.spec.title, releases=releases)


def _unit(chat: ChatRequest, said: Conversation, key: Key) -> str:
    """Who asks, as a digest: the user, where the client names one, or the conversation by its opening."""
    opening = said.history[0].content if said.history else said.question
    return digest_value([key.id, chat.user or opening, bool(chat.user)])[:16]


def _patience(request: Request, gateway: Gateway) -> float:
    """Seconds that the client waits for its answer, as far as it tells; at most the configured."""
    longest = gateway.settings.limits.request_timeout_s
    told = request.headers.get("x-request-timeout") or request.headers.get("x-stainless-read-timeout")
    try:
        wanted = float(told) if told else longest
    except ValueError:
        return longest
    return min(wanted, longest) if wanted > 0 else longest


async def _whole(gateway: Gateway, asked: Asked, request: Request) -> Response:
    work = asyncio.create_task(exchange(gateway, asked))
    answer = await _unless_gone(request, work)
    return JSONResponse(replies.whole(asked, answer)) if answer else Response(status_code=_GONE)


async def _stream(gateway: Gateway, asked: Asked, request: Request) -> Response:
    """A stream, begun once the engine has said something: until then a failure has its own status."""
    parts: asyncio.Queue[bytes | None] = asyncio.Queue()

    def tell(answer: Answer, text: str) -> None:
        parts.put_nowait(replies.spoken(asked, text) if text else replies.opened(asked, answer))

    work = asyncio.create_task(exchange(gateway, asked, tell))
    work.add_done_callback(lambda _: parts.put_nowait(None))
    try:
        first = await _unless_gone(request, asyncio.create_task(parts.get()))
        if first is None and work.done():
            await work  # it failed without a word
    except BaseException:
        work.cancel()
        raise
    if first is None:
        work.cancel()
        return Response(status_code=_GONE)
    return _EventStream(_events(asked, first, parts, work), work)


async def _events(
    asked: Asked, first: bytes, parts: asyncio.Queue[bytes | None], work: asyncio.Task[Answer]
) -> AsyncIterator[bytes]:
    yield first
    while (part := await parts.get()) is not None:
        yield part
    try:
        answer = await work
    except ApiError as error:
        yield replies.failed(error)
    except Exception:
        yield replies.failed(internal_error())
        raise
    else:
        for part in replies.closed(asked, answer):
            yield part


class _EventStream(StreamingResponse):
    """Server-sent events; the work behind them ends with the response, however that ends."""

    def __init__(self, content: AsyncIterator[bytes], work: asyncio.Task[Any]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._work.cancel()


async def _unless_gone(request: Request, work: asyncio.Task[Result]) -> Result | None:
    """The result of work, or None where the client left first: the work is cancelled then."""
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
