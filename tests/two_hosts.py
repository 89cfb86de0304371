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
    """`a` and `b` are namespaces; `a` None: this machine itself."""

    a: str | None
    b: str
    wire: str = "wire"  # the end of the cable at `a`

    def on(self, host: str | None, command: list[str]) -> list[str]:
        """The command line that runs `command` on that host."""
        return command if host is None else ["ip", "netns", "exec", host, *command]

    def cable(self, state: str) -> None:
        """Pull ("down") or plug in ("up") the cable."""
        _ip(*_in(self.a), "link", "set", self.wire, state)


@contextmanager
def two_hosts(*, first_is_here: bool = False) -> Iterator[TwoHosts | None]:
    """None where namespaces may not be made."""
    b = f"f2p-b-{os.getpid()}"
    hosts = TwoHosts(None, b, f"f2p{os.getpid()}") if first_is_here else TwoHosts(f"f2p-a-{os.getpid()}", b)
    try:
        if not _made(hosts):
            yield None
            return
        yield hosts
    finally:
        for name in filter(None, (hosts.a, hosts.b)):  # the cable goes with its end
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=10, check=False)


def _made(hosts: TwoHosts) -> bool:
    try:
        for name in filter(None, (hosts.a, hosts.b)):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip(*_in(hosts.a), "link", "add", hosts.wire, "type", "veth", "peer", "name", "wire", "netns", hosts.b)
        for name, address, wire in ((hosts.a, ADDRESS_A, hosts.wire), (hosts.b, ADDRESS_B, "wire")):
            _ip(*_in(name), "addr", "add", f"{address}/24", "dev", wire)
            _ip(*_in(name), "link", "set", wire, "up")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _in(name: str | None) -> list[str]:
    return [] if name is None else ["-n", name]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, timeout=10, check=True)
