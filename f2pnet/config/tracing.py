"""Where the times of single frames are sent."""

from __future__ import annotations

from pydantic import Field

from f2pnet.config.base import StrictModel


class TracingConfig(StrictModel):
    """OpenTelemetry traces over HTTP: one trace for a frame, one span for each stage of it."""

    endpoint: str = Field(
        "http://127.0.0.1:4318/v1/traces", pattern=r"^https?://", description="OTLP over HTTP, as collectors listen for"
    )
    share: float = Field(0.01, gt=0, le=1, description="share of the frames that are traced; alerts always are")
