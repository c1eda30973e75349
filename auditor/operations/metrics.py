"""Figures of the service in Prometheus' format, read from the database when they are asked for.

Workers write what they do into the database, so that any API process can tell of all of them. No figure is labelled by
model, user or project. The totals are counters: what an audit's deletion takes from the tables is not taken from them.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from auditor.operations.health import WORKER_SECONDS
from auditor.operations.service import Service
from auditor.store.queries import health as queries

_FRESH = 5.0  # seconds for which figures are not asked for again
_RECENT = 300.0
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Rows = Iterable[tuple[tuple[str, ...], float]]


class Metrics:
    """The figures of one process of the API: its own requests, and everything in the database."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Tables(service))
        labels = ("method", "route", "status")
        requests = "HTTP requests that this process answered."
        self._requests = Counter("auditor_http_requests", requests, labels, registry=self._registry)
        seconds = "Seconds from an HTTP request to the end of its answer."
        self._seconds = Histogram(
            "auditor_http_seconds", seconds, ("route",), registry=self._registry, buckets=_SECONDS
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. route: the path's template, so that ids make no labels."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures, in the text format 0.0.4."""
        return generate_latest(self._registry)


class _Tables(Collector):
    """What the database says, at most every few seconds."""

    def __init__(self, service: Service) -> None:
        self._service, self._lock = service, threading.Lock()
        self._read_at, self._known = float("-inf"), list[Metric]()
        self._totals: dict[str, _Rising] = {}

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._read_at > _FRESH:
                self._known, self._read_at = list(self._read()), time.monotonic()
            yield from self._known

    def _read(self) -> Iterator[Metric]:
        with self._service.database.reading() as session:
            items = queries.items(session)
            losses, deaths = queries.troubles(session)
            stages = queries.stages(session)
            tried = queries.tried_within(session, _RECENT)
            workers = queries.workers(session, WORKER_SECONDS)
            oldest = queries.oldest_claimable(session)
            audits, deliveries = queries.audits(session), queries.deliveries(session)
        yield _gauge("queue_oldest_seconds", "Age of the work item that waits longest.", (), [((), oldest)])
        counts = [((state, kind), float(number)) for state, kind, number in items]
        yield _gauge("work_items", "Work items.", ("state", "kind"), counts)
        yield _gauge("audits", "Audits.", ("state",), [((state,), number) for state, number in audits])
        devices = [worker.device for worker in workers]
        alive = [((device,), float(devices.count(device))) for device in sorted({"cpu", *devices})]
        yield _gauge("workers", f"Workers seen in the last {WORKER_SECONDS:.0f} s.", ("device",), alive)
        memory = [
            ((worker.owner, kind), float(size))
            for worker in workers
            for kind, size in (("used", worker.gpu_used), ("total", worker.gpu_total))
            if size is not None
        ]
        yield _gauge("gpu_memory_bytes", "Memory of the worker's GPU.", ("owner", "kind"), memory)
        rates = [((attack,), number / _RECENT) for attack, number in tried]
        text = "Examples attacked per second, by slices that ended in the last five minutes."
        yield _gauge("examples_per_second", text, ("attack",), rates)
        poisoned = sum(number for state, _, number in items if state == "poisoned")
        failed = sum(number for state, number in deliveries if state == "failed")
        attacks = {attack: (float(number), seconds) for attack, number, seconds in stages}
        yield self._total("examples", "Examples attacked.", {a: number for a, (number, _) in attacks.items()})
        yield self._total("stage_seconds", "Seconds of stages.", {a: seconds for a, (_, seconds) in attacks.items()})
        yield self._total("lease_expiries", "Leases that ran out or were freed.", {"": float(losses)})
        yield self._total("child_deaths", "Child processes that died.", {"": float(deaths)})
        yield self._total("poisoned", "Work items given up.", {"": float(poisoned)})
        yield self._total("webhook_failures", "Webhook messages given up.", {"": float(failed)})

    def _total(self, name: str, text: str, sums: Mapping[str, float]) -> Metric:
        """A counter, by attack where there are attacks."""
        values = self._totals.setdefault(name, _Rising()).after(sums)
        labels = () if "" in sums else ("attack",)
        family = CounterMetricFamily(f"auditor_{name}", text, labels=labels)
        for attack, value in values.items():
            family.add_metric([attack] if labels else [], value)
        return family


class _Rising:
    """Sums that may fall, when rows are deleted, as counters that do not."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._value: dict[str, float] = {}

    def after(self, sums: Mapping[str, float]) -> dict[str, float]:
        for name in self._last.keys() | sums.keys():
            now, before = sums.get(name, 0.0), self._last.get(name, 0.0)
            self._value[name] = self._value.get(name, 0.0) + max(0.0, now - before)
            self._last[name] = now
        return self._value


def _gauge(name: str, text: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = GaugeMetricFamily(f"auditor_{name}", text, labels=labels)
    for values, number in rows:
        family.add_metric(list(values), number)
    return family
