"""The OpenAPI document, completed by what FastAPI cannot know: errors in OpenAI's form, keys, streams."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_COMMON = {
    401: "No or a wrong API key",
    403: "The key lacks the scope",
    429: "Too many requests: Retry-After",
}
_OF_BODIES = {
    400: "The request is wrong",
    404: "No such task, release or interaction",
    408: "The request came too slowly",
    413: "The request is too large",
    500: "The gateway failed",
    502: "The engine failed",
    503: "Not now",
    504: "The deadline passed",
}
_OPEN = ("/healthz", "/readyz")


def complete_openapi(app: FastAPI) -> None:
    """Make the application tell the whole document at ``/openapi.json``."""
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(_document(app))
        return made

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = _ERROR
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in document["paths"].items():
        for operation in item.values():
            _complete(operation, is_open=path in _OPEN)
    content = document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    content["application/json"] = {"schema": {"type": "object", "required": ["id", "choices", "stepladder"]}}
    content["text/event-stream"] = {"schema": {"type": "string"}}
    document["paths"]["/metrics"]["get"]["responses"]["200"]["content"] = {
        "text/plain": {"schema": {"type": "string"}}
    }
    ready = document["paths"]["/readyz"]["get"]["responses"]
    ready["503"] = {**ready["200"], "description": "Not ready"}
    return document


def _complete(operation: dict[str, Any], *, is_open: bool) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if is_open:
        return
    operation["security"] = [{"key": []}]
    has_input = "requestBody" in operation or "parameters" in operation
    for status, what in (_COMMON | (_OF_BODIES if has_input else {})).items():
        schema = {"schema": {"$ref": "#/components/schemas/Error"}}
        responses[str(status)] = {"description": what, "content": {"application/json": schema}}
