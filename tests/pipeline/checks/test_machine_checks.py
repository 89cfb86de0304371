"""What `f2p check --probe` says of the machine, against limits that are set for the test."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
import redis

from f2pnet.config import LineConfig
from pipeline.checks.machine_checks import clock, disk, open_files, redis_keeps, shared_memory
from pipeline.store.embedded.server import EmbeddedRedis
from tests.pipeline.harness import LineUnderTest


@pytest.fixture
def config(line: LineUnderTest) -> LineConfig:
    return LineConfig.model_validate(line.config, context={"folder": line.folder})


def test_rings_that_do_not_fit_are_told_with_the_cure(config: LineConfig) -> None:
    told, advice = shared_memory(config, {"cam1": 1 << 40})
    assert "full rings take 16777216 MB" in told
    assert advice is not None
    assert "--shm-size" in advice
    assert shared_memory(config, {"cam1": 2304})[1] is None


def test_a_low_limit_of_open_files_is_told() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        told, advice = open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told.startswith("256 ")
    assert advice is not None
    assert "LimitNOFILE" in advice


def test_a_disk_without_room_is_told(config: LineConfig) -> None:
    spool = config.publish.spool.model_copy(update={"max_mb": 1 << 40})
    publish = config.publish.model_copy(update={"spool": spool})
    _, advice = disk(config.model_copy(update={"publish": publish}))
    assert advice is not None
    assert "spool.max_mb" in advice


def test_the_clock_is_one_thing_or_the_other() -> None:
    told, advice = clock()
    assert (told, advice is None) in (("synchronised", True), ("not synchronised", False)) or "can't be read" in told


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as running:
        yield running


def test_settings_that_may_not_be_read_are_told(server: EmbeddedRedis) -> None:
    """The embedded server denies CONFIG, as managed servers do."""
    _, advice = redis_keeps(server.url)
    assert advice is not None
    assert "noeviction" in advice
    with redis.Redis.from_url(server.url) as client, pytest.raises(redis.ResponseError):
        client.config_get("appendonly")
