"""Failures of a request in the form in which OpenAI's API tells them."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse


class ApiError(Exception):
    """A request that cannot be answered.

    Args:
        status: HTTP status.
        code: a word that programs can test.
        message: what is wrong and what to do; never holds a key, a prompt or a document.
        param: the field of the request that is wrong.
        retry_after_s: when it makes sense to ask again.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """``{"error": {"message", "type", "param", "code"}}``."""
        return {
            "error": {
                "message": self.message,
                "type": _kind(self.status),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The HTTP response."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers=headers)


def _kind(status: int) -> str:
    named = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return named.get(status) or ("server_error" if status >= 500 else "invalid_request_error")


def internal_error() -> ApiError:
    """What a client is told of a fault of ours: nothing but that."""
    return ApiError(500, "internal_error", "the gateway failed; the failure is in its log")
