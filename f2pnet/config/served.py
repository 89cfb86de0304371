"""What everything that listens for HTTP shares: loopback, or a token."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from f2pnet.config.base import ConfigPath, StrictModel
from f2pnet.errors import ConfigError, MissingResource

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SHORTEST_TOKEN = 16


class ServedConfig(StrictModel):
    """Where to listen, and who may ask."""

    host: str = Field("127.0.0.1", description="address to bind; beyond loopback a token_file is needed")
    token_file: ConfigPath | None = Field(None, description="file with the token that is asked for")

    @model_validator(mode="after")
    def _closed_beyond_loopback(self) -> Self:
        if self.host not in LOOPBACK and self.token_file is None:
            raise ValueError(f"host is {self.host}: beyond loopback a token_file is needed, or use 127.0.0.1")
        return self

    def read_token(self) -> str | None:
        """The token, None where none is asked for. Raises MissingResource or ConfigError."""
        if self.token_file is None:
            return None
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise MissingResource(f"token_file {self.token_file}: {error.strerror}; make one with a secret") from error
        if len(token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"token_file {self.token_file} holds {len(token)} characters, wanted {SHORTEST_TOKEN} or more; "
                "`openssl rand -hex 32` makes a good one"
            )
        return token
