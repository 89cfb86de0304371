"""Where the times of single frames are sent."""

from __future__ import annotations

from pydantic import Field, field_validator

from f2pnet.address import Address, parse_address
from f2pnet.config.base import StrictModel
from f2pnet.errors import ConfigError

_SCHEMES, _EXAMPLE = ("http", "https"), "http://host:4318/v1/traces"


class TracingConfig(StrictModel):
    """OpenTelemetry traces over HTTP: one trace for a frame, one span for each stage of it."""

    endpoint: str = Field(
        "http://127.0.0.1:4318/v1/traces",
        repr=False,
        description="OTLP over HTTP, as collectors listen for: http[s]://[user:password@]host[:port]/path; shown as "
        "scheme, host and port only",
    )
    share: float = Field(0.01, gt=0, le=1, description="share of the frames that are traced; alerts always are")

    @field_validator("endpoint")
    @classmethod
    def _valid_address(cls, endpoint: str) -> str:
        try:
            parse_address(endpoint, _SCHEMES, _EXAMPLE)
        except ConfigError as error:
            raise ValueError(str(error)) from None  # pydantic adds the place in the file
        return endpoint

    @property
    def address(self) -> Address:
        """The parts of `endpoint`; shown without its secrets."""
        return parse_address(self.endpoint, _SCHEMES, _EXAMPLE)
