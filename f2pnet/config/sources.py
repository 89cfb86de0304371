"""Where frames come from: one option model for each kind of source, distinguished by the key ``kind``.

Every option is declared here once, with its type, unit, default and meaning; the command line, the YAML file and
`docs/sources.md` follow it. Opening a source is the pipeline's work (`pipeline.sources`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, SecretStr, TypeAdapter, ValidationError, field_validator, model_validator

from f2pnet.address import Address, looks_like_address, parse_address, redact_url
from f2pnet.config.base import ConfigPath, StrictModel
from f2pnet.errors import ConfigError, MissingResource
from f2pnet.pictures.suffixes import VIDEO_SUFFIXES
from f2pnet.text import printable

TextureName = Literal["brushed_steel", "woven", "cast", "dagm"]
DefectName = Literal["scratch", "pit", "crack", "stain", "inclusion", "missing_texture"]

TEXTURES: tuple[TextureName, ...] = ("brushed_steel", "woven", "cast", "dagm")
DEFECTS: tuple[DefectName, ...] = ("scratch", "pit", "crack", "stain", "inclusion", "missing_texture")

Fps = Annotated[float, Field(gt=0, le=10_000)]
FrameSize = Annotated[str, Field(pattern=r"^[1-9]\d{1,4}x[1-9]\d{1,4}$")]


class _File(StrictModel):
    """Pictures on disk."""

    @property
    def live(self) -> bool:
        """False: the source may be paused."""
        return False

    @property
    def comes_back(self) -> bool:
        """Whether a source that is lost is waited for: a damaged file does not mend itself."""
        return False

    @property
    def finite(self) -> bool:
        """Whether it ends by itself, and must have given a frame by then."""
        return not getattr(self, "loop", False)


class _Camera(StrictModel):
    """Pictures of a world that does not wait."""

    @property
    def live(self) -> bool:
        """True: the source can't be paused."""
        return True

    @property
    def comes_back(self) -> bool:
        """True: a camera that is lost is opened anew."""
        return True

    @property
    def finite(self) -> bool:
        """False: it ends when the line does."""
        return False


class FolderSource(_File):
    """Image files of one folder in natural order (`part2.png` before `part10.png`), or as they come (`watch`)."""

    kind: Literal["folder"] = Field("folder", description="a folder of images")
    path: ConfigPath = Field(description="folder of images; links are followed, subfolders are not")
    fps: Fps | None = Field(default=None, description="frames per second; null: as fast as they are asked for")
    loop: bool = Field(default=False, description="start again after the last image, for ever")
    bit_depth: int | None = Field(
        default=None,
        ge=9,
        le=16,
        description="bits that pixels of 16-bit files fill, where the files don't say; null: such files are refused",
    )
    watch: bool = Field(
        default=False, description="never end: inspect each picture that appears once, in the order of arrival"
    )
    done_dir: ConfigPath | None = Field(
        default=None, description="with watch: files are moved here when their verdict is durable; null: they stay"
    )
    journal: ConfigPath | None = Field(
        default=None,
        description="with watch: file that remembers what is inspected; null: `.LINE.CAMERA.inspected` in the folder",
    )

    @model_validator(mode="after")
    def _watched(self) -> Self:
        if not self.watch and (self.done_dir or self.journal):
            raise ValueError("done_dir and journal are for a watched folder: add watch: true")
        if self.watch and self.loop:
            raise ValueError("a watched folder gives each picture once: remove loop, or watch")
        if self.done_dir is not None and self.done_dir.resolve() == self.path.resolve():
            raise ValueError("done_dir must be another folder than path")
        return self

    @property
    def comes_back(self) -> bool:
        """Whether a folder that is lost is waited for, as a watched one on a network share is."""
        return self.watch

    @property
    def finite(self) -> bool:
        """Whether it ends by itself, and must have given a frame by then."""
        return not (self.loop or self.watch)


class VideoSource(_File):
    """Frames of one video file."""

    kind: Literal["video"] = Field("video", description="a video file")
    path: ConfigPath = Field(description="video file, any container and codec that FFmpeg reads")
    fps: Fps | None = Field(default=None, description="frames per second; null: the file's own rate")
    loop: bool = Field(default=False, description="start again after the last frame, for ever")


class RtspSource(_Camera):
    """A network camera over RTSP."""

    kind: Literal["rtsp"] = Field("rtsp", description="an RTSP camera")
    url: SecretStr = Field(description="rtsp://[user:password@]host[:port]/path; shown as scheme, host and port only")
    transport: Literal["tcp", "udp"] = Field(default="tcp", description="udp saves some latency and loses packets")
    timeout_s: float = Field(
        default=5.0, gt=0, le=600, description="silence after which the camera counts as lost, in s"
    )

    @field_validator("url")
    @classmethod
    def _valid_address(cls, url: SecretStr) -> SecretStr:
        _camera_address(url, "rtsp", "rtsps")
        return url

    @property
    def address(self) -> Address:
        """The parts of `url`; shown without its secrets."""
        return _camera_address(self.url, "rtsp", "rtsps")


class MjpegSource(_Camera):
    """A network camera that sends JPEG pictures over HTTP (multipart/x-mixed-replace)."""

    kind: Literal["mjpeg"] = Field("mjpeg", description="an HTTP camera that sends JPEGs")
    url: SecretStr = Field(
        description="http[s]://[user:password@]host[:port]/path; shown as scheme, host and port only"
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=600, description="silence after which the camera counts as lost, in s"
    )

    @field_validator("url")
    @classmethod
    def _valid_address(cls, url: SecretStr) -> SecretStr:
        _camera_address(url, "http", "https")
        return url

    @property
    def address(self) -> Address:
        """The parts of `url`; shown without its secrets."""
        return _camera_address(self.url, "http", "https")


class V4l2Source(_Camera):
    """A camera that Linux drives itself: USB camera, capture card."""

    kind: Literal["v4l2"] = Field("v4l2", description="a camera of the host")
    device: ConfigPath = Field(description="such as /dev/video0, or better a name below /dev/v4l/by-id that stays")
    size: FrameSize | None = Field(default=None, description="width x height in px; null: as the device is set")
    fps: Fps | None = Field(default=None, description="frames per second; null: as the device is set")
    pixel_format: str | None = Field(
        default=None, description="FFmpeg's name, such as yuyv422, mjpeg, gray; null: as the device is set"
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=600, description="silence after which the camera counts as lost, in s"
    )


class GenicamSource(_Camera):
    """A GigE Vision or USB3 Vision camera through Aravis, or any GenICam camera through its maker's GenTL producer."""

    kind: Literal["genicam"] = Field("genicam", description="a GigE Vision or USB3 Vision camera")
    producer: ConfigPath | None = Field(
        default=None, description="the *.cti file of the camera maker's driver; null: Aravis, which needs none"
    )
    serial: str | None = Field(
        default=None, description="serial number of the camera, with Aravis also its address; null: the first one found"
    )
    exposure_us: float | None = Field(default=None, gt=0, description="ExposureTime in us; null: as the camera has it")
    trigger: str = Field(default="off", description="off, or the TriggerSource that starts a frame, such as Line0")
    features: dict[str, str | bool | int | float] = Field(
        default_factory=dict, description="more GenICam features by name, set in this order before acquisition"
    )
    timeout_s: float = Field(
        default=5.0, gt=0, le=600, description="silence after which a camera without trigger counts as lost, in s"
    )

    def wanted_features(self, has: Callable[[str], bool]) -> dict[str, str | bool | int | float]:
        """All that is to be set, by its name in GenICam's Standard Features Naming Convention, in order.

        `has` says whether the camera has a feature: cameras keep what somebody set before, and one that nobody
        wants to trigger must not go on waiting for it.
        """
        running_free = {"TriggerSelector": "FrameStart", "TriggerMode": "Off"}
        wanted: dict[str, str | bool | int | float] = {}
        if self.trigger == "off" and all(map(has, running_free)):
            wanted |= running_free
        wanted |= self.features
        if self.exposure_us is not None:
            wanted["ExposureTime"] = self.exposure_us
        if self.trigger != "off":
            wanted |= {"TriggerSelector": "FrameStart", "TriggerSource": self.trigger, "TriggerMode": "On"}
        return wanted


class SyntheticSource(StrictModel):
    """A simulated conveyor: a moving textured surface with drawn defects whose truth is known."""

    kind: Literal["synthetic"] = Field("synthetic", description="simulated parts on a belt")
    texture: TextureName = Field(default="brushed_steel", description="what the surface is made of")
    seed: int = Field(default=0, ge=0, lt=2**63, description="names the belt: same seed, same pixels")
    size: FrameSize = Field(default="512x512", description="width x height of a frame in px, 96 to 8192 each")
    fps: Fps | None = Field(default=30.0, description="frames per second; null: as fast as they are asked for")
    frames: int | None = Field(default=None, ge=1, description="length of the belt in frames; null: endless")
    loop_frames: int | None = Field(
        default=None, ge=1, le=1000, description="closed belt of so many frames, drawn once; null: no frame comes twice"
    )
    colour: bool = Field(default=False, description="three equal channels, as a colour camera gives, instead of one")
    defect_rate: float = Field(default=0.2, ge=0, le=1, description="share of frames with at least one defect")
    defects: tuple[DefectName, ...] = Field(default=DEFECTS, min_length=1, description="which kinds of defect occur")
    light_drift: float = Field(default=0.06, ge=0, le=0.3, description="slow change of the light, share of its mean")
    noise_grey: float = Field(
        default=2.0, ge=0, le=20, description="standard deviation of the camera's noise in grey levels"
    )

    @field_validator("size")
    @classmethod
    def _sides(cls, size: str) -> str:
        if not all(96 <= int(side) <= 8192 for side in size.split("x")):
            raise ValueError("each side must be 96 to 8192 px")
        return size

    @property
    def live(self) -> bool:
        """With a rate the belt moves as in the world; without one it waits to be looked at."""
        return self.fps is not None

    @property
    def comes_back(self) -> bool:
        """As a camera, where it is one."""
        return self.live

    @property
    def finite(self) -> bool:
        """Whether the belt has an end."""
        return self.frames is not None

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of a frame."""
        width, height = self.size.split("x")
        return int(width), int(height)


SourceConfig = Annotated[
    FolderSource | VideoSource | RtspSource | MjpegSource | V4l2Source | GenicamSource | SyntheticSource,
    Field(discriminator="kind"),
]
"""Any source; an unknown ``kind`` is refused with the list of the known ones."""

_ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)


def source_from_uri(uri: str) -> SourceConfig:
    """The source that one word on a command line means; a path is meant from the current folder.

    `rtsp://...`, `http://...`, `genicam:SERIAL`, `/dev/video0`, a folder, a video file, `file://...`, or
    `synthetic:TEXTURE?seed=7&size=640x480&fps=60` (all options of `SyntheticSource`). Raises ConfigError (no source can
    be meant) or MissingResource (no such file).
    """
    scheme, _, rest = uri.partition(":")
    match scheme.lower():
        case "rtsp" | "rtsps":
            return _checked({"kind": "rtsp", "url": uri}, "RTSP camera")
        case "http" | "https":
            return _checked({"kind": "mjpeg", "url": uri}, "HTTP camera")
        case "genicam":
            return _checked({"kind": "genicam", **({"serial": rest} if rest else {})}, printable(uri))
        case "synthetic":
            return _checked({"kind": "synthetic", **_synthetic_options(uri)}, printable(uri))
    return _source_at(Path(unquote(rest.removeprefix("//"))) if scheme == "file" else Path(uri).expanduser())


def shown_source(uri: str) -> str:
    """The word as it may be shown."""
    return redact_url(uri) if looks_like_address(uri) else printable(uri)


def described_source(source: SourceConfig) -> str:
    """Kind and place of a source, without secrets."""
    places = (getattr(source, name, None) for name in ("path", "device", "address", "serial"))
    return printable(" ".join([source.kind, *(str(place) for place in places if place)]))


def _source_at(path: Path) -> SourceConfig:
    absolute = Path.cwd() / path
    if absolute.is_char_device():
        return V4l2Source(device=absolute)
    if absolute.is_dir():
        return FolderSource(path=absolute)
    wanted = "wanted a folder, a video file, rtsp://..., http://..., genicam:SERIAL or synthetic:TEXTURE"
    shown = "an address of an unknown kind" if looks_like_address(str(path)) else printable(path)
    if not absolute.exists():
        raise MissingResource(f"source {shown} is not there; {wanted}")
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise ConfigError(f"source {shown}: not a video file ({', '.join(sorted(VIDEO_SUFFIXES))}); {wanted}")
    return VideoSource(path=absolute)


def _camera_address(url: SecretStr, *schemes: str) -> Address:
    try:
        return parse_address(url.get_secret_value(), schemes, f"{schemes[0]}://host/path")
    except ConfigError as error:
        raise ValueError(str(error)) from None  # pydantic adds the place in the file


def _synthetic_options(uri: str) -> dict[str, str]:
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    return {"texture": parts.path, **options} if parts.scheme and parts.path else options


def _checked(content: dict[str, str], shown: str) -> SourceConfig:
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{problem['loc'][-1]}: {problem['msg'].removeprefix('Value error, ')}" for problem in error.errors()
        )
        raise ConfigError(f"source {shown}: {problems}") from None
