"""Figures of the service for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What `/metrics` tells, in a registry of its own."""

    def __init__(self) -> None:
        """Make the figures."""
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("fuseline_requests", "Requests answered", ("model", "status"), registry=own)
        self.seconds = Histogram("fuseline_request_seconds", "From first byte to answer", ("model",), registry=own)
        self.batch = Histogram("fuseline_batch_size", "Requests a batch", ("model",), buckets=SIZES, registry=own)
        self.open = Gauge("fuseline_requests_open", "Requests that have begun and not ended", ("model",), registry=own)
        self.version = Gauge("fuseline_model_version", "Number of the version that answers", ("model",), registry=own)
        self.swaps = Counter("fuseline_swaps", "Changes of version without a restart", ("model",), registry=own)
        self.registry_up = Gauge("fuseline_registry_up", "1 when the model registry answered last time", registry=own)
