"""What a campaign does to a line, and from when on the line has to be well again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable

from f2pnet.backends.simulated.device import Fault, fault_file, order_fault
from tests.chaos.camera import FailingCamera, Mood
from tests.chaos.changes import (
    OWN_MEMORY_KEY,
    edit_files,
    fill_memory,
    remove_rings,
    remove_run_folder,
    resize_rings,
    take_descriptors,
)
from tests.chaos.line import CAMERAS, LIVE, NAME, CampaignLine
from tests.chaos.strangers import answers, crowd, with_store, write_foreign_data
from tests.small_disk import fill
from tests.two_hosts import TwoHosts

DELETED_S = 20.0
TAKEN_S = 10.0  # until a batch has met the device's fault
DEATHS_ALLOWED = 5  # of a worker in a minute: at 8 the line gives up, as it should

Injected = tuple[int, set[str]]
"""UTC ns from which recovery counts, and the cameras that have to come back."""

EVERYBODY = {*CAMERAS, LIVE}


class Faults:
    """Each method with the name of a kind does that to the line; None: not possible just now."""

    def __init__(self, line: CampaignLine, camera: FailingCamera, chance: random.Random) -> None:
        self._line = line
        self._camera = camera
        self._chance = chance
        self._deaths_s: dict[str, deque[float]] = {}
        self.kinds: dict[str, tuple[float, Callable[[], Injected | None]]] = {
            "kill infer": (10, lambda: self._kill("infer-")),
            "kill publish": (6, lambda: self._kill("publish")),
            "kill ingest": (12, lambda: self._kill("ingest-")),
            "pause infer": (12, lambda: self._pause("infer-")),
            "pause publish": (8, lambda: self._pause("publish")),
            "pause ingest": (10, lambda: self._pause("ingest-")),
            "hang infer": (1, lambda: self._hang("infer-")),
            "hang publish": (0.7, lambda: self._hang("publish")),
            "hang ingest": (0.7, lambda: self._hang("ingest-")),
            "slow infer": (5, lambda: self._slow("infer-")),
            "clock jumps": (4, self._jump),
            "kill redis": (6, lambda: self._kill_process(self._line.redis_pid)),
            "kill fork server": (2, lambda: self._kill_process(self._line.fork_server_pid)),
            "pause redis": (8, self._pause_redis),
            "camera gone": (7, lambda: self._upset("gone", 0.3, 1.5)),
            "camera frozen": (4, lambda: self._upset("frozen", 0.3, 2.5)),
            "camera garbage": (7, lambda: self._upset("garbage", 0.2, 1.0)),
            "kill line": (0.7, self._kill_line),
            "disk full": (1.5, self._fill_disk),
            "store deleted": (1.5, self._delete_store),
            "foreign data": (5, self._write_foreign_data),
            "strangers": (4, self._crowd_ports),
            "files edited": (3, self._edit_files),
            "rings resized": (3, self._resize_rings),
            "rings removed": (4, self._remove_rings),
            "run folder removed": (3, self._remove_run_folder),
            "memory full": (3, self._fill_memory),
            "descriptors short": (3, self._take_descriptors),
        }
        if OWN_MEMORY_KEY not in os.environ:
            del self.kinds["memory full"]
        if not os.path.ismount(line.spool):
            del self.kinds["disk full"]
        if line.device is not None:
            self.kinds["device hangs"] = (6, lambda: self._upset_device("hang"))
            self.kinds["device dies"] = (10, lambda: self._upset_device("die"))
            self.kinds["device answers NaN"] = (10, lambda: self._upset_device("nan"))
        if line.hosts is not None:
            self.kinds["network cut"] = (15, lambda hosts=line.hosts: self._cut(hosts))

    def inject(self) -> tuple[str, Injected]:
        """One fault of a kind drawn by weight."""
        while True:
            names = list(self.kinds)
            kind = self._chance.choices(names, [self.kinds[name][0] for name in names])[0]
            if injected := self.kinds[kind][1]():
                return kind, injected

    def _chosen(self, prefix: str) -> tuple[str, int] | None:
        running = sorted((name, pid) for name, pid in self._line.workers().items() if name.startswith(prefix))
        return self._chance.choice(running) if running else None

    def _may_die(self, name: str) -> bool:
        deaths = self._deaths_s.setdefault(name, deque())
        while deaths and time.monotonic() - deaths[0] > 62:
            deaths.popleft()
        if len(deaths) >= DEATHS_ALLOWED:
            return False
        deaths.append(time.monotonic())
        return True

    def _kill(self, prefix: str) -> Injected | None:
        chosen = self._chosen(prefix)
        if chosen is None or not self._may_die(chosen[0]):
            return None
        since_ns = time.time_ns()
        with contextlib.suppress(ProcessLookupError):
            os.kill(chosen[1], signal.SIGKILL)
        return since_ns, _cameras_of(chosen[0])

    def _pause(self, prefix: str) -> Injected | None:
        chosen = self._chosen(prefix)
        if chosen is None:
            return None
        self._stop_for(chosen[1], self._chance.uniform(0.1, 1.5))
        return time.time_ns(), _cameras_of(chosen[0])

    def _upset_device(self, fault: Fault) -> Injected | None:
        """The next batch of one of the workers takes it."""
        device = self._line.device
        if device is None or (fault != "nan" and not all(self._may_die(name) for name in self._infer_workers())):
            return None
        order_fault(device, fault)
        until_s = time.monotonic() + TAKEN_S
        while fault_file(device).exists() and time.monotonic() < until_s:
            time.sleep(0.01)
        return time.time_ns(), EVERYBODY

    def _infer_workers(self) -> list[str]:
        return [name for name in self._line.workers() if name.startswith("infer-")]

    def _slow(self, prefix: str) -> Injected | None:
        """A process that gets a tenth of its time, as on a machine that something else keeps busy."""
        chosen = self._chosen(prefix)
        if chosen is None:
            return None
        until_s = time.monotonic() + self._chance.uniform(0.5, 2.0)
        while time.monotonic() < until_s:
            self._stop_for(chosen[1], 0.09)
            time.sleep(0.01)
        return time.time_ns(), _cameras_of(chosen[0])

    def _jump(self) -> Injected:
        """Somebody sets the clock back by up to an hour, and right again."""
        self._line.put_clock_wrong(-int(self._chance.uniform(1, 3600) * 1e9))
        time.sleep(self._chance.uniform(0.5, 2.0))
        self._line.put_clock_wrong(0)
        return time.time_ns(), EVERYBODY

    def _cut(self, hosts: TwoHosts) -> Injected:
        """Somebody pulls the cable to the other host, and plugs it in again."""
        hosts.cable("down")
        time.sleep(self._chance.uniform(0.3, 4.0))
        hosts.cable("up")
        return time.time_ns(), EVERYBODY

    def _hang(self, prefix: str) -> Injected | None:
        """Stopped for good: the supervisor has to notice and to replace it."""
        chosen = self._chosen(prefix)
        if chosen is None or not self._may_die(chosen[0]):
            return None
        since_ns = time.time_ns()
        with contextlib.suppress(ProcessLookupError):
            os.kill(chosen[1], signal.SIGSTOP)
        return since_ns, _cameras_of(chosen[0])

    @staticmethod
    def _kill_process(pid: int | None) -> Injected | None:
        if pid is None:
            return None
        since_ns = time.time_ns()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return since_ns, EVERYBODY

    def _pause_redis(self) -> Injected | None:
        pid = self._line.redis_pid
        if pid is None:
            return None
        self._stop_for(pid, self._chance.uniform(0.2, 3.0))
        return time.time_ns(), EVERYBODY

    def _upset(self, mood: Mood, shortest_s: float, longest_s: float) -> Injected:
        self._camera.mood = mood
        time.sleep(self._chance.uniform(shortest_s, longest_s))
        self._camera.mood = "well"
        return time.time_ns(), {LIVE}

    def _kill_line(self) -> Injected:
        self._line.kill()
        since_ns = time.time_ns()
        self._line.start()
        return since_ns, EVERYBODY

    def _delete_store(self) -> Injected | None:
        """Somebody deletes the folder of the embedded store; it has to be there again, with all that was in it."""
        folder = self._line.spool / "embedded-redis"
        if self._line.redis_pid is None:
            return None
        shutil.rmtree(folder)
        until_s = time.monotonic() + DELETED_S
        while self._line.redis_pid is None and time.monotonic() < until_s:
            time.sleep(0.05)
        return time.time_ns(), EVERYBODY

    def _write_foreign_data(self) -> Injected | None:
        since_ns = time.time_ns()
        wrote = with_store(lambda: self._line.url, lambda url: write_foreign_data(url, NAME, self._chance))
        return (since_ns, EVERYBODY) if wrote else None

    def _crowd_ports(self) -> Injected:
        with crowd(self._line.ports, self._chance):
            assert answers(self._line.page_port, "/api/state"), "strangers keep the page from others"
        return time.time_ns(), EVERYBODY

    def _edit_files(self) -> Injected | None:
        chosen = self._chosen(self._chance.choice(["infer-", "ingest-", "publish"]))
        if chosen is None or not self._may_die(chosen[0]):
            return None
        edit_files(self._line, self._chance, then_kill=chosen[1])
        return time.time_ns(), EVERYBODY

    def _resize_rings(self) -> Injected:
        chosen = resize_rings(self._line, self._chance)
        return time.time_ns(), chosen

    def _remove_rings(self) -> Injected | None:
        """By chance, an ingest worker dies in the same moment."""
        chosen = self._chosen("ingest-")
        remove_rings(self._line, self._chance)
        since_ns = time.time_ns()
        if chosen is not None and self._chance.random() < 0.5 and self._may_die(chosen[0]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chosen[1], signal.SIGKILL)
        return since_ns, EVERYBODY

    def _remove_run_folder(self) -> Injected | None:
        """By chance, a worker has to find the others just then."""
        remove_run_folder(self._line, self._chance)
        chosen = self._chosen(self._chance.choice(["infer-", "ingest-", "publish"]))
        since_ns = time.time_ns()
        if chosen is not None and self._chance.random() < 0.7 and self._may_die(chosen[0]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chosen[1], signal.SIGKILL)
        return since_ns, EVERYBODY

    def _fill_memory(self) -> Injected:
        fill_memory(self._chance)
        return time.time_ns(), EVERYBODY

    def _take_descriptors(self) -> Injected | None:
        chosen = self._chosen(self._chance.choice(["infer-", "ingest-", "publish"]))
        if chosen is None:
            return None
        take_descriptors(chosen[1], self._chance)
        return time.time_ns(), EVERYBODY

    def _fill_disk(self) -> Injected:
        ballast = fill(self._line.spool)
        time.sleep(self._chance.uniform(0.5, 3.0))
        ballast.unlink()
        return time.time_ns(), EVERYBODY

    @staticmethod
    def _stop_for(pid: int, seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)


def _cameras_of(worker: str) -> set[str]:
    """The cameras whose verdicts stop when the worker does."""
    return {worker.removeprefix("ingest-")} if worker.startswith("ingest-") else set(EVERYBODY)
