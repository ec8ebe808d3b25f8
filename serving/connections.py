"""What uvicorn is told of connections: how many there may be, and how long a client may take for headers."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.settings import Limits

CROWDED = "crowded"


def connection_options(limits: Limits) -> dict[str, Any]:
    """Options of ``uvicorn.run``: uvicorn itself waits for a request's headers for ever.

    Nor does it leave a word to say: its own limit refuses in plain text, and what asks for health too. So the
    guard is told of too many connections (``state.crowded``) and refuses.
    """

    class Impatient(HttpToolsProtocol):
        """Closes a connection whose request's headers are not whole in time, and counts connections."""

        _until: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_headers()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["state"][CROWDED] = len(self.connections) > limits.connections
            self._await_headers()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _await_headers(self) -> None:
            self._stop_waiting()
            self._until = self.loop.call_later(limits.body_timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._until:
                self._until.cancel()
                self._until = None

    return {"http": Impatient}
