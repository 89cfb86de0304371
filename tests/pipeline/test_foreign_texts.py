"""Names and entries from outside, on a whole line and on the terminal of who looks at it."""

from __future__ import annotations

import os
from collections import Counter

import pytest
import redis
from typer.testing import CliRunner

from f2pnet.cli import app
from pipeline.store.embedded.server import EmbeddedRedis
from tests.pipeline.harness import LineUnderTest

NAMES = [
    "01\x1b]0;owned\x07\x1b[2J.png",
    "02\n1-0  2026-01-01T00:00:00.000+00:00  OK   forged\r.png",
    "03\u202egnp.exe.png",
    "04\x9b31m.png",
    os.fsdecode(b"05\xff\xfe.png"),
    "06[red]markup[bold].png",
    "07" + "ä" * 100 + ".png",
]


@pytest.mark.timeout(240)
def test_file_names_steer_no_terminal_and_end_no_worker(line: LineUnderTest) -> None:
    folder = line.folder / line.config["cameras"][0]["source"]["path"]
    good = sorted(folder.iterdir())[0].read_bytes()
    for name in NAMES:
        (folder / name).write_bytes(good[:50])
        (folder / f"9{name}").write_bytes(good)
    summary = line.run()
    assert summary["cameras"]["cam1"]["not_inspected"] == {"unreadable": len(NAMES)}
    assert all(worker["restarts"] == 0 for worker in summary["workers"])
    stored = Counter(entry["verdict"] for entry in line.stored("alerts"))
    assert stored["FAULT"] == stored["NOT_INSPECTED"] == len(NAMES)
    frame_id = next(entry["frame_id"] for entry in line.stored("alerts") if entry["verdict"] == "NOT_INSPECTED")
    for words in (["alerts"], ["alerts", "--json"], ["alerts", "verify"], ["status"], ["why"], ["why", "--json"]):
        options = [word for word in words if word.startswith("--")]
        command = [word for word in words if not word.startswith("--")]
        asked = [*command, str(line.file), *([frame_id] if command == ["why"] else []), *options]
        if command == ["status"]:
            continue  # of a running line
        shown = CliRunner().invoke(app, asked)
        assert shown.exit_code == 0, shown.output
        assert all(text.isprintable() for text in shown.output.split("\n")), asked
        assert not [text for text in shown.output.splitlines() if text.startswith("1-0  2026")]
    assert all(text.isprintable() for text in line.output.split("\n"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("words", [["why"], ["alerts"], ["alerts", "verify"], ["reviews"]])
def test_commands_pass_over_what_others_wrote_and_say_so_once(
    line: LineUnderTest, words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    line.run()
    frame_id = line.stored()[0]["frame_id"]
    with EmbeddedRedis(line.spool / "embedded-redis") as server:
        write_among(server.url)
        options = {"why": [frame_id], "reviews": ["--out", str(tmp_path_factory.mktemp("reviewed"))]}.get(words[0], [])
        shown = CliRunner().invoke(app, [*words, str(line.file), *options])
    assert shown.exit_code == 0, shown.output
    assert all(text.isprintable() for text in shown.output.split("\n"))
    if words not in (["alerts"], ["why"]):  # they report through logging, and only what they came across
        assert "passed over" in shown.output


def write_among(url: str) -> None:
    with redis.Redis.from_url(url, protocol=2, socket_timeout=5) as other:
        for stream in ("results", "alerts"):
            other.xadd(f"f2p:{{bar}}:{stream}", {b"\xff\x1b[2J": b"\xfe"})
            other.xadd(f"f2p:{{bar}}:{stream}", {"frame_id": "\x1b]0;owned\x07", "verdict": "NG", "data": "{}"})
        other.xgroup_create("f2p:{bar}:alerts", b"\xff\xfe\x1b[2J", "0")
        other.xreadgroup(b"\xff\xfe\x1b[2J", b"\xfd", {"f2p:{bar}:alerts": ">"}, count=1)
        other.hset("f2p:{bar}:reviews", mapping={b"\xff": b"\xfe", b"\x1b[2J": b'{"word": 1}'})
        other.hset("f2p:{bar}:ledger:a:b:c", "captured", 1)
