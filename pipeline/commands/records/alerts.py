"""`f2p alerts`: read a line's alerts, follow them as one of a group, and prove that none is missing or double."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from f2pnet.alerts.stream import newest, order_of
from f2pnet.alerts.subscription import Alert, subscribe
from f2pnet.commands.terminal import Fitted, cell, plain_console, say
from f2pnet.config import LineConfig, load_line
from f2pnet.errors import ConfigError, ExitCode
from f2pnet.foreign import clipped
from f2pnet.redis.keys import LineKeys
from f2pnet.redis.link import RedisLink
from pipeline.store.audit.verify import Verification, verify
from pipeline.store.embedded.line_store import store_of
from pipeline.store.spool.spool import waiting_in

READ_TIMEOUT_S = 10.0  # a person waits; a page of a thousand results may take a while on a busy server
RUN_SHOWN = 13  # letters: a run id begins with its time in milliseconds
IDLE_S = 1.0  # without --follow: an answering server sends what it has at once


Show = Callable[[Alert], None]


def alerts(
    words: Annotated[
        list[str], typer.Argument(metavar="[verify] LINE.yaml", help="the line; 'verify' checks its streams")
    ],
    follow: Annotated[bool, typer.Option("--follow", help="go on with new alerts until Ctrl-C")] = False,
    group: Annotated[str | None, typer.Option(help="read as one of this group: durable and acknowledged")] = None,
    consumer: Annotated[str | None, typer.Option(help="name within the group; the host's name if not given")] = None,
    since: Annotated[str | None, typer.Option(metavar="ID|TIME", help="begin behind this; 0: the oldest kept")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for each alert")] = False,
) -> None:
    """Read the alerts of a line; with a group each alert is shown to one reader and acknowledged once shown.

    `f2p alerts verify LINE.yaml` proves that its streams have no gap and no double; exit code 1 when they have.
    """
    show = _show_json if as_json else _show
    match words:
        case ["verify", line_file]:
            _verify(load_line(Path(line_file)), as_json)
        case [line_file] if line_file != "verify":
            line = load_line(Path(line_file))
            if follow:
                _follow(line, group, consumer, since, show)
            else:
                _list(line, group, consumer, since or "0", show)
        case _:
            raise ConfigError(f"found 'f2p alerts {' '.join(words)}', wanted 'f2p alerts [verify] LINE.yaml'")


def _list(line: LineConfig, group: str | None, consumer: str | None, since: str, show: Show) -> None:
    """Show what is there now, and end, however fast new alerts come."""
    with store_of(line) as url:
        last = _newest_alert(url, line.line)  # a subscription would wait for a store that is away
        with subscribe(url, line.line, group, consumer, since) as subscription:
            for alert in subscription.iter(timeout_s=0.0 if last is None else IDLE_S):
                if last is None or order_of(alert.id) > order_of(last):
                    return  # came later; in a group it waits, unacknowledged, for the next reader
                show(alert)
                alert.ack()


def _newest_alert(url: str, line: str) -> str | None:
    link = RedisLink(url, timeout_s=READ_TIMEOUT_S)
    try:
        return newest(link.exchange, LineKeys(line).alerts)
    finally:
        link.close()


def _follow(line: LineConfig, group: str | None, consumer: str | None, since: str | None, show: Show) -> None:
    """Show alerts for ever, over restarts of the line too. Raises MissingResource where it does not run now."""
    line.running_store()
    with subscribe(line.store_address, line.line, group, consumer, since) as subscription:
        for alert in subscription:
            show(alert)
            alert.ack()


def _verify(line: LineConfig, as_json: bool) -> None:
    publish = line.publish
    with store_of(line) as url:
        link = RedisLink(url, timeout_s=READ_TIMEOUT_S)
        try:
            report = verify(link, line.line, list(waiting_in(publish.spool.dir)), chain=publish.chain)
        finally:
            link.close()
    if as_json:
        typer.echo(json.dumps({"holds": report.holds, **asdict(report)}))
    else:
        _print_report(report)
    if not report.holds:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _print_report(report: Verification) -> None:
    console = plain_console()
    table = Table("camera", "run", "verdicts", "spool", "dropped", "in flight", "missing", "double")
    for run in report.runs:
        counts = (run.verdicts, run.in_spool, run.dropped, run.in_flight, run.unexplained, len(run.doubled))
        began = run.run_id[:RUN_SHOWN]
        table.add_row(cell(run.camera_id), cell(began), *map(str, counts), style=None if run.holds else "red")
    console.print(Fitted(table))
    if trimmed := sum(run.trimmed for run in report.runs):
        say(f"taken away by retention (results_kept), and not judged: {trimmed} results")
    for run in report.runs:
        if run.unexplained and run.missing_seqs:
            say(f"{run.camera_id}/{run.run_id} without a verdict: seq {run.missing_seqs} ...")
        if run.unexplained and run.in_flight and run.is_over:
            say(
                f"{run.camera_id}/{run.run_id} is over and had {run.in_flight} frames in flight: "
                "starting the line again reports those that its shared memory still holds"
            )
        if run.miscounted is not None:
            say(f"{run.camera_id}/{run.run_id}: {run.miscounted}")
    say(f"alerts {report.alerts}, faults {report.faults}")
    for text, names in (
        ("alerts missing", report.alerts_missing),
        ("alerts doubled", report.alerts_doubled),
        ("alerts without a result", report.alerts_without_result),
        ("alerts that differ from their result", report.alerts_changed),
        ("alerts out of order", report.alerts_out_of_order),
    ):
        if names:
            console.print(cell(f"{text}: {len(names)}, such as {', '.join(names[:3])}", "red"))
    if report.chain_length is not None:
        say(f"hash chain: {report.chain_length} entries, newest link {report.chain_newest}")
    for problem in report.chain_problems:
        say(f"hash chain broken: {clipped(problem)}")
    if report.foreign:
        say(f"passed over, since it is not the line's: {len(report.foreign)}, such as {report.foreign[0]}")
    console.print("no gap, no double" if report.holds else "FAILED", style="green" if report.holds else "red")


def _show(alert: Alert) -> None:
    moment = datetime.fromtimestamp(alert.captured_at_ns / 1e9, UTC).astimezone().isoformat(timespec="milliseconds")
    part = f"  part {alert.part_id}" if alert.part_id else ""
    source = f"  {alert.result.source_ref}" if alert.result.source_ref else ""
    say(f"{alert.id}  {moment}  {alert.verdict:13}  {alert.frame_id}{part}{source}  {_gist(alert)}")


def _gist(alert: Alert) -> str:
    """What is wrong, in a few words."""
    result = alert.result
    defects = Counter(f"{defect.class_name} ({defect.severity})" for defect in result.defects)
    return result.reason or ", ".join(f"{count} x {name}" for name, count in defects.items())


def _show_json(alert: Alert) -> None:
    typer.echo(
        json.dumps(
            {
                "id": alert.id,
                "frame_id": alert.frame_id,
                "camera_id": alert.camera_id,
                "part_id": alert.part_id,
                "verdict": alert.verdict,
                "captured_at_ns": alert.captured_at_ns,
                "data": json.loads(alert.data),
            }
        )
    )
