"""Sinks of a running line: each alert arrives, whatever happens to worker or receiver."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from f2pnet.redis.link import RedisLink
from pipeline.store.embedded.server import EmbeddedRedis
from tests.pipeline.harness import LineUnderTest
from tests.pipeline.sinks.receivers import webhook_receiver

NG = 30  # of the line's 90 pictures


def frames_in(path: Path) -> Counter[str]:
    return Counter(json.loads(line)["frame_id"] for line in path.read_text().splitlines())


def sink_row(status: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((row for row in status["workers"] if row["name"] == name), None)


def test_a_killed_sink_worker_goes_on_where_it_stood(line: LineUnderTest) -> None:
    line.config["publish"]["sinks"] = [{"kind": "jsonl", "name": "file", "path": "alerts.jsonl"}]
    line.config["cameras"][0]["source"]["loop"] = True
    line.start()
    line.await_status(lambda status: status["cameras"]["cam1"]["ng"] > 10)
    pid = line.await_status(lambda status: sink_row(status, "sink-file"))["pid"]
    os.kill(pid, signal.SIGKILL)
    line.await_status(lambda status: (sink_row(status, "sink-file") or {}).get("pid") not in (None, pid))
    line.interrupt()
    line.finish()
    told = {entry["frame_id"] for entry in line.stored("alerts")}
    frames = frames_in(line.folder / "alerts.jsonl")
    assert set(frames) == told
    assert sum(frames.values()) <= len(told) + 1, "at most the alert in hand comes twice"


def test_an_absent_receiver_delays_nobody_and_gets_all_when_it_is_back(line: LineUnderTest) -> None:
    back = threading.Event()
    with webhook_receiver(lambda number, body: 200 if back.is_set() else 503) as (url, received):
        line.config["publish"]["sinks"] = [
            {"kind": "webhook", "name": "mes", "url": url},
            {"kind": "jsonl", "name": "file", "path": "alerts.jsonl"},
        ]
        line.config["cameras"][0]["source"] |= {"loop": True, "fps": 10}
        line.start()
        line.await_status(lambda status: (sink_row(status, "sink-mes") or {}).get("state") == "waiting")
        file = line.folder / "alerts.jsonl"
        seen = len(file.read_text().splitlines()) if file.exists() else 0
        line.await_status(lambda status: file.exists() and len(file.read_text().splitlines()) > seen + 3)
        back.set()
        line.await_status(lambda status: (sink_row(status, "sink-mes") or {}).get("state") == "running")
        line.interrupt()
        line.finish()
        delivered = [json.loads(body)["frame_id"] for headers, body in received[-1:]]
        bodies = [json.loads(body)["frame_id"] for _, body in received]
    told = [entry["frame_id"] for entry in line.stored("alerts")]
    assert list(dict.fromkeys(bodies)) == told, "in order, without a gap"
    assert delivered == told[-1:]
    assert set(frames_in(file)) == set(told)


def test_an_alert_that_the_receiver_refuses_becomes_a_dead_letter_and_the_next_ones_go_on(line: LineUnderTest) -> None:
    with webhook_receiver(lambda number, body: 400 if b"/000003" in body else 200) as (url, received):
        line.config["publish"]["sinks"] = [{"kind": "webhook", "name": "mes", "url": url, "tries": 2}]
        line.run()
        counts = Counter(json.loads(body)["frame_id"].rsplit("/", 1)[1] for _, body in received)
    assert counts.pop("000003") == 2
    assert len(counts) == NG - 1
    assert set(counts.values()) == {1}
    with EmbeddedRedis(line.spool / "embedded-redis") as server:
        link = RedisLink(server.url)
        ((_, flat),) = link.exchange(["XRANGE", "f2p:{bar}:dead-letters", "-", "+"])[0]
        link.close()
    letter = dict(zip(flat[::2], flat[1::2], strict=True))
    assert letter[b"frame_id"].endswith(b"/000003")
    assert b"400" in letter[b"reason"]
    assert json.loads(letter[b"data"])["verdict"] == "NG"
