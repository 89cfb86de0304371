"""Two hosts on one machine: network namespaces joined by a virtual cable. Needs root and iproute2."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ADDRESS_A, ADDRESS_B = "10.93.7.1", "10.93.7.2"


@dataclass(frozen=True)
class TwoHosts:
    """`a` and `b` are the namespaces."""

    a: str
    b: str

    def on(self, host: str, command: list[str]) -> list[str]:
        """The command line that runs `command` on that host."""
        return ["ip", "netns", "exec", host, *command]

    def cable(self, state: str) -> None:
        """Pull ("down") or plug in ("up") the cable."""
        _ip("-n", self.a, "link", "set", "wire", state)


@contextmanager
def two_hosts() -> Iterator[TwoHosts | None]:
    """None where namespaces may not be made."""
    hosts = TwoHosts(f"f2p-a-{os.getpid()}", f"f2p-b-{os.getpid()}")
    try:
        if not _made(hosts):
            yield None
            return
        yield hosts
    finally:
        for name in (hosts.a, hosts.b):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=10, check=False)


def _made(hosts: TwoHosts) -> bool:
    try:
        for name in (hosts.a, hosts.b):
            _ip("netns", "add", name)
        _ip("-n", hosts.a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", hosts.b)
        for name, address in ((hosts.a, ADDRESS_A), (hosts.b, ADDRESS_B)):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire")
            for device in ("lo", "wire"):
                _ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, timeout=10, check=True)
