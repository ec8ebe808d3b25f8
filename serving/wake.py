"""``POST /v1/hooks/mlflow``: MLflow's webhook wakes the reconciler early. It says what to do to nobody.

An API key is not asked for: the delivery is signed with the secret that the webhook was made with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from fastapi import APIRouter, Request, Response

from serving.errors import ApiError

SECRET = "STEPLADDER_WEBHOOK_SECRET"
PATH = "/v1/hooks/mlflow"
_PATIENCE_S = 300.0
_MOST_REMEMBERED = 10_000

routes = APIRouter()


@routes.post(PATH, status_code=204, include_in_schema=False)
async def wake(request: Request) -> Response:
    """Look at the registry now."""
    hook: Hook | None = request.app.state.hook
    if hook is None:
        raise ApiError(404, "not_found", "no such page")
    hook.take(request.headers, await request.body())
    return Response(status_code=204)


class Hook:
    """Checks deliveries, then wakes.

    Args:
        secret: shared with MLflow.
        wake: called for each delivery that is genuine and new.
        clock: seconds since 1970.
    """

    def __init__(self, secret: str, wake: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode()
        self._wake = wake
        self._clock = clock
        self._seen: dict[str, float] = {}

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Wake for a delivery.

        Raises:
            ApiError: 401, its signature is wrong, it is old, or it came before.
        """
        number = headers.get("x-mlflow-delivery-id", "")
        sent = headers.get("x-mlflow-timestamp", "")
        signature = headers.get("x-mlflow-signature", "")
        expected = sign(self._secret, number, sent, body)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise _refused("the signature is wrong")
        now = self._clock()
        if not sent.isdigit() or abs(now - int(sent)) > _PATIENCE_S:
            raise _refused("the delivery is too old, or a clock is wrong")
        # What is older than that is refused by its time.
        self._seen = {one: at for one, at in self._seen.items() if now - at <= 2 * _PATIENCE_S}
        if number in self._seen or len(self._seen) >= _MOST_REMEMBERED:
            raise _refused("the delivery came before")
        self._seen[number] = now
        self._wake()


def sign(secret: bytes, number: str, sent: str, body: bytes) -> str:
    """MLflow's signature of a delivery: HMAC-SHA256 of ``id.timestamp.body``, base64, with its version."""
    message = b".".join((number.encode(), sent.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def _refused(why: str) -> ApiError:
    return ApiError(401, "invalid_signature", why)
