"""What ``GET /metrics`` tells Prometheus. Labels are few: tasks, outcomes, routes; never a key or a text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The gateway's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("http_requests", "HTTP responses", "route", "status")
        self.interactions = self._counter(
            "interactions", "Chat requests by outcome", "task", "version", "outcome"
        )
        self.seconds = self._seconds("interaction_seconds", "From request to last byte")
        self.first_token_seconds = self._seconds("first_token_seconds", "To the first token of a stream")
        self.retrieval_seconds = self._seconds("retrieval_seconds", "Embedding and search")
        self.engine_seconds = self._seconds("engine_seconds", "What the engine took")
        self.tokens = self._counter("tokens", "Tokens by kind", "task", "kind")
        self.feedback = self._counter("feedback", "Feedback by kind", "task", "kind")
        self.waiting = self._gauge("waiting", "Requests that wait for a slot", "task")
        self.working = self._gauge("working", "Requests that are worked on", "task")
        self.records_pending = self._gauge("records_pending", "Records not yet written")
        self.records_dropped = self._counter("records_dropped", "Records lost to a full queue")

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"stepladder_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"stepladder_{name}", what, labels, registry=self.registry)

    def _seconds(self, name: str, what: str) -> Histogram:
        return Histogram(f"stepladder_{name}", what, ("task",), buckets=_SECONDS, registry=self.registry)
