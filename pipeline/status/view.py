"""The live table of a running line, and the closing one."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from f2pnet.commands.terminal import Fitted, cell
from f2pnet.inspection.result import Defect, InspectionResult, Verdict
from pipeline.frames.ledger import Ledger
from pipeline.status.summary import LineStatus, file_of

if TYPE_CHECKING:
    from pipeline.wire.transport import Subscriber

ALERTS_SHOWN = 6
DEFECTS_SHOWN = 3
VERDICT_STYLE = {Verdict.OK: "green", Verdict.NG: "bold red", Verdict.NOT_INSPECTED: "yellow", Verdict.FAULT: "magenta"}


class LiveView:
    """Shows each state it is called with, and the last live alerts of the line."""

    def __init__(self, console: Console, alerts: Subscriber) -> None:
        self._feed = alerts
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._alerts: deque[InspectionResult] = deque(maxlen=ALERTS_SHOWN)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._feed.close()

    def __call__(self, status: LineStatus) -> None:
        self._alerts.extend(InspectionResult.from_json(payload) for _, payload in self._feed.receive(at_most=100))
        self._live.update(Group(cameras_table(status), workers_table(status), self._alerts_table()))

    def _alerts_table(self) -> Fitted:
        table = Table(title="last alerts", title_justify="left", box=None, padding=(0, 1))
        for column in ("time", "camera", "verdict", "file", "what"):
            table.add_column(column)
        for result in reversed(self._alerts):
            seconds = (result.captured_at_ns or 0) / 1e9
            table.add_row(
                time.strftime("%H:%M:%S", time.localtime(seconds)),
                cell(result.camera_id or ""),
                Text(result.verdict.value, style=VERDICT_STYLE[result.verdict]),
                cell(file_of(result)),
                cell(result.reason or _largest(result.defects)),
            )
        return Fitted(table)


def _largest(defects: list[Defect]) -> str:
    """The three largest defects, and how many more there are."""
    by_area = sorted(defects, key=lambda defect: -defect.area_px)
    shown = [f"{defect.class_name} {defect.area_px} px ({defect.score:.2f})" for defect in by_area[:DEFECTS_SHOWN]]
    more = len(defects) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def cameras_table(status: LineStatus) -> Group:
    """The ledger of each camera, with rates and latencies of the line; below it, why frames were not inspected."""
    total = status.latency_ms.get("total", {})
    ledgers = Table(
        title=f"line {status.line}   {status.elapsed_s:.0f} s   {status.throughput_fps:.1f} frames/s   "
        f"latency p50 {_ms(total.get('p50'))}  p99 {_ms(total.get('p99'))}",
        title_justify="left",
    )
    for column in ("camera", "captured", "OK", "NG", "not inspected", "dropped", "in flight", "ledger"):
        ledgers.add_column(column, justify="left" if column in ("camera", "ledger") else "right")
    for camera_id, ledger in status.cameras.items():
        ledgers.add_row(
            cell(camera_id),
            str(ledger.captured),
            Text(str(ledger.ok), style="green"),
            Text(str(ledger.ng), style="red"),
            str(sum(ledger.not_inspected.values())),
            str(sum(ledger.dropped.values())),
            str(ledger.in_flight),
            _balance(ledger),
        )
    reasons = [
        cell(f"{camera_id} {kind}: {_by_reason(counts)}")
        for camera_id, ledger in status.cameras.items()
        for kind, counts in (("not inspected", ledger.not_inspected), ("dropped", ledger.dropped))
        if any(counts.values())
    ]
    return Group(Fitted(ledgers), *reasons)


def workers_table(status: LineStatus) -> Fitted:
    """Who works."""
    workers = Table("worker", "pid", "restarts", "state", "device", box=None, padding=(0, 1))
    for worker in status.workers:
        state = cell(": ".join(filter(None, (worker.state, worker.detail))))
        row = (cell(worker.name), str(worker.pid or "-"), str(worker.restarts), state, cell(worker.device or ""))
        workers.add_row(*row)
    return Fitted(workers)


def _balance(ledger: Ledger) -> Text:
    if ledger.balanced:
        return Text("balanced", style="green")
    return Text(f"{ledger.captured - ledger.accounted:+d} unaccounted", style="bold red")


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
