"""Where alerts go besides Redis: one option model for each kind of sink, distinguished by the key ``kind``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from f2pnet.address import Address, is_host_name, parse_address
from f2pnet.config.base import ConfigPath, StrictModel
from f2pnet.config.served import LOOPBACK
from f2pnet.errors import ConfigError, MissingResource

HTTP = ("http", "https")


class _Sink(StrictModel):
    """What all sinks share."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")] = Field(
        description="names the sink's place in the stream: keep it, and it goes on where it stood"
    )
    tries: int = Field(
        5, ge=1, le=1000, description="how often an alert is offered that the receiver refuses; then a dead letter"
    )
    timeout_s: float = Field(5.0, gt=0, le=120, description="how long the receiver may take for one alert")


class JsonlSink(_Sink):
    """One JSON object in a line, appended to a file and synced to disk."""

    kind: Literal["jsonl"] = Field("jsonl", description="lines of a file")
    path: ConfigPath = Field(description="file to append to; its folder is made where it is absent")
    max_mb: int = Field(64, ge=1, description="a larger file is put aside as NAME.<UTC time>, and a new one begun")


class WebhookSink(_Sink):
    """One HTTP POST for each alert, signed where a secret is given."""

    kind: Literal["webhook"] = Field("webhook", description="HTTP requests")
    url: SecretStr = Field(
        description="http[s]://[user:password@]host[:port]/path: user and password are sent as Basic authentication; "
        "shown as scheme, host and port only"
    )
    secret_file: ConfigPath | None = Field(
        None, description="file with the key of the signature: X-F2P-Signature, HMAC-SHA256 of '<timestamp>.<body>'"
    )

    ca_file: ConfigPath | None = Field(
        None, description="authority of the receiver's certificate (PEM); null: the system's"
    )

    @field_validator("url")
    @classmethod
    def _valid_address(cls, url: SecretStr) -> SecretStr:
        try:
            parse_address(url.get_secret_value(), HTTP, "https://host/path")
        except ConfigError as error:
            raise ValueError(str(error)) from None  # pydantic adds the place in the file
        return url

    @model_validator(mode="after")
    def _authority_of_tls(self) -> WebhookSink:
        if self.ca_file is not None and self.address.scheme != "https":
            raise ValueError("ca_file is for https:// addresses: the url is an http:// one")
        return self

    @property
    def address(self) -> Address:
        """The parts of `url`; shown without its secrets."""
        return parse_address(self.url.get_secret_value(), HTTP, "https://host/path")

    def read_secret(self) -> bytes | None:
        """The key, None where nothing is signed. Raises MissingResource."""
        return None if self.secret_file is None else _read(self.name, self.secret_file).encode()


class MqttSink(_Sink):
    """One MQTT message (QoS 1) for each alert, and a retained topic that says whether the line is there."""

    kind: Literal["mqtt"] = Field("mqtt", description="messages to an MQTT broker")
    host: str = Field(description="host name or IP address of the broker")
    port: int = Field(1883, ge=1, le=65535, description="TCP port of the broker")
    topic: Annotated[str, Field(pattern=r"^[^#+]+$")] = Field(
        "f2p", description="alerts: TOPIC/<line>/<camera>/<verdict>; availability: TOPIC/<line>/available"
    )
    user: str | None = Field(None, description="login name; null: none")
    password_file: ConfigPath | None = Field(None, description="file with the user's password")
    tls: bool = Field(False, description="encrypt, and check the broker's certificate")
    ca_file: ConfigPath | None = Field(None, description="authority of that certificate; null: the system's")

    @field_validator("host")
    @classmethod
    def _only_a_host(cls, host: str) -> str:
        if not is_host_name(host):
            raise ValueError("wanted a host name or IP address alone; user, password_file, port and tls have own keys")
        return host

    @model_validator(mode="after")
    def _no_open_password(self) -> MqttSink:
        if self.password_file is not None and not self.tls and self.host not in LOOPBACK:
            raise ValueError(f"password_file would go to {self.host} in the open: set tls: true")
        return self

    def read_password(self) -> str | None:
        """The password, None where there is none. Raises MissingResource."""
        return None if self.password_file is None else _read(self.name, self.password_file)


SinkConfig = Annotated[JsonlSink | WebhookSink | MqttSink, Field(discriminator="kind")]
"""Any sink; an unknown ``kind`` is refused with the list of the known ones."""


def _read(sink: str, path: ConfigPath) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise MissingResource(f"sink {sink}: {path}: {error.strerror}; write the secret there") from error
