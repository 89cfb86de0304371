"""The page of a line."""

from __future__ import annotations

from pydantic import Field

from f2pnet.config.served import ServedConfig


class ConsoleConfig(ServedConfig):
    """The operators' page: pictures, verdicts, alerts, reviews."""

    port: int = Field(8088, ge=0, le=65535, description="0: any free one, named in the log")
    reviewer: str = Field("operator", max_length=64, description="name of the reviewer until the page is given another")
