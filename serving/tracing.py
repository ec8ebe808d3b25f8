"""OpenTelemetry traces: made for every request, sent only where an endpoint is configured.

Nothing in them holds a prompt, an answer or a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from serving.settings import Tracing

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

_W3C = ("traceparent", "tracestate")


def tracer_provider(settings: Tracing, exporter: SpanExporter | None = None) -> TracerProvider:
    """What makes spans; ``exporter`` stands in for the configured endpoint's.

    MLflow takes traces too: its endpoint is ``http://HOST/v1/traces``, with the header
    ``x-mlflow-experiment-id``.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    if exporter is None and settings.endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=settings.endpoint, headers=settings.headers)
    if exporter is None:  # spans have ids, for the records, and cost next to nothing
        return TracerProvider(sampler=ALWAYS_OFF)
    provider = TracerProvider(resource=Resource.create({"service.name": "stepladder-gateway"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


@contextmanager
def span_of(
    tracer: Tracer, name: str, parent: Context | None = None, attributes: Mapping[str, str] | None = None
) -> Iterator[Span]:
    """A span of what the block does.

    Of what the block raises it tells the kind alone: its words and those of its causes are an index', an
    engine's or a driver's own, and may quote an address with its password, or a question.
    """
    from opentelemetry.trace import Status, StatusCode

    with tracer.start_as_current_span(
        name, parent, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def trace_id(span: Span) -> str:
    """A span's trace id, 32 hex digits."""
    return format(span.get_span_context().trace_id, "032x")


def incoming(headers: Mapping[str, str]) -> dict[str, str]:
    """The W3C trace headers of a request."""
    return {name: headers[name] for name in _W3C if name in headers}
