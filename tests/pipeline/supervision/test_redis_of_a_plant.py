"""A whole line against Redis as plants run it: passwords, TLS, full memory, slow networks, Sentinel, clusters."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from f2pnet import subscribe
from f2pnet.alerts.subscription import Subscription
from f2pnet.inspection.result import Verdict
from tests.pipeline.harness import LineUnderTest, is_bright, results_in
from tests.servers.redis_servers import (
    PASSWORD,
    RedisServer,
    await_that,
    certificates,
    cluster,
    need_redis_server,
    sentinel_group,
)
from tests.servers.slow_proxy import SlowProxy

PICTURES = 90


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    need_redis_server()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", "--requirepass", PASSWORD, password=PASSWORD) as running:
        yield running


def check_each_once(url: str) -> None:
    """Each frame is in the store once, with the verdict that its own picture calls for."""
    verdicts = [(int(entry["frame_id"].rpartition("/")[2]), entry["verdict"]) for entry in results_in(url, "bar")]
    assert sorted(verdicts) == [(n, "NG" if is_bright(n) else "OK") for n in range(PICTURES)]


def f2p(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "f2pnet.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_password_that_is_changed_stops_nothing_and_is_told_nowhere(line: LineUnderTest, server: RedisServer) -> None:
    url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
    line.config["publish"]["redis"] = url
    line.config["cameras"][0]["source"]["fps"] = 15
    line.start()
    line.pid_of("infer", seen=5)
    client = server.client()
    client.config_set("requirepass", "another")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    time.sleep(1.5)
    client.config_set("requirepass", PASSWORD)
    summary = line.finish()
    assert summary["alerts"]["spooled"] > 0
    check_each_once(url)
    assert "refuses the login" in line.output
    assert PASSWORD not in line.output


def test_a_wrong_password_is_told_before_anything_starts(line: LineUnderTest, server: RedisServer) -> None:
    line.config["publish"]["redis"] = f"redis://:wr0ng@127.0.0.1:{server.port}"
    line.start()
    assert line.process is not None
    output, _ = line.process.communicate(timeout=60)
    assert line.process.returncode == 3
    assert "refuses the login" in output
    assert "wr0ng" not in output


def test_a_line_over_tls(line: LineUnderTest, tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    settings = ["--tls-cert-file", str(files / "server.crt"), "--tls-key-file", str(files / "server.key")]
    settings += ["--tls-ca-cert-file", str(files / "ca.crt"), "--tls-auth-clients", "no"]
    with RedisServer(tmp_path / "redis", *settings, ssl=True, ssl_ca_certs=str(files / "ca.crt")) as server:
        address = f"rediss://127.0.0.1:{server.port}/0"
        line.config["publish"]["redis"] = f"{address}?ssl_ca_certs={files / 'ca.crt'}"
        line.run()
        check_each_once(line.config["publish"]["redis"])
        line.config["publish"]["redis"] = address  # nobody we trust signed its certificate
        line.start()
        assert line.process is not None
        output, _ = line.process.communicate(timeout=60)
    assert line.process.returncode == 3
    assert "certificate verify failed" in output


def test_full_memory_fills_the_spool_and_loses_nothing(line: LineUnderTest, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", "--maxmemory-policy", "noeviction") as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        line.config["publish"]["redis"] = url
        line.config["cameras"][0]["source"]["fps"] = 15
        line.start()
        line.pid_of("infer", seen=5)
        server.client().config_set("maxmemory", 1)
        time.sleep(2.0)
        server.client().config_set("maxmemory", 0)
        summary = line.finish()
        assert summary["alerts"]["spooled"] > 0
        assert "raise its maxmemory" in line.output
        check_each_once(url)


def test_a_slow_redis_costs_latency_and_no_verdict(line: LineUnderTest, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        proxy = SlowProxy(server.port, delay_s=0.12)
        line.config["publish"]["redis"] = f"redis://127.0.0.1:{proxy.port}/0"
        summary = line.run()
        proxy.close()
        check_each_once(f"redis://127.0.0.1:{server.port}/0")
        assert summary["latency_ms"]["total"]["p50"] > 120
        assert summary["cameras"]["cam1"]["dropped"] == {}


def test_a_new_master_takes_over_with_every_verdict(line: LineUnderTest, tmp_path: Path) -> None:
    with sentinel_group(tmp_path / "redis") as (master, replicas, sentinel):
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/f2p/0"
        line.config["publish"] |= {"redis": url, "min_replicas": 1}
        line.config["cameras"][0]["source"]["fps"] = 15
        line.start()
        line.pid_of("infer", seen=20)
        told: list[str] = []
        with subscribe(url, "bar", group="gate", consumer="one", since="0", block_ms=200) as subscription:
            told += ng_alerts(subscription, at_most=5)
            master.kill()
            await_that(lambda: "master" in [replica.client().info("replication")["role"] for replica in replicas])
            summary = line.finish()
            told += ng_alerts(subscription)
        check_each_once(url)
    assert summary["alerts"]["spooled"] > 0
    assert len(told) == len(set(told)) == sum(map(is_bright, range(PICTURES)))


def ng_alerts(subscription: Subscription, at_most: int = PICTURES) -> list[str]:
    """Frames of the NG alerts that come until none came for 5 s; each is acknowledged."""
    found: list[str] = []
    while len(found) < at_most and (alert := subscription.read(timeout_s=5)) is not None:
        if alert.verdict is Verdict.NG:
            found.append(alert.frame_id)
        alert.ack()
    return found


def test_a_cluster_s_node_is_found_and_alerts_are_read_from_it(line: LineUnderTest, tmp_path: Path) -> None:
    with cluster(tmp_path / "redis") as nodes:
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        line.config["publish"]["redis"] = url
        line.run()
        owners = [node for node in nodes if node.client().dbsize()]
        assert len(owners) == 1, "all keys of a line lie in one slot"
        check_each_once(url)
        assert f2p("alerts", "verify", str(line.file)).returncode == 0
        other = next(node for node in nodes if node not in owners)
        with subscribe(f"redis+cluster://127.0.0.1:{other.port}", "bar", since="0", block_ms=200) as alerts:
            assert sum(1 for alert in alerts.iter(timeout_s=2) if alert.verdict is Verdict.NG) == PICTURES // 3
