"""A line: its cameras, its engine, and where verdicts go (docs/contract.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from f2pnet.config.base import ConfigPath, StrictModel, load_yaml
from f2pnet.config.console import ConsoleConfig
from f2pnet.config.metrics import MetricsConfig
from f2pnet.config.precision import Precision
from f2pnet.config.served import LOOPBACK
from f2pnet.config.simulated import NAME as SIMULATED
from f2pnet.config.simulated import SimulatedSpec
from f2pnet.config.sinks import SinkConfig
from f2pnet.config.sources import SourceConfig
from f2pnet.config.tracing import TracingConfig
from f2pnet.errors import ConfigError
from f2pnet.redis.address import SCHEMES, parse_redis_address
from f2pnet.redis.endpoint import embedded_address, find_embedded
from f2pnet.text import printable

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Letters, digits, `_`, `.`, `-`: names become Redis keys, file names and topic parts."""

OverloadPolicy = Literal["drop_oldest", "drop_newest", "block"]


class CameraConfig(StrictModel):
    """One camera and how its frames are held until their verdict is durable."""

    id: Name = Field(description="name of the camera, unique within the line")
    source: SourceConfig = Field(description="where its frames come from")
    ring_slots: int = Field(16, ge=2, le=4096, description="frames held at most, from capture to durable verdict")
    max_frame_mb: int = Field(
        64, ge=1, le=4096, description="largest frame the ring takes; memory is used only for what frames really need"
    )
    freeze_s: float | None = Field(
        None,
        gt=0,
        description="a live camera that sends the very same picture for this long is opened anew; null: never",
    )
    on_overload: OverloadPolicy = Field(
        "drop_oldest", description="which frame is dropped when the ring is full; block pauses the source"
    )
    deadline_ms: float | None = Field(
        None, gt=0, description="from capture to durable verdict; later is NOT_INSPECTED; null: none"
    )

    @model_validator(mode="before")
    @classmethod
    def _a_hot_folder_waits(cls, content: Any) -> Any:
        """A watched folder has no picture to lose: unless the file says otherwise it waits for room."""
        source = content.get("source") if isinstance(content, dict) else None
        is_watched = source.get("watch") if isinstance(source, dict) else getattr(source, "watch", False)
        return {"on_overload": "block", **content} if is_watched else content


EMBEDDED_REDIS = "embedded"
BACKENDS = ("auto", "onnxruntime", "tensorrt", "openvino", "null")


def _known_backend(name: str) -> str:
    try:
        if name.startswith(f"{SIMULATED}:"):
            SimulatedSpec.parse(name)
        elif name not in BACKENDS:
            raise ConfigError(f"backend is '{printable(name)}': wanted one of {', '.join(BACKENDS)}, simulated:RATE")
    except ConfigError as error:
        raise ValueError(str(error)) from None  # pydantic adds the place in the file
    return name


class EngineConfig(StrictModel):
    """Which engine inspects, and how many workers run it."""

    bundle: ConfigPath = Field(description="folder of the engine bundle")
    backend: Annotated[str, AfterValidator(_known_backend)] = Field(
        "auto",
        description="auto, onnxruntime, tensorrt or openvino; null answers at once, simulated:RATE[:BATCH] as an "
        "accelerator of RATE images/s would",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="an asked-for device that is absent is an error")
    precision: Precision | None = Field(None, description="which of the bundle's files; null: the backend's first")
    allow_fallback: bool = Field(
        False, description="run on the CPU, with a warning, where the device asked for is absent"
    )
    workers: int = Field(
        1, ge=0, le=64, description="inference workers that `f2p run` starts; 0: they run on other hosts"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of one worker; null: the cores shared evenly")
    max_batch: int = Field(4, ge=1, le=256, description="frames in one run of the engine, across cameras")
    max_wait_ms: float = Field(5.0, ge=0, description="how long an incomplete batch waits for company")


class CurveConfig(StrictModel):
    """Keys of one host, made by `f2p keys`; docs/security.md shows who needs which."""

    key: ConfigPath = Field(description="HOST.key_secret of this host")
    server_key: ConfigPath = Field(description="HOST.key of the host whose address is `host`")
    allowed: ConfigPath = Field(description="folder with the HOST.key of every host that may connect")


class TcpTransport(StrictModel):
    """Workers on several hosts: endpoints over TCP, pixels travel inline."""

    kind: Literal["tcp"] = Field(description="workers on several hosts")
    host: str = Field("127.0.0.1", description="where ingest and publish workers are reached; they run on one host")
    bind: str | None = Field(None, description="address that they bind, such as 0.0.0.0 in a container; null: `host`")
    curve: CurveConfig | None = Field(None, description="keys; without them only loopback is allowed")
    ports: dict[str, int] = Field(
        description="a port for each camera id, for 'publish' and for 'alerts'", default_factory=dict
    )

    @model_validator(mode="after")
    def _closed_beyond_loopback(self) -> Self:
        for name, address in (("host", self.host), ("bind", self.bind or self.host)):
            if self.curve is None and address not in LOOPBACK:
                raise ValueError(
                    f"{name} is {address}, and beyond loopback everybody could send frames and verdicts: make keys "
                    "with `f2p keys` and name them under `curve`"
                )
        return self


class IpcTransport(StrictModel):
    """All workers on one host: Unix sockets, pixels stay in shared memory."""

    kind: Literal["ipc"] = Field("ipc", description="all workers on one host")
    alerts_port: int | None = Field(
        None, ge=1, le=65535, description="also publish live alerts on this loopback TCP port; null: ipc only"
    )


TransportConfig = Annotated[IpcTransport | TcpTransport, Field(discriminator="kind")]


class SpoolConfig(StrictModel):
    """Disk that holds verdicts while the store is away."""

    dir: ConfigPath = Field(description="folder of the spool; the embedded Redis keeps its data below it")
    max_mb: int = Field(
        256, ge=1, description="largest size; a full spool refuses verdicts, and their frames stay in the ring"
    )


class EvidenceConfig(StrictModel):
    """Pictures behind verdicts."""

    dir: ConfigPath = Field(description="folder of the pictures")
    keep: Literal["none", "ng", "all"] = Field(
        "ng", description="ng: frames that an inference worker did not call OK; all: every frame it judged"
    )
    max_mb: int = Field(1024, ge=1, description="largest size of the folder; the oldest pictures go first")
    max_count: int | None = Field(None, ge=1, description="pictures kept at most; null: as many as max_mb allows")
    max_age_days: float | None = Field(None, gt=0, description="pictures older than this are deleted; null: none is")


class PublishConfig(StrictModel):
    """Where verdicts and alerts go."""

    redis: str = Field(
        EMBEDDED_REDIS,
        description="embedded, or redis://[user:password@]host:port[/db], rediss://..., unix://..., "
        "redis+sentinel://host,host/service, redis+cluster://host,host",
        repr=False,
    )
    min_replicas: int = Field(
        0, ge=0, le=16, description="replicas of Redis that must have a verdict too before it counts as durable"
    )
    spool: SpoolConfig = Field(description="where verdicts wait while Redis is away")
    evidence: EvidenceConfig | None = Field(None, description="pictures behind verdicts; null: none are kept")
    sinks: list[SinkConfig] = Field(default_factory=list, description="where alerts go besides Redis")
    results_kept: int = Field(1_000_000, ge=1, description="length to which the results stream is trimmed (about)")
    alerts_kept: int = Field(1_000_000, ge=1, description="length to which the alerts stream is trimmed (about)")

    chain: bool = Field(
        False, description="seal each result with a hash of those before it, so that `f2p alerts verify` finds changes"
    )

    @model_validator(mode="after")
    def _known_redis(self) -> Self:
        if not self.is_embedded:
            _check_redis(self.redis)
        names = [sink.name for sink in self.sinks]
        if double := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"sink names must differ; used twice: {', '.join(sorted(double))}")
        return self

    @property
    def is_embedded(self) -> bool:
        """Whether the line runs a Redis server of its own."""
        return self.redis == EMBEDDED_REDIS

    @property
    def embedded_redis_dir(self) -> Path:
        """Data folder of the embedded Redis server: beside the spool, since both must outlive the line."""
        return self.spool.dir / "embedded-redis"


def _check_redis(url: str) -> None:
    if not url.startswith(SCHEMES):
        raise ValueError(f"redis: wanted 'embedded' or an address that starts with {', '.join(SCHEMES)}")
    try:
        parse_redis_address(url)
    except ConfigError as error:
        raise ValueError(f"redis: {error}") from None  # pydantic adds the place in the file


class TimeoutsConfig(StrictModel):
    """How long the line waits for its own parts. None of them is unlimited."""

    lease_ms: int = Field(
        10_000, ge=100, description="after this a leased frame is given to another worker; grows with the engine's time"
    )
    stall_s: float = Field(30.0, gt=0, description="a worker that makes no progress for this long is replaced")
    drain_s: float = Field(15.0, gt=0, description="how long a stopping line waits for verdicts under way")


class LineConfig(StrictModel):
    """Everything `f2p run` needs to know."""

    line: Name = Field(description="name of the line: part of Redis keys, topics and folders")
    recipe: ConfigPath | None = Field(None, description="null: the engine's own thresholds")
    engine: EngineConfig = Field(description="the engine that judges all frames")
    cameras: list[CameraConfig] = Field(min_length=1, description="at least one")
    transport: TransportConfig = Field(
        default_factory=IpcTransport, description="how workers reach each other: on one host, or over TCP"
    )
    publish: PublishConfig = Field(description="where verdicts and alerts go")
    metrics: MetricsConfig | None = Field(None, description="Prometheus metrics and health of the line; null: none")
    console: ConsoleConfig | None = Field(None, description="the operators' page; null: none")
    tracing: TracingConfig | None = Field(None, description="OpenTelemetry traces; null: none")
    timeouts: TimeoutsConfig = Field(
        default_factory=TimeoutsConfig, description="how long the line waits for its workers"
    )

    @property
    def store_address(self) -> str:
        """Where the line's Redis is, also for readers that go on over restarts of an embedded one."""
        publish = self.publish
        return embedded_address(publish.embedded_redis_dir) if publish.is_embedded else publish.redis

    def running_store(self) -> str:
        """Where the line's Redis is now. Raises MissingResource for an embedded one that does not run."""
        return find_embedded(self.publish.embedded_redis_dir) if self.publish.is_embedded else self.publish.redis

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ids = [camera.id for camera in self.cameras]
        double = {name for name in ids if ids.count(name) > 1}
        if double:
            raise ValueError(f"camera ids must differ; used twice: {', '.join(sorted(double))}")
        if isinstance(self.transport, TcpTransport):
            if taken := sorted({"publish", "alerts"} & set(ids)):
                raise ValueError(
                    f"camera id {', '.join(taken)} is reserved: transport.ports names the port of the publish worker "
                    "so; choose another id"
                )
            missing = {*ids, "publish", "alerts"} - set(self.transport.ports)
            if missing:
                raise ValueError(f"transport.ports lacks a port for: {', '.join(sorted(missing))}")
        return self


RESERVED_NAMES = ("publish", "alerts", "console", "supervisor", "line")
"""Names of the line's own parts, which tables, topics and port lists could not distinguish from a camera."""


def refuse_reserved_names(line: LineConfig) -> None:
    """Raise ConfigError for cameras that are called like a part of the line (`f2p check`).

    A line that has run with such a name goes on running: nothing of it collides on one host.
    """
    if taken := sorted(camera.id for camera in line.cameras if camera.id in RESERVED_NAMES):
        raise ConfigError(
            f"camera id {', '.join(taken)} is reserved, since a part of the line has that name: choose another id "
            f"(reserved are {', '.join(RESERVED_NAMES)})"
        )


def load_line(path: Path) -> LineConfig:
    """Read a line file. Raises MissingResource (no file) or ConfigError (all problems at once)."""
    return load_yaml(path, LineConfig)
