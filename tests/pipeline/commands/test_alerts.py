from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import redis
import typer
from typer.testing import CliRunner, Result

from f2pnet.config import load_line
from f2pnet.errors import ConfigError, MissingResource, StoreAway
from f2pnet.inspection.result import Defect, InspectionResult, SourceRef, Verdict
from pipeline.commands.records.alerts import alerts
from pipeline.store.embedded.server import EmbeddedRedis
from pipeline.store.records import Record
from pipeline.store.redis_store import RedisStore

REPOSITORY = Path(__file__).resolve().parents[3]
LIMIT_S = 10.0
LINE = """\
line: demo
engine: {bundle: engine/}
cameras:
  - {id: cam1, source: {kind: folder, path: images/}}
publish:
  redis: embedded
  spool: {dir: spool/}
"""

app = typer.Typer()
app.command()(alerts)


@pytest.fixture
def line_file(tmp_path: Path) -> Path:
    path = tmp_path / "line.yaml"
    path.write_text(LINE)
    return path


@pytest.fixture
def data_dir(line_file: Path) -> Path:
    return load_line(line_file).publish.embedded_redis_dir


@pytest.fixture
def embedded(data_dir: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(data_dir) as server:
        yield server


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fill(url: str, *seqs: int) -> None:
    """An NG with two scratches for each frame."""
    scratch = Defect(
        class_name="scratch", score=0.9, severity="major", bbox_px=(1, 2, 3, 4), area_px=9, area_mm2=None, polygon_px=[]
    )
    records = []
    for seq in seqs:
        frame_id = f"cam1/r/{seq:06d}"
        result = InspectionResult(
            frame_id=frame_id,
            camera_id="cam1",
            source_ref=SourceRef(file=f"part-{seq}.png"),
            verdict=Verdict.NG,
            defects=[scratch, scratch],
        )
        records.append(
            Record(
                frame_id=frame_id,
                camera_id="cam1",
                run_id="r",
                seq=seq,
                verdict=Verdict.NG,
                captured_at_ns=1_795_435_200_123_000_000,
                data=result.to_json(),
            )
        )
    store = RedisStore(url, "demo", timeout_s=LIMIT_S)
    store.write(records)
    store.close()


def test_alerts_of_a_running_line_are_listed(line_file: Path, embedded: EmbeddedRedis) -> None:
    fill(embedded.url, 0, 1)

    lines = run(line_file).output.splitlines()

    assert len(lines) == 2
    assert "NG" in lines[0]
    assert "cam1/r/000000" in lines[0]
    assert "  part-0.png  2 x scratch (major)" in lines[0]
    assert "2026-11-23T" in lines[0]


def test_alerts_of_a_stopped_line_are_still_there(line_file: Path, data_dir: Path) -> None:
    with EmbeddedRedis(data_dir) as server:
        fill(server.url, 0, 1, 2)

    assert len(run(line_file).output.splitlines()) == 3


def test_a_line_that_never_ran_has_no_store_to_read(line_file: Path) -> None:
    with pytest.raises(MissingResource, match="f2p run"):
        run(line_file)


def test_json_gives_one_object_for_each_alert(line_file: Path, embedded: EmbeddedRedis) -> None:
    fill(embedded.url, 7)

    (line,) = run(line_file, "--json").output.splitlines()

    alert = json.loads(line)
    assert (alert["frame_id"], alert["verdict"], alert["part_id"]) == ("cam1/r/000007", "NG", None)
    assert alert["data"]["defects"][0]["class"] == "scratch"


def test_a_group_shows_each_alert_once(line_file: Path, embedded: EmbeddedRedis) -> None:
    fill(embedded.url, 0, 1)
    first = run(line_file, "--group", "g", "--consumer", "c")
    fill(embedded.url, 2)

    second = run(line_file, "--group", "g", "--consumer", "c")

    assert len(first.output.splitlines()) == 2
    assert [line.split()[3] for line in second.output.splitlines()] == ["cam1/r/000002"]


def test_verify_holds_for_a_complete_line(line_file: Path, embedded: EmbeddedRedis) -> None:
    fill(embedded.url, 0, 1, 2)

    result = run("verify", line_file)

    assert result.exit_code == 0
    assert "no gap, no double" in result.output


def test_verify_fails_on_a_gap_and_names_the_frame(line_file: Path, embedded: EmbeddedRedis) -> None:
    fill(embedded.url, 0, 1, 3)

    result = run("verify", line_file)

    assert result.exit_code == 1
    assert "FAILED" in result.output
    assert "seq [2]" in result.output


def test_verify_tells_doubles_as_json(line_file: Path, embedded: EmbeddedRedis) -> None:
    fill(embedded.url, 0, 1)
    with redis.Redis.from_url(embedded.url) as client:
        ((_, fields), *_) = client.xrange("f2p:{demo}:results")
        client.xadd("f2p:{demo}:results", fields)

    result = run("verify", line_file, "--json")

    assert result.exit_code == 1
    report = json.loads(result.output)
    assert report["holds"] is False
    assert report["runs"][0]["doubled"] == ["cam1/r/000000"]


def test_a_store_that_is_away_is_an_error_and_not_an_empty_list(line_file: Path) -> None:
    line_file.write_text(LINE.replace("embedded", "redis://127.0.0.1:1"))

    with pytest.raises(StoreAway, match="does not serve"):
        run(line_file)


@pytest.mark.parametrize("words", [["verify"], ["verfy", "line.yaml"]])
def test_a_misspelt_command_line_says_what_is_wanted(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="f2p alerts"):
        run(*words)


def test_follow_goes_on_over_a_restart_of_the_line(line_file: Path, data_dir: Path) -> None:
    program = "import sys, typer; from pipeline.commands.records.alerts import alerts; typer.run(alerts)"
    with EmbeddedRedis(data_dir) as first:
        follower = subprocess.Popen(
            [sys.executable, "-u", "-c", program, str(line_file), "--follow", "--group", "g"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            fill(first.url, 0)
            before = read_line(follower)
            wait_until_acknowledged(first.url, "g")  # else the alert comes once more, as it should
            first.stop()
            with EmbeddedRedis(data_dir) as second:
                fill(second.url, 1)
                after = read_line(follower)
        finally:
            os.kill(follower.pid, signal.SIGINT)
            follower.wait(LIMIT_S)
            assert follower.stdout is not None
            follower.stdout.close()

    assert "cam1/r/000000" in before
    assert "cam1/r/000001" in after


def wait_until_acknowledged(url: str, group: str) -> None:
    """Return once nothing that the group was given is pending."""
    deadline = time.monotonic() + LIMIT_S
    with redis.Redis.from_url(url, protocol=2, socket_timeout=5) as client:
        while client.xpending("f2p:{demo}:alerts", group)["pending"]:
            assert time.monotonic() < deadline, f"group {group} acknowledged nothing for {LIMIT_S} s"
            time.sleep(0.02)


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints; the process is ended when it prints none in time."""
    guard = threading.Timer(LIMIT_S, process.kill)
    guard.start()
    try:
        output: IO[str] | None = process.stdout
        assert output is not None
        return output.readline()
    finally:
        guard.cancel()
