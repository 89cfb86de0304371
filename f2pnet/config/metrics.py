"""Where a line serves metrics and health."""

from __future__ import annotations

from pydantic import Field

from f2pnet.config.served import ServedConfig


class MetricsConfig(ServedConfig):
    """Prometheus metrics and health over HTTP: /metrics, /healthz, /readyz. The token is a bearer token."""

    port: int = Field(9108, ge=0, le=65535, description="0: any free one, named in the log")
