"""What must be there before a line starts; each finding names its cure."""

from __future__ import annotations

from f2pnet.commands.output_places import refuse_shared, try_file, try_folder
from f2pnet.config import LineConfig
from f2pnet.config.sinks import JsonlSink
from f2pnet.config.sources import FolderSource, VideoSource
from f2pnet.engine.bundle import open_bundle
from f2pnet.errors import F2pError, MissingExtra
from f2pnet.inspection.recipe import load_recipe
from pipeline.sources import open_source
from pipeline.store.embedded.server import server_program
from pipeline.store.redis_store import RedisStore


def check_engine(line: LineConfig) -> str:
    """What the line's engine is. Raises MissingResource or BundleError."""
    if line.engine.backend == "null":
        return "null: answers at once"
    bundle = open_bundle(line.engine.bundle)
    return f"{bundle.manifest.name} {bundle.engine_id}"


def check_recipe(line: LineConfig) -> str:
    """What the line's recipe is. Raises MissingResource or ConfigError."""
    return "the engine's own thresholds" if line.recipe is None else load_recipe(line.recipe).recipe_id


def check_cameras(line: LineConfig) -> None:
    """Open every folder and video file, and close it. Network cameras may come later: the line waits for them.

    Raises MissingResource, MissingExtra, ConfigError or SourceFault, each naming the camera.
    """
    for camera in line.cameras:
        if not isinstance(camera.source, FolderSource | VideoSource):
            continue
        try:
            open_source(camera.source, owner=f"{line.line}.{camera.id}").close()
        except MissingExtra:
            raise
        except F2pError as error:
            raise type(error)(f"camera {camera.id}: {error}") from error


def check_places(line: LineConfig) -> None:
    """Raise ConfigError where spool, evidence or the file of a sink can't be written."""
    try_folder(line.publish.spool.dir, "publish.spool.dir")
    if line.publish.evidence is not None:
        try_folder(line.publish.evidence.dir, "publish.evidence.dir")
    files = [sink for sink in line.publish.sinks if isinstance(sink, JsonlSink)]
    for sink in files:
        try_folder(sink.path.parent, f"sink {sink.name}: folder")
        try_file(sink.path, f"sink {sink.name}: path")
    refuse_shared({f"sink {sink.name}": sink.path for sink in files})


def check_store(line: LineConfig) -> str:
    """Where the line's verdicts go. Raises MissingResource or StoreAway."""
    if line.publish.is_embedded:
        return f"embedded, {server_program()}"
    store = RedisStore(line.publish.redis, line.line)
    try:
        store.ping()
    finally:
        store.close()
    return store.address
