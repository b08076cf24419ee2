"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from jisi_cli.methods.protocol import Outcome

_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """Counters of one server; no label has words of a client."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("jisi_requests", "Requests by path and status.", ["path", "status"], registry=registry)
        self._outcomes = Counter("jisi_outcomes", "Answers by how they came about.", ["mode"], registry=registry)
        self._calls = Counter("jisi_calls", "Calls of models.", ["model", "role", "result"], registry=registry)
        self._dollars = Counter("jisi_dollars", "Dollars paid, as far as known.", ["model"], registry=registry)
        self._unpriced = Counter("jisi_unpriced_calls", "Calls of unknown price.", ["model"], registry=registry)
        self._seconds = Histogram(
            "jisi_request_seconds", "From a request to the end of its answer.", buckets=_BUCKETS, registry=registry
        )
        self.running = Gauge("jisi_running", "Questions that are being answered.", registry=registry)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.observe(seconds)

    def outcome(self, outcome: Outcome) -> None:
        """Count an answer and its calls."""
        self._outcomes.labels(outcome.mode).inc()
        for call in outcome.calls:
            result = "cached" if call.cached else "failed" if call.failed else "answered"
            self._calls.labels(call.model, call.role, result).inc()
            if call.cost_usd is None:
                self._unpriced.labels(call.model).inc()
            else:
                self._dollars.labels(call.model).inc(call.cost_usd)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)
