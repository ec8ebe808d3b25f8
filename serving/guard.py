"""What every request passes first: key, size, time; and what every response leaves with."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
import uuid
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

from serving.auth import SCOPES, Scope
from serving.connections import CROWDED
from serving.errors import ApiError, internal_error
from serving.wake import PATH as WEBHOOK

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Asgi

    from serving.gateway import Gateway

log = logging.getLogger("serving")

# What the webhook sends is signed instead.
_OPEN = frozenset({"/healthz", "/readyz", "/", "/page/app.js", "/page/style.css", WEBHOOK})
_TOO_MANY = "too_many_connections"
_SCOPES: dict[str, tuple[Scope, ...]] = {
    "/v1/chat/completions": ("chat", "admin"),
    "/v1/models": ("chat", "admin"),
    "/v1/feedback": ("feedback", "admin"),
    "/metrics": ("admin",),
    "/openapi.json": SCOPES,
}
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Guard:
    """ASGI middleware: nothing behind it runs without a key, but for health and the empty chat page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _Reply(send, scope["app"].state.gateway.settings.limits.send_timeout_s)
        scope.setdefault("state", {})
        started = time.monotonic()
        try:
            await self._pass(scope, receive, reply)
        except ApiError as error:
            await reply.fail(error, scope, receive)
        except Exception as error:
            log.error("%s\n%s", type(error).__name__, _frames(error))  # its message may quote a prompt
            await reply.fail(internal_error(), scope, receive)
        finally:
            _tell(scope, reply, time.monotonic() - started)

    async def _pass(self, scope: Asgi, receive: Receive, reply: _Reply) -> None:
        gateway: Gateway = scope["app"].state.gateway
        path = scope["path"]
        headers = dict(scope["headers"])
        if path not in _OPEN:
            if scope["state"].get(CROWDED):
                raise ApiError(503, _TOO_MANY, "too many connections: ask again later", retry_after_s=1)
            scope["state"]["key"] = gateway.keyring.admit(_secret(headers), _scopes(path))
        if scope["method"] == "POST":
            receive = await _whole_body(headers, receive, gateway)
        await self._app(scope, receive, reply.send)


def _scopes(path: str) -> tuple[Scope, ...]:
    return _SCOPES.get("/v1/models" if path.startswith("/v1/models/") else path, SCOPES)


class _Reply:
    """The response on its way: its headers added, its status remembered, a client that stalls cut off."""

    def __init__(self, send: Send, timeout_s: float) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self.id = uuid.uuid4().hex
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *_HEADERS, (b"x-request-id", self.id.encode())]
        async with asyncio.timeout(self._timeout_s):
            await self._send(message)

    async def fail(self, error: ApiError, scope: Asgi, receive: Receive) -> None:
        """Tell the failure, unless a response has begun: then the connection just ends."""
        if self.status is None:
            response: JSONResponse = error.response()
            if error.code == _TOO_MANY:
                response.headers["connection"] = "close"
            await response(scope, receive, self.send)


async def _whole_body(headers: dict[bytes, bytes], receive: Receive, gateway: Gateway) -> Receive:
    """Read the body, and give a ``receive`` that tells it at once.

    Raises:
        ApiError: 413 too large, 408 the client is too slow or left, 400 half a surrogate pair.
    """
    limits = gateway.settings.limits
    declared = headers.get(b"content-length", b"0")
    too_large = ApiError(413, "body_too_large", f"the request has more than {limits.body_bytes} bytes")
    if not declared.isdigit() or int(declared) > limits.body_bytes:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ApiError(408, "request_incomplete", "the client left before its request was whole")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limits.body_bytes:
                    raise too_large
                if not message.get("more_body", False):
                    break
    except TimeoutError as error:
        raise ApiError(408, "request_timeout", "the request did not arrive in time") from error
    body = b"".join(parts)
    _check_surrogates(body)
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _check_surrogates(body: bytes) -> None:
    """Refuse half a surrogate pair, which JSON can write and UTF-8, and so no answer, cannot."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ApiError(400, "invalid_unicode", "the body holds half a surrogate pair") from error
    except (ValueError, RecursionError):
        return  # not JSON: told by what reads it


def _secret(headers: dict[bytes, bytes]) -> str | None:
    kind, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else None


def _frames(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__))


def _tell(scope: Asgi, reply: _Reply, took: float) -> None:
    """One log line and one count for each request; neither holds a query, a key or a text."""
    route = getattr(scope.get("route"), "path", None) or "other"
    status = reply.status or 499
    scope["app"].state.gateway.metrics.requests.labels(route, status).inc()
    key = scope["state"].get("key")
    log.info(
        "%s %s %s %d ms key=%s request=%s",
        scope["method"],
        route,
        status,
        round(1000 * took),
        key.id if key else "-",
        reply.id,
    )
