"""Metrics of the server, in the Prometheus format."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Metrics:
    """Metrics of the requests since the server started, and of its process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "requests", "Requests answered, by status", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "request_seconds", "Time from a request's head to its answer", registry=self.registry
        )
        self.batches = Histogram(
            "batch_images",
            "Images predicted together",
            registry=self.registry,
            buckets=[1, 2, 4, 8, 16, 32, 64],
        )


class MeasuringMiddleware:
    """ASGI middleware that measures each request to `app`."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()

        async def send_measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(message["status"]).inc()
                self.metrics.seconds.observe(time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, send_measured)
