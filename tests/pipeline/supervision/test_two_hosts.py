"""Cameras on one host, inference on another, keys and a cable between them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.wire.curve import write_keys
from tests.pipeline.harness import LineUnderTest, write_pictures
from tests.two_hosts import ADDRESS_A, TwoHosts, two_hosts

PICTURES = 240
F2P = [sys.executable, "-m", "f2pnet.cli"]


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        if made is None:
            pytest.skip("network namespaces need root and iproute2")
        yield made


@pytest.fixture
def on_two_hosts(line: LineUnderTest, tmp_path: Path) -> LineUnderTest:
    """The line's file for host a, and `line-b.yaml`, `line-stranger.yaml` beside it for others."""
    for name in ("a", "b", "stranger"):
        write_keys(tmp_path / "keys", name)
    (tmp_path / "keys/allowed").mkdir()
    for name in ("a", "b"):
        shutil.copy(tmp_path / f"keys/{name}.key", tmp_path / "keys/allowed")
    write_pictures(tmp_path / "parts", PICTURES)
    line.config["engine"]["workers"] = 0
    line.config["cameras"][0]["source"]["fps"] = 20
    for name in ("stranger", "b", "a"):
        line.config["transport"] = {
            "kind": "tcp",
            "host": ADDRESS_A,
            "ports": {"cam1": 5571, "publish": 5572, "alerts": 5573},
            "curve": {"key": f"keys/{name}.key_secret", "server_key": "keys/a.key", "allowed": "keys/allowed"},
        }
        (tmp_path / f"line-{name}.yaml").write_text(yaml.safe_dump(line.config))
    return line


def start(hosts: TwoHosts, host: str, *words: str) -> subprocess.Popen[str]:
    command = hosts.on(host, [*F2P, *words])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_stranger_gets_nothing_and_a_pulled_cable_loses_nothing(hosts: TwoHosts, on_two_hosts: LineUnderTest) -> None:
    folder = on_two_hosts.folder
    running = [
        start(hosts, hosts.a, "run", str(folder / "line-a.yaml"), "--no-console"),
        start(hosts, hosts.b, "worker", "infer", str(folder / "line-stranger.yaml"), "--name", "infer-x"),
    ]
    try:
        time.sleep(5)  # long enough for one that is let in: the other test's worker needs less than a second
        running[1].send_signal(signal.SIGTERM)
        words, _ = running[1].communicate(timeout=30)
        assert "Traceback" not in words
        let_in_at_ns = time.time_ns()
        running.append(start(hosts, hosts.b, "worker", "infer", str(folder / "line-b.yaml"), "--name", "infer-0"))
        time.sleep(4)
        hosts.cable("down")
        time.sleep(5)
        hosts.cable("up")
        output, _ = running[0].communicate(timeout=90)
        assert running[0].returncode == 0, output
        running[2].send_signal(signal.SIGTERM)
        running[2].communicate(timeout=30)
    finally:
        for process in running:
            process.kill()
            process.communicate(timeout=10)
    stored = on_two_hosts.stored()
    assert min(int(entry["captured_at_ns"]) for entry in stored) > let_in_at_ns, "the stranger was given frames"
    counts = Counter(int(entry["frame_id"].rsplit("/", 1)[1]) for entry in stored)
    assert counts == Counter(range(PICTURES))
    wrong = {
        entry["frame_id"]: entry["verdict"]
        for entry in stored
        if entry["verdict"] != ("NG" if int(entry["frame_id"].rsplit("/", 1)[1]) % 3 == 0 else "OK")
    }
    assert not wrong
