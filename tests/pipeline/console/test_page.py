"""The page in a real browser, over a real line."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import Select
from typer.testing import CliRunner

from f2pnet.cli import app
from tests.chaos.camera import FailingCamera
from tests.pipeline.console.browser import await_that, chromium, one, texts
from tests.pipeline.harness import LineUnderTest, is_bright
from training.data.records import read_records

TOKEN = "a-token-of-the-plant-4711"


@pytest.fixture
def served(line: LineUnderTest, free_ports: list[int]) -> tuple[LineUnderTest, str]:
    """A running line of endless pictures, and the address of its page."""
    line.config["cameras"][0]["source"] |= {"loop": True, "fps": 5}
    line.config["publish"]["evidence"] = {"dir": "evidence", "keep": "all"}
    line.config["console"] = {"port": free_ports[0]}
    line.start("--duration", "150")
    return line, f"http://127.0.0.1:{free_ports[0]}/"


@pytest.fixture
def page(served: tuple[LineUnderTest, str]) -> Iterator[webdriver.Chrome]:
    await_that(lambda: answers(served[1]))
    with chromium() as browser:
        browser.get(served[1])
        yield browser


def answers(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(address, timeout=2).status == 200)
    except OSError:
        return False


def shown_seq(browser: webdriver.Chrome) -> int:
    frame = one(browser, "#camera-cam1").get_attribute("data-frame") if texts(browser, "#camera-cam1") else None
    return int(frame.rsplit("/", 1)[1]) if frame else -1


@pytest.mark.timeout(200)
def test_an_operator_sees_the_line_opens_an_alert_and_reviews_it(
    served: tuple[LineUnderTest, str], page: webdriver.Chrome, tmp_path: Path
) -> None:
    line, address = served
    first = await_that(lambda: max(shown_seq(page), 0))
    assert await_that(lambda: shown_seq(page) > first + 3), "the picture moves"
    size = page.execute_script(
        "const i=document.querySelector('#camera-cam1 img');return [i.naturalWidth,i.naturalHeight]"
    )
    assert size == [48, 48]
    shown, verdict = page.execute_script(
        "const c=document.querySelector('#camera-cam1');return [c.dataset.frame,c.dataset.verdict]"
    )
    assert verdict == ("NG" if is_bright(int(shown.rsplit("/", 1)[1]) % 90) else "OK")
    assert "ledger balanced" in one(page, "#camera-cam1 .ledger").text
    assert await_that(lambda: one(page, "#health").text) == "✓ running"

    # An NG part is seen within a second of its verdict.
    known = set(frames_listed(page))
    new = await_that(lambda: set(frames_listed(page)) - known)
    seen_s = time.time()
    assert min(seen_s - stored_at_s(address, frame_id) for frame_id in new) < 1.0

    # Filtered, opened, acknowledged, reviewed.
    Select(one(page, "[name=verdict]")).select_by_visible_text("NG")
    await_that(lambda: set(texts(page, "#list .verdict")) == {"✕ NG"})
    one(page, "#list li").click()
    await_that(lambda: page.execute_script("return document.querySelector('#evidence').naturalWidth") == 48)
    await_that(lambda: page.execute_script("return document.querySelectorAll('#outlines polygon').length") == 1)
    frame_id = one(page, "#frame").text.split()[-1]
    one(page, "#seen").click()
    page.execute_script("document.querySelector('#note').value='scratch of the gripper'")
    one(page, "[data-word=confirmed]").click()
    await_that(lambda: "confirmed by operator" in one(page, "#said").text)
    stored = ask(f"{address}api/frame?id={frame_id}")
    assert (stored["acknowledged"], stored["review"]["word"]) == (True, "confirmed")
    assert stored["review"]["note"] == "scratch of the gripper"

    ok_frame = ask(f"{address}api/alerts?verdict=OK&limit=1")["items"][0]["frame_id"]
    post(f"{address}api/review", {"frame_id": ok_frame, "word": "missed"})

    # No request left the machine, and the browser had nothing to complain about.
    assert not [entry for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    asked = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert {urlsplit(url).hostname for url in urls if not url.startswith(("blob:", "data:"))} == {"127.0.0.1"}

    done = CliRunner().invoke(app, ["reviews", str(line.file), "--out", str(tmp_path / "reviewed")])
    assert done.exit_code == 0, done.output
    (record,) = read_records(tmp_path / "reviewed", "train.json")
    assert record.mask is not None
    mask = cv2.imread(str(record.mask), cv2.IMREAD_UNCHANGED)
    truth = np.zeros((48, 48), np.uint8)
    truth[8:32, 8:32] = 255
    assert np.count_nonzero(mask != truth) < 100, "the outline of the bright square, give or take its edge"
    (waiting,) = json.loads((tmp_path / "reviewed/to-label.json").read_text())
    assert waiting["id"] == ok_frame.replace("/", "_")


@pytest.mark.timeout(200)
def test_the_death_and_the_return_of_a_worker_are_visible(
    served: tuple[LineUnderTest, str], page: webdriver.Chrome
) -> None:
    line, _ = served
    await_that(lambda: shown_seq(page) > 0)
    restarts = "#table tr[data-worker='ingest-cam1'] td:last-child"
    await_that(lambda: texts(page, restarts) == ["0"])
    os.kill(line.pid_of("ingest"), signal.SIGKILL)
    await_that(lambda: texts(page, restarts) == ["1"])
    before = shown_seq(page)
    assert await_that(lambda: shown_seq(page) > before)
    assert await_that(lambda: "⚠ FAULT" in texts(page, "#list .verdict"))


@pytest.mark.timeout(200)
def test_the_death_and_the_return_of_a_camera_are_visible(line: LineUnderTest, free_ports: list[int]) -> None:
    with FailingCamera(fps=10, seed=1) as camera:
        source = {"kind": "mjpeg", "url": camera.url, "timeout_s": 1}
        line.config["cameras"] = [{"id": "cam1", "source": source, "ring_slots": 16}]
        line.config["console"] = {"port": free_ports[0]}
        line.start("--duration", "100")
        address = f"http://127.0.0.1:{free_ports[0]}/"
        await_that(lambda: answers(address))
        with chromium() as browser:
            browser.get(address)
            await_that(lambda: shown_seq(browser) > 5)
            camera.mood = "gone"
            await_that(lambda: texts(browser, "#camera-cam1 .verdict") == ["⚠ CAMERA AWAY"])
            await_that(lambda: "⚠ FAULT" in texts(browser, "#list .verdict"))
            before = shown_seq(browser)
            camera.mood = "well"
            await_that(lambda: shown_seq(browser) > before)
            assert "⚠ CAMERA AWAY" not in texts(browser, "#camera-cam1 .verdict")
        line.interrupt()
        line.finish()


@pytest.mark.timeout(200)
def test_keys_move_through_the_list(page: webdriver.Chrome) -> None:
    await_that(lambda: len(frames_listed(page)) > 3)
    for key in ("j", "j"):
        page.execute_script(f"document.body.dispatchEvent(new KeyboardEvent('keydown',{{key:'{key}',bubbles:true}}))")
    chosen = one(page, "#list li[aria-selected=true]").get_attribute("data-frame")
    assert chosen in frames_listed(page)
    dark = "return getComputedStyle(document.body).backgroundColor"
    before = page.execute_script(dark)
    page.execute_script("document.body.dispatchEvent(new KeyboardEvent('keydown',{key:'t',bubbles:true}))")
    assert page.execute_script(dark) != before


def test_without_the_token_there_is_nothing(line: LineUnderTest, free_ports: list[int], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    line.config["cameras"][0]["source"]["loop"] = True
    line.config["console"] = {"port": free_ports[0], "token_file": str(tmp_path / "token")}
    line.start("--duration", "60")
    address = f"http://127.0.0.1:{free_ports[0]}/"
    await_that(lambda: status_of(f"{address}login") == 200)
    for path in ("", "api/state", "api/alerts", "api/live", "evidence.jpg?id=cam1/x/0", "api/frame?id=cam1/x/0"):
        assert status_of(f"{address}{path}") == 401, path
        assert status_of(f"{address}{path}", {"Authorization": "Bearer wrong"}) == 401, path
    assert status_of(f"{address}api/state", {"Authorization": f"Bearer {TOKEN}"}) == 200
    with chromium() as browser:
        browser.get(address)
        assert browser.current_url.endswith("/login")
        for given, lands in (("wrong", "/login"), (TOKEN, f":{free_ports[0]}/")):
            one(browser, "[name=token]").send_keys(given)
            one(browser, "button").click()
            await_that(lambda lands=lands: browser.current_url.endswith(lands))
        await_that(lambda: one(browser, "#line").text == "bar")


def test_another_site_can_neither_read_nor_write(served: tuple[LineUnderTest, str]) -> None:
    _, address = served
    await_that(lambda: answers(address))
    assert status_of(f"{address}api/state", {"Host": "evil.example:8088"}) == 403
    request = urllib.request.Request(f"{address}api/review", b"{}", {"Content-Type": "text/plain"}, method="POST")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=5)
    for path in (
        "evidence.jpg?id=../../etc/passwd",
        "static/../app.py",
        "api/alerts?before=x",
    ):
        assert status_of(f"{address}{path}") in (400, 404), path


def frames_listed(browser: webdriver.Chrome) -> list[str]:
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#list li')].map(r=>r.dataset.frame)"
    )
    return found


def stored_at_s(address: str, frame_id: str) -> float:
    """When the alert was written: its place in the stream is a time."""
    place = str(ask(f"{address}api/frame?id={frame_id}")["alert_entry"])
    return int(place.partition("-")[0]) / 1e3


def ask(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        content: dict[str, object] = json.load(answer)
    return content


def post(url: str, body: dict[str, str]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"X-F2P": "1"}, method="POST")
    urllib.request.urlopen(request, timeout=5).close()


def status_of(url: str, headers: dict[str, str] | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0
