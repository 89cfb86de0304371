"""Real Redis servers on loopback, as plants run them: with passwords, TLS, replicas and a Sentinel, as a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis

from pipeline.processes.tethered import tethered

PROGRAM = "redis-server"
START_S = 15.0
PASSWORD = "s3cret-of-the-store"


def need_redis_server() -> None:
    """Skip the test, or fail it in CI, where Redis' own server is not installed (the embedded one has no TLS)."""
    if shutil.which(PROGRAM) is None:
        reason = "needs redis-server with TLS and Sentinel: apt-get install redis-server"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class RedisServer:
    """One server with these settings; `stop` and `start` keep its port and data."""

    def __init__(self, folder: Path, *settings: str, sentinel: bool = False, **client: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = folder / "redis.log"
        self._client_options = client
        port = ["--port", "0", "--tls-port", str(self.port)] if client.get("ssl") else ["--port", str(self.port)]
        self._command = [shutil.which(PROGRAM) or PROGRAM]
        if sentinel:
            (folder / "sentinel.conf").write_text("")
            self._command += [str(folder / "sentinel.conf"), "--sentinel"]
        self._command += [*port, "--bind", "127.0.0.1", "--dir", str(folder), "--logfile", str(self.log)]
        self._command += ["--save", "", *settings]

    def start(self) -> Self:
        self.process = subprocess.Popen(tethered(self._command), stdout=subprocess.DEVNULL)
        await_that(self._answers)
        return self

    def client(self) -> redis.Redis:
        return redis.Redis("127.0.0.1", self.port, socket_timeout=5, protocol=2, **self._client_options)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def certificates(folder: Path) -> Path:
    """A certificate authority (ca.crt) and a server's certificate (server.crt, server.key) for 127.0.0.1.

    With the extensions that Python 3.13 and newer insist on (RFC 5280: key usage, authority key identifier).
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = ["-nodes", "-newkey", "rsa:2048"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    authority = ["-days", "2", "-subj", "/CN=test ca", *usage, "-keyout", "ca.key", "-out", "ca.crt"]
    _openssl("req", "-x509", *key, *authority, folder=folder)
    _openssl("req", *key, "-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr", folder=folder)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    signed = ["-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    _openssl("x509", *signed, "-days", "2", "-extfile", "names", "-out", "server.crt", folder=folder)
    return folder


def _openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@contextmanager
def sentinel_group(folder: Path) -> Iterator[tuple[RedisServer, list[RedisServer], RedisServer]]:
    """Master, two replicas, and a Sentinel that names the master of `f2p` and replaces it within 2 s."""
    with ExitStack() as running:
        master = running.enter_context(RedisServer(folder / "master"))
        of_master = ["--replicaof", "127.0.0.1", str(master.port)]
        replicas = [running.enter_context(RedisServer(folder / f"replica{n}", *of_master)) for n in range(2)]
        await_that(lambda: master.client().info("replication")["connected_slaves"] == 2)
        for replica in replicas:
            await_that(lambda replica=replica: replica.client().info("replication")["master_link_status"] == "up")
        watched = ["--sentinel", "monitor", "f2p", "127.0.0.1", str(master.port), "1"]
        quick = ["--sentinel", "down-after-milliseconds", "f2p", "700", "--sentinel", "failover-timeout", "f2p", "3000"]
        sentinel = running.enter_context(RedisServer(folder / "sentinel", *watched, *quick, sentinel=True))
        await_that(lambda: len(sentinel.client().execute_command("SENTINEL", "REPLICAS", "f2p")) == 2)
        yield master, replicas, sentinel


@contextmanager
def cluster(folder: Path, nodes: int = 3) -> Iterator[list[RedisServer]]:
    """A cluster that serves all slots."""
    with ExitStack() as running:
        servers = [
            running.enter_context(
                RedisServer(folder / f"node{n}", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            )
            for n in range(nodes)
        ]
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        for server in servers:
            client = server.client()
            await_that(lambda client=client: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield servers


def await_that(condition: Callable[[], Any], limit_s: float = START_S) -> None:
    until_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until_s, f"not within {limit_s} s"
        time.sleep(0.05)
