"""Configuration files: what they may say, and reading them."""

from f2pnet.config.base import ConfigPath, StrictModel, load_yaml, parse_config
from f2pnet.config.line import CameraConfig, EngineConfig, LineConfig, PublishConfig, load_line, refuse_reserved_names

__all__ = [
    "CameraConfig",
    "ConfigPath",
    "EngineConfig",
    "LineConfig",
    "PublishConfig",
    "StrictModel",
    "load_line",
    "load_yaml",
    "parse_config",
    "refuse_reserved_names",
]
