"""An hour of reloads on a running line, among strangers: `python -m tests.chaos.reload_soak --minutes 60 --out DIR`.

Each minute one reload changes the rings of one camera, turns another to other pictures, and takes a third out or in
again, while strangers crowd every port. At the end every picture must be accounted for, and nothing may have grown.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil
import yaml

from pipeline.store.embedded.server import EmbeddedRedis
from tests.chaos.camera import FailingCamera
from tests.chaos.campaign import audited, trend, verified
from tests.chaos.changes import SLOTS
from tests.chaos.line import CAMERAS, LIVE, NAME, CampaignLine, free_ports
from tests.chaos.numbered import write_pictures
from tests.chaos.soak_command import soak_command
from tests.chaos.strangers import answers, crowd
from tests.chaos.watch import AlertReader, ArrivalWatch

FPS = 5.0
RELOAD_S = 60.0
RECOVERY_LIMIT_S = 45.0
RESIZED, TURNED, VISITOR = CAMERAS[0], "turned", "visitor"
FOLDERS = ("parts", "other-parts")


class Strangers:
    """Crowds that come to every port again and again, and somebody else who asks meanwhile."""

    PAUSE_S = 10.0

    def __init__(self, ports: list[int], pages: dict[str, int]) -> None:
        """`pages`: paths that must be answered, by port."""
        self.crowds = self.asked = self.answered = 0
        self._ports, self._pages = ports, pages
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(60)

    def _run(self) -> None:
        chance = random.Random(1)
        while not self._closing.wait(self.PAUSE_S):
            with crowd(self._ports, chance):
                self.crowds += 1
                for path, port in self._pages.items():
                    self.asked += 1
                    self.answered += answers(port, path)


def run(minutes: float, folder: Path) -> dict[str, Any]:
    """The soak; the report."""
    for name in FOLDERS:
        write_pictures(folder / name)
    with FailingCamera(FPS, seed=1) as live:
        line = CampaignLine(folder, _cameras(live.url))
        (metrics_port,) = free_ports(1)
        _edit(line, {"metrics": {"port": metrics_port}})
        arrivals, alerts = ArrivalWatch(lambda: line.url, NAME), AlertReader(lambda: line.url, NAME)
        strangers = Strangers([*line.ports, metrics_port], {"/api/state": line.page_port, "/healthz": metrics_port})
        samples: list[dict[str, float]] = []
        took_s: list[float] = []
        lost: list[str] = []
        try:
            line.start()
            arrivals.start()
            alerts.start()
            began_s = time.monotonic()
            with strangers:
                for turn in range(1, round(minutes) + 1):
                    since_ns, present = time.time_ns(), _reload(line, live.url, turn)
                    recovered_s = arrivals.recovered_s(since_ns, present, RECOVERY_LIMIT_S)
                    if recovered_s is None:
                        lost.append(f"reload {turn}: no verdict of {sorted(present)} in {RECOVERY_LIMIT_S} s")
                    else:
                        took_s.append(recovered_s)
                    time.sleep(max(0.0, began_s + turn * RELOAD_S - time.monotonic()))
                    if VISITOR in present:
                        samples.append({"minute": turn} | _sample(line))
            arrivals.close()
            alerts.close()
            summary = line.end()
            agrees = verified(line)
            with EmbeddedRedis(line.spool / "embedded-redis") as server:
                found = audited(server.url, alerts, line)
        finally:
            line.close()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count()},
        "minutes": minutes,
        "reloads": round(minutes),
        "not_recovered": lost,
        "recovery_s": {"p50": round(statistics.median(took_s), 2), "worst": round(max(took_s), 2)},
        "strangers": {"crowds": strangers.crowds, "asked": strangers.asked, "answered": strangers.answered},
        "ledger_balanced": summary["exit_code"] == 0,
        "f2p_alerts_verify": agrees,
        "audit": found,
        "trend": {name: trend([sample[name] for sample in samples]) for name in samples[-1] if name != "minute"},
        "samples": samples,
    }


def holds(report: dict[str, Any]) -> bool:
    """Whether the line kept its promises, and answered others."""
    return bool(
        report["audit"]["holds"]
        and report["ledger_balanced"]
        and report["f2p_alerts_verify"]
        and not report["not_recovered"]
        and report["strangers"]["answered"] == report["strangers"]["asked"]
    )


def _cameras(live_url: str, turn: int = 0) -> list[dict[str, Any]]:
    """The cameras after so many reloads."""
    first, other = FOLDERS[turn % 2], FOLDERS[(turn + 1) % 2]
    slots = SLOTS[turn % len(SLOTS)]
    cameras = [
        _folder_camera(RESIZED, FOLDERS[0], slots),
        _folder_camera(TURNED, first, 32),
        *([_folder_camera(VISITOR, other, 16)] if turn % 2 == 0 else []),
    ]
    live = {"id": LIVE, "source": {"kind": "mjpeg", "url": live_url, "timeout_s": 5.0}}
    return [*cameras, live | {"ring_slots": SLOTS[turn // 2 % len(SLOTS)]}]


def _folder_camera(name: str, folder: str, slots: int) -> dict[str, Any]:
    source = {"kind": "folder", "path": folder, "fps": FPS, "loop": True}
    return {"id": name, "source": source, "ring_slots": slots, "on_overload": "block"}


def _reload(line: CampaignLine, live_url: str, turn: int) -> set[str]:
    """Put the next cameras in force; their ids."""
    cameras = _cameras(live_url, turn)
    _edit(line, {"cameras": cameras})
    assert line.process is not None
    line.process.send_signal(signal.SIGHUP)
    return {camera["id"] for camera in cameras}


def _edit(line: CampaignLine, changes: dict[str, Any]) -> None:
    line.file.write_text(yaml.safe_dump(yaml.safe_load(line.file.read_text()) | changes, sort_keys=False))


def _sample(line: CampaignLine) -> dict[str, float]:
    """Memory without Redis, whose data grow along, and open files, threads and processes of the whole line."""
    figures = {"memory_mb": round(line.memory_mb(), 1), "files": 0, "threads": 0, "processes": 0}
    for process in line.processes():
        with contextlib.suppress(psutil.Error):
            figures["files"] += process.num_fds()
            figures["threads"] += process.num_threads()
            figures["processes"] += 1
    return figures


if __name__ == "__main__":
    soak_command(__doc__, run, holds)
