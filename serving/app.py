"""The application: routes, errors, the guard before them, and the chat page."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from serving import chat, feedback, health, wake
from serving.errors import ApiError
from serving.gateway import Gateway
from serving.guard import Guard
from serving.openapi import complete_openapi
from serving.reconciler import Reconciler
from serving.router import Router
from serving.settings import ServingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_PAGE = Path(__file__).parent / "page"


def create_app(
    settings: ServingSettings,
    router: Router,
    exporter: SpanExporter | None = None,
    reconciler: Reconciler | None = None,
) -> FastAPI:
    """The gateway as an ASGI application.

    Args:
        settings: ``serving.yaml``.
        router: which release answers for a task; may change while the application runs.
        exporter: takes the spans instead of the configured endpoint.
        reconciler: runs as long as the application, and is woken by MLflow's webhook, if its secret is known.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        gateway = Gateway(settings, router, exporter)
        app.state.gateway = gateway
        app.state.readiness = health.Readiness(gateway)
        secret = os.environ.get(wake.SECRET)
        app.state.hook = wake.Hook(secret, reconciler.wake) if secret and reconciler else None
        try:
            async with reconciler.running() if reconciler else nullcontext():
                yield
        finally:
            await gateway.close()

    app = FastAPI(
        title="Stepladder gateway",
        description="OpenAI-compatible; one model a task, answered by its champion release.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from a CDN
        redoc_url=None,
    )
    for routes in (chat.routes, feedback.routes, health.routes, wake.routes):
        app.include_router(routes)
    if settings.page:
        _add_page(app)
    complete_openapi(app)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Guard)
    return app


def _add_page(app: FastAPI) -> None:
    """The chat page: files without data, which ask for a key themselves."""
    names = {"/": "index.html", "/page/app.js": "app.js", "/page/style.css": "style.css"}

    def serve(name: str) -> None:
        async def page() -> FileResponse:
            return FileResponse(_PAGE / names[name])

        app.add_api_route(name, page, include_in_schema=False)

    for name in names:
        serve(name)


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error.response()


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """A body of the wrong form: the first fault, by field; never the value that was sent."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    if fault["type"] == "json_invalid":
        return ApiError(400, "invalid_json", "the body is not JSON").response()
    field = ".".join(str(part)[:40] for part in fault["loc"][1:7])
    return ApiError(
        400, "invalid_request", f"{field or 'body'}: {fault['msg'][:200]}", param=field or None
    ).response()


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed"}
    messages = {400: "the body cannot be read", 404: "no such page", 405: "not with this method"}
    return ApiError(
        error.status_code,
        codes.get(error.status_code, "http_error"),
        messages.get(error.status_code, "the request cannot be answered"),
    ).response()
