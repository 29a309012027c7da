"""Metrics of the service for Prometheus. None of them says anything about a visitor or a video."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from crnet.serve.job_queue import JobQueue
from crnet.serve.jobs import Job
from crnet.serve.uploads import Uploads

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (1, 2, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600)


class Metrics:
    """The metrics of one service.

    Args:
        job_queue: Its queue.
        uploads: Its uploads.
    """

    def __init__(self, job_queue: JobQueue, uploads: Uploads) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "crnet_http_requests", "HTTP requests.", ("method", "route", "status"), registry=registry
        )
        self._jobs = Counter("crnet_jobs", "Jobs that have ended.", ("state",), registry=registry)
        self._seconds = Histogram(
            "crnet_job_seconds",
            "Seconds from the creation of a job to its first scores, and to its end.",
            ("until",),
            buckets=SECONDS,
            registry=registry,
        )
        gauges = {
            "crnet_jobs_waiting": ("Jobs that wait for a worker.", lambda: job_queue.waiting),
            "crnet_jobs_running": ("Jobs that are scored now.", lambda: job_queue.running),
            "crnet_uploads_pending": ("Uploads without a job.", lambda: len(uploads)),
            "crnet_uploads_reserved_bytes": ("Space reserved for uploads.", lambda: uploads.reserved_bytes),
        }
        for name, (text, read) in gauges.items():
            Gauge(name, text, registry=registry).set_function(read)
        job_queue.on_end = self._count

    def _count(self, job: Job) -> None:
        self._jobs.labels(state=job.state).inc()
        if job.first_scores_s is not None:
            self._seconds.labels(until="scores").observe(job.first_scores_s)
        if job.state == "done" and job.finished_s is not None:
            self._seconds.labels(until="end").observe(job.finished_s - job.created_s)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
