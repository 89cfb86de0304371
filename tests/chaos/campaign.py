"""A campaign of faults against a whole line: `python -m tests.chaos.campaign --faults 1000 --seed 1 --out DIR`.

Faults are drawn from a seed, one after another; the next one comes when the line is well again. At the end the line is
stopped in order, and everything that stands in its store is held against what its cameras showed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from pipeline.store.embedded.server import EmbeddedRedis
from tests.chaos.audit import audit
from tests.chaos.camera import FailingCamera
from tests.chaos.changes import OWN_MEMORY_KEY
from tests.chaos.faults import EVERYBODY, Faults
from tests.chaos.line import NAME, CampaignLine, campaign_cameras
from tests.chaos.watch import AlertReader, ArrivalWatch
from tests.small_disk import mount_small_disk, unmount
from tests.two_hosts import TwoHosts, two_hosts

FPS = 15.0
ACCELERATOR_LOAD = 0.8
RECOVERY_LIMIT_S = 60.0
FETCH_LIMIT_S = 60.0
DISK_MB = 1024  # the store of a long campaign, and what is left to be filled
MEMORY_MB = 256  # of shared memory, of which the rings take a few
SEED = 20261124


def run(
    faults: int,
    seed: int,
    folder: Path,
    hosts: TwoHosts | None = None,
    only: Collection[str] = (),
    accelerator: bool = False,
    minutes: float = math.inf,
) -> dict[str, Any]:
    """Run the campaign in `folder`; the report. With `hosts` a part of the line runs on the other one.

    `only`: kinds of faults to draw from; empty: all. `accelerator`: the engine is a simulated one, at four fifths of
    its rate. After `minutes` no further fault comes.
    """
    chance = random.Random(seed)
    rate = len(EVERYBODY) * FPS / ACCELERATOR_LOAD if accelerator else None
    times_s: dict[str, list[float]] = defaultdict(list)
    lost: list[str] = []
    memory_mb: list[float] = []
    began_s = time.monotonic()
    mount_small_disk(folder / "spool", DISK_MB)
    with FailingCamera(FPS, seed) as camera:
        line = CampaignLine(folder, campaign_cameras(folder, camera.url, FPS), hosts=hosts, accelerator=rate)
        arrivals, alerts = ArrivalWatch(lambda: line.url, NAME), AlertReader(lambda: line.url, NAME)
        try:
            line.start()
            arrivals.start()
            alerts.start()
            if arrivals.recovered_s(time.time_ns(), EVERYBODY, RECOVERY_LIMIT_S) is None:
                raise AssertionError(f"no verdict of every camera: see {folder}/line.log")
            descriptors = line.descriptors()
            injector = Faults(line, camera, chance)
            injector.kinds = {kind: how for kind, how in injector.kinds.items() if not only or kind in only}
            for number in range(faults):
                if time.monotonic() - began_s > 60 * minutes:
                    break
                kind, (since_ns, cameras) = injector.inject()
                took_s = arrivals.recovered_s(since_ns, cameras, RECOVERY_LIMIT_S)
                if took_s is None:
                    lost.append(f"fault {number}, {kind}: no verdict of {sorted(cameras)} in {RECOVERY_LIMIT_S} s")
                    break
                times_s[kind].append(took_s)
                memory_mb.append(line.memory_mb())
                time.sleep(chance.uniform(0.0, 0.4))
                if number % 25 == 24:
                    typer.echo(f"{number + 1} faults, {time.monotonic() - began_s:.0f} s")
            descriptors = line.descriptors() - descriptors
            arrivals.close()
            alerts.close()
            summary = line.end()
            agrees = verified(line)
            with EmbeddedRedis(line.spool / "embedded-redis") as server:
                found = audited(server.url, alerts, line)
        finally:
            line.close()
            unmount(line.spool)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "seed": seed,
        "hosts": 1 if hosts is None else 2,
        "faults": sum(map(len, times_s.values())) + len(lost),
        "duration_s": round(time.monotonic() - began_s, 1),
        "not_recovered": lost,
        "ledger_balanced": summary["exit_code"] == 0,  # `f2p run` ends with 1 when a ledger does not balance
        "f2p_alerts_verify": agrees,
        "audit": found,
        "recovery_s": {
            kind: {"count": len(each), "p50": round(statistics.median(each), 2), "worst": round(max(each), 2)}
            for kind, each in sorted(times_s.items())
        },
        "memory_mb": trend(memory_mb),
        "descriptors_of_supervisor_grown_by": descriptors,
    }


def audited(url: str, alerts: AlertReader, line: CampaignLine) -> dict[str, Any]:
    """The audit of all that the line left in its store, once the subscriber has taken the last alerts."""
    last = AlertReader(lambda: url, NAME)
    last.delivered = alerts.delivered
    last.start()
    before, until_s = -1, time.monotonic() + FETCH_LIMIT_S
    while before != sum(last.delivered.values()) and time.monotonic() < until_s:
        before = sum(last.delivered.values())
        time.sleep(2)
    last.close()
    found = audit(url, NAME, last.delivered, log=line.folder / "line.log")
    return found.as_dict() | {"delivered_more_than_once": sum(count > 1 for count in last.delivered.values())}


def verified(line: CampaignLine) -> bool:
    """Whether `f2p alerts verify` finds nothing wrong; what it found goes to stderr."""
    command = [sys.executable, "-m", "f2pnet.cli", "alerts", "verify", str(line.file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        typer.echo(done.stdout[-4000:] + done.stderr[-2000:], err=True)
    return done.returncode == 0


def trend(samples: list[float]) -> dict[str, float]:
    """Median of the first and of the last quarter, and the highest."""
    quarter = max(1, len(samples) // 4)
    first, last = statistics.median(samples[:quarter]), statistics.median(samples[-quarter:])
    return {"first_quarter": round(first), "last_quarter": round(last), "highest": round(max(samples))}


def holds(report: dict[str, Any]) -> bool:
    """Whether the line kept its promises."""
    return bool(
        report["audit"]["holds"]
        and report["ledger_balanced"]
        and report["f2p_alerts_verify"]
        and not report["not_recovered"]
    )


def as_table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    found = report["audit"]
    lines = [
        f"{report['faults']} faults in {report['duration_s']:.0f} s, seed {report['seed']}, {report['date']}, "
        f"{report['machine']['cores']} cores, hosts: {report['hosts']}: **{'held' if holds(report) else 'BROKEN'}**.",
        "",
        f"{found['frames']} frames in {found['runs']} runs, {found['alerts']} alerts, "
        f"{found['engine_failures']} failures of the engine besides, {found['given_up']} good frames given up as "
        f"NOT_INSPECTED while nothing could be stored. Not accounted for: {found['frames_unaccounted']}; "
        f"doubled: {found['frames_doubled']}; verdict of another picture: {found['wrong_pictures']}; alerts lost: "
        f"{found['alerts_lost']}, doubled: {found['alerts_doubled']}, never delivered: {found['alerts_not_delivered']} "
        f"(delivered again after a failure: {found['delivered_more_than_once']}); FAULT alerts of "
        f"{found['restarts']} replaced workers lost: {found['faults_lost']}. Memory of the line without Redis: "
        f"{report['memory_mb']['first_quarter']} MB in the first quarter, {report['memory_mb']['last_quarter']} MB in "
        f"the last; descriptors of the supervisor: {report['descriptors_of_supervisor_grown_by']:+d}.",
        "",
        "| fault | times | back after, p50 (s) | worst (s) |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {kind} | {row['count']} | {row['p50']} | {row['worst']} |" for kind, row in report["recovery_s"].items()
    ]
    return "\n".join(lines) + "\n"


def _on_hosts(wanted: argparse.Namespace, folder: Path) -> dict[str, Any]:
    options = (wanted.only, wanted.accelerator, wanted.minutes)
    if not wanted.two_hosts:
        return run(wanted.faults, wanted.seed, folder, None, *options)
    with two_hosts(first_is_here=True) as hosts:
        if hosts is None:
            sys.exit("two hosts need network namespaces: root and iproute2")
        return run(wanted.faults, wanted.seed, folder, hosts, *options)


def _with_shared_memory_of_its_own() -> None:
    """Go on where /dev/shm is this campaign's alone, so that it may be filled. Without root, as it is."""
    if OWN_MEMORY_KEY in os.environ or os.getuid() != 0 or shutil.which("unshare") is None:
        return
    script = f'mount -t tmpfs -o size={MEMORY_MB}m tmpfs /dev/shm && export {OWN_MEMORY_KEY}=1; exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-m", "tests.chaos.campaign"]
    os.execvp(command[0], [*command, *sys.argv[1:]])  # noqa: S606


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--faults", type=int, default=1500)
    options.add_argument("--seed", type=int, default=SEED)
    options.add_argument("--minutes", type=float, default=math.inf, help="no further fault after so long")
    options.add_argument("--two-hosts", action="store_true", help="one inference worker behind keys and a cable")
    options.add_argument("--accelerator", action="store_true", help="a simulated one at 80 %% load, and its faults")
    options.add_argument("--only", action="append", default=[], metavar="KIND", help="draw from these kinds; else all")
    options.add_argument("--out", type=Path, default=Path("chaos"), help="folder for report.json and report.md")
    wanted = options.parse_args()
    _with_shared_memory_of_its_own()
    wanted.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="f2p-chaos-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = f"{folder}/run"
        try:
            report = _on_hosts(wanted, Path(folder))
        finally:
            for log in Path(folder).glob("*.log"):
                (wanted.out / log.name).write_bytes(log.read_bytes())
    (wanted.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (wanted.out / "report.md").write_text(as_table(report))
    typer.echo(as_table(report))
    sys.exit(0 if holds(report) else 1)


if __name__ == "__main__":
    main()
