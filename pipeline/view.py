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

from f2pnet.result import Defect, InspectionResult, Verdict
from f2pnet.text import printable
from pipeline.frames.ledger import Ledger
from pipeline.summary import LineStatus

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

    def _alerts_table(self) -> Table:
        table = Table(title="last alerts", title_justify="left", box=None, padding=(0, 1))
        for column, width in (("time", 8), ("camera", 6), ("verdict", 13)):
            table.add_column(column, no_wrap=True, min_width=width)
        table.add_column("what", no_wrap=True, overflow="ellipsis")
        for result in reversed(self._alerts):
            seconds = (result.captured_at_ns or 0) / 1e9
            table.add_row(
                time.strftime("%H:%M:%S", time.localtime(seconds)),
                printable(result.camera_id or ""),
                Text(result.verdict.value, style=VERDICT_STYLE[result.verdict]),
                Text(printable(result.reason or _largest(result.defects))),
            )
        return table


def _largest(defects: list[Defect]) -> str:
    """The three largest defects, and how many more there are."""
    by_area = sorted(defects, key=lambda defect: -defect.area_px)
    shown = [f"{defect.class_name} {defect.area_px} px ({defect.score:.2f})" for defect in by_area[:DEFECTS_SHOWN]]
    more = len(defects) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def cameras_table(status: LineStatus) -> Table:
    """The ledger of each camera, with rates and latencies of the line."""
    total = status.latency_ms.get("total", {})
    table = Table(
        title=f"line {status.line}   {status.elapsed_s:.0f} s   {status.throughput_fps:.1f} frames/s   "
        f"latency p50 {_ms(total.get('p50'))}  p99 {_ms(total.get('p99'))}",
        title_justify="left",
    )
    for column in ("camera", "captured", "OK", "NG", "not inspected", "dropped", "in flight", "ledger"):
        table.add_column(column, justify="left" if column in ("camera", "ledger") else "right")
    for camera_id, ledger in status.cameras.items():
        table.add_row(
            camera_id,
            str(ledger.captured),
            Text(str(ledger.ok), style="green"),
            Text(str(ledger.ng), style="red"),
            Text(_by_reason(ledger.not_inspected)),
            Text(_by_reason(ledger.dropped)),
            str(ledger.in_flight),
            _balance(ledger),
        )
    return table


def workers_table(status: LineStatus) -> Table:
    """Who works."""
    table = Table(box=None, padding=(0, 1))
    for column in ("worker", "pid", "state", "device", "restarts", ""):
        table.add_column(column, no_wrap=True)
    for worker in status.workers:
        table.add_row(
            *(
                Text(printable(cell))  # heartbeats come from a store that others may write to
                for cell in (
                    worker.name,
                    worker.pid or "-",
                    worker.state,
                    worker.device or "",
                    worker.restarts,
                    worker.detail or "",
                )
            )
        )
    return table


def _balance(ledger: Ledger) -> Text:
    if ledger.balanced:
        return Text("balanced", style="green")
    return Text(f"{ledger.captured - ledger.accounted:+d} unaccounted", style="bold red")


def _by_reason(counts: dict[str, int]) -> str:
    return " ".join(f"{reason} {count}" for reason, count in counts.items()) or "0"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
