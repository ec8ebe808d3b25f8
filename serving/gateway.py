"""What all requests share: settings, router, keys, records, engine connections, traces, metrics."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from serving.auth import Keyring
from serving.engine import EngineClient
from serving.errors import ApiError
from serving.gate import Gate
from serving.metrics import Metrics
from serving.redaction import redactor
from serving.router import Router, Serving
from serving.settings import ServingSettings
from serving.shadow import Shadows
from serving.store import Store
from serving.tracing import tracer_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter


class Gateway:
    """Made on the event loop, closed on it.

    Args:
        settings: ``serving.yaml``.
        router: which release answers for a task; others put line-ups into it while this runs.
        exporter: takes the spans instead of the configured endpoint.

    Raises:
        StepladderError: the record of interactions cannot be opened.
    """

    def __init__(
        self, settings: ServingSettings, router: Router, exporter: SpanExporter | None = None
    ) -> None:
        self.settings = settings
        self.router = router
        self.metrics = Metrics()
        self.keyring = Keyring(settings.keys)
        self.redact = redactor(settings.redact)
        self.store = Store(
            settings.records.path,
            self.redact,
            settings.records.retention_days,
            settings.records.most_pending,
            self.metrics.records_dropped.inc,
        )
        self.engines = EngineClient()
        self.shadows = Shadows(self)
        self._traces = tracer_provider(settings.tracing, exporter)
        self.tracer = self._traces.get_tracer("serving")
        self._gates: WeakKeyDictionary[Serving, Gate] = WeakKeyDictionary()

    def gate(self, serving: Serving) -> Gate:
        """A release's queue: one that hangs holds up no other, of its task neither."""
        if (found := self._gates.get(serving)) is None:
            limits = self.settings.limits
            found = self._gates[serving] = Gate(limits.in_flight, limits.waiting)
        return found

    def queues(self) -> dict[str, tuple[int, int]]:
        """How many requests wait and are worked on, of each task that was asked."""
        found: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for serving, gate in self._gates.items():
            waiting, working = found[serving.name]
            found[serving.name] = (waiting + gate.waiting, working + gate.working)
        return found

    def serving(self, model: str, *, any_release: bool, unit: str = "") -> Serving:
        """What answers for ``task`` or ``task@release``.

        Args:
            any_release: whether releases other than the champion may be named.
            unit: the user or conversation that asks; the same one stays with champion or challenger.

        Raises:
            ApiError: 404 no such task or release, 403 the release may not be chosen, 503 no champion.
        """
        task, _, release = model.partition("@")
        lineup = self.router.lineups.get(task)
        if lineup is None:
            raise ApiError(404, "model_not_found", "no such task: GET /v1/models lists them", param="model")
        if release and not any_release:
            raise ApiError(403, "missing_scope", "to choose a release takes the scope admin", param="model")
        found = lineup.find(release) if release else lineup.answering(unit)
        if found is None and release:
            raise ApiError(404, "model_not_found", "no such release of this task is loaded", param="model")
        if found is None:
            raise ApiError(503, "no_champion", lineup.reason, param="model", retry_after_s=10)
        return found

    async def close(self) -> None:
        """Close the engines' connections, send the last spans, write the last records."""
        await self.shadows.close()
        await self.engines.close()
        self._traces.shutdown()
        self.store.close()
