"""Health and metrics of a service that has no page: ``/healthz``, ``/readyz`` and Prometheus' ``/metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry


def health_app(*, ready: Callable[[], bool], registry: CollectorRegistry) -> FastAPI:
    """The three answers; nothing else is served. Whoever answers at all is alive: a service whose work ends, ends.

    Args:
        ready: Whether it does its share now.
        registry: Of its metrics.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def answer(good: bool) -> Response:  # noqa: FBT001 - a truth is all it takes
        return Response("ok\n" if good else "not ok\n", status_code=200 if good else 503, media_type="text/plain")

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    def healthz() -> Response:
        return answer(True)

    @app.api_route("/readyz", methods=["GET", "HEAD"])
    def readyz() -> Response:
        return answer(ready())

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app
