"""What an open page is told, read without a browser."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import cv2
import numpy as np
import pytest

from f2pnet.redis.endpoint import find_embedded
from f2pnet.redis.link import RedisLink
from tests.pipeline.console.browser import await_that
from tests.pipeline.harness import LineUnderTest, is_bright

READ_S = 10.0


@pytest.fixture
def port(line: LineUnderTest, free_ports: list[int]) -> int:
    """Of the page of a running line of endless pictures."""
    line.config["cameras"][0]["source"] |= {"loop": True, "fps": 5}
    line.config["console"] = {"port": free_ports[0]}
    line.start("--duration", "60")
    await_that(lambda: accepts(free_ports[0]))
    line.pid_of("infer", seen=1)
    return free_ports[0]


def accepts(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READ_S)
    with closing(connection):
        try:
            connection.request("GET", "/login")
        except OSError:
            return False
        return connection.getresponse().status == 200


def events(connection: http.client.HTTPConnection) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each, as a browser's EventSource reads them."""
    connection.request("GET", "/api/live")
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    until_s = time.monotonic() + 3 * READ_S
    while time.monotonic() < until_s:
        name, data, empty = (answer.readline().decode().rstrip("\n") for _ in range(3))
        assert (name[:7], data[:6], empty) == ("event: ", "data: ", "")
        yield name[7:], json.loads(data[6:])
    raise AssertionError("the events wanted did not come")


def test_a_page_is_told_the_state_the_alerts_and_the_pictures(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=READ_S)) as connection:
        told: dict[str, dict[str, Any]] = {}
        seqs: list[int] = []
        for name, content in events(connection):
            told[name] = content
            if name == "picture":
                seqs.append(content["seq"])
                pixels = cv2.imdecode(np.frombuffer(base64.b64decode(content["jpeg"]), np.uint8), cv2.IMREAD_GRAYSCALE)
                assert pixels.shape == (48, 48)
                assert bool(pixels[20, 20] > 128) == is_bright(content["seq"] % 90) == (content["verdict"] == "NG")
            if len(seqs) > 8 and len(told) == 3:
                break
    assert len(set(seqs)) == len(seqs), "a picture is told once"
    assert told["state"]["cameras"]["cam1"]["balanced"]
    alerts = told["alerts"]["items"]
    assert [item["verdict"] for item in alerts] == ["NG"] * len(alerts)
    assert [item["id"] for item in alerts] == sorted((item["id"] for item in alerts), reverse=True)


def test_nobody_looks_when_no_page_is_open(line: LineUnderTest, port: int) -> None:
    with closing(RedisLink(find_embedded(line.spool / "embedded-redis"), timeout_s=5)) as store:

        def looks() -> int:
            (text,) = store.exchange(["INFO", "commandstats"])
            rows = (row for row in text.decode().splitlines() if row.startswith("cmdstat_hgetall:"))  # the state
            return sum(int(row.partition("calls=")[2].partition(",")[0]) for row in rows)

        before = looks()
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=READ_S)) as connection:
            next(name for name, _ in events(connection) if name == "picture")
            assert looks() > before
        time.sleep(1)  # the look that was under way
        before = looks()
        time.sleep(1.5)
        assert looks() == before


def test_a_store_that_hangs_is_told_and_the_page_goes_on_when_it_is_back(line: LineUnderTest, port: int) -> None:
    pid = json.loads((line.spool / "embedded-redis" / "endpoint.json").read_text())["pid"]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=READ_S)) as connection:
        stream = events(connection)
        next(name for name, _ in stream if name == "state")
        os.kill(pid, signal.SIGSTOP)
        try:
            trouble = next(content for name, content in stream if name == "trouble")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "Redis at" in trouble["error"]
        assert next(content for name, content in stream if name == "state")["cameras"]["cam1"]["balanced"]
