"""What people see of the page, at the widths of a wall screen, a laptop, a tablet and two phones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.chaos.camera import FailingCamera
from tests.pipeline.console.browser import await_that, chromium, one, texts
from tests.pipeline.console.test_page import answers, frames_listed, shown_seq
from tests.pipeline.harness import LineUnderTest

WIDTHS = {"wall": 1920, "laptop": 1280, "tablet": 820, "phone": 390, "small phone": 320}
LONG_NAME = "press-4-bottom-left-of-the-second-hall"

# Boxes that stick out of the one they belong in, and pictures that the browser draws as broken.
BURSTING = """
const out = [], beyond = (inner, outer) => inner.right > outer.right + 1 || inner.left < outer.left - 1;
for (const card of document.querySelectorAll("article, #alerts, #workers, dialog[open]"))
  for (const part of card.querySelectorAll("*")) {
    const box = part.getBoundingClientRect();
    if (box.width && beyond(box, card.getBoundingClientRect())) out.push(`${card.id}: ${part.tagName} ${part.id}`);
  }
return out"""
BROKEN_PICTURES = """return [...document.images].filter((image) => getComputedStyle(image).display !== "none"
  && !(image.complete && image.naturalWidth)).map((image) => image.alt || image.id)"""


@pytest.fixture
def half_dead(line: LineUnderTest, free_ports: list[int]) -> Iterator[tuple[LineUnderTest, FailingCamera, str]]:
    """A line with a well camera and one that can be lost, which has a long name; and the address of its page."""
    with FailingCamera(fps=10, seed=1) as camera:
        line.config["cameras"][0]["source"] |= {"loop": True, "fps": 5}
        lost = {"kind": "mjpeg", "url": camera.url, "timeout_s": 1}
        line.config["cameras"].append({"id": LONG_NAME, "source": lost, "ring_slots": 16})
        line.config["publish"]["evidence"] = {"dir": "evidence", "keep": "ng"}
        line.config["console"] = {"port": free_ports[0]}
        line.start("--duration", "150")
        address = f"http://127.0.0.1:{free_ports[0]}/"
        await_that(lambda: answers(address), 40)
        yield line, camera, address


@pytest.fixture
def browser(half_dead: tuple[LineUnderTest, FailingCamera, str]) -> Iterator[webdriver.Chrome]:
    with chromium() as opened:
        opened.get(half_dead[2])
        await_that(lambda: shown_seq(opened) > 0)
        yield opened


def show_at(browser: webdriver.Chrome, width: int) -> None:
    """As a device of that width shows it; a narrow one has a touch screen."""
    touch = width < 1000
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": touch}
        | {"screenWidth": width, "screenHeight": 900},
    )
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})
    await_that(lambda: browser.execute_script("return screen.width") == width)


def stays_within(browser: webdriver.Chrome) -> list[Any]:
    """What is wrong with the layout at each width."""
    wrong: list[Any] = []
    for name, width in WIDTHS.items():
        show_at(browser, width)
        scrolled = browser.execute_script("return document.scrollingElement.scrollWidth")
        bursting = browser.execute_script(BURSTING)
        broken = browser.execute_script(BROKEN_PICTURES)
        wrong += [(name, found) for found in (scrolled > width and f"{scrolled} px wide", bursting, broken) if found]
    return wrong


@pytest.mark.timeout(200)
def test_nothing_leaves_its_card_and_no_width_scrolls_sideways(
    half_dead: tuple[LineUnderTest, FailingCamera, str], browser: webdriver.Chrome
) -> None:
    _, camera, _ = half_dead
    assert stays_within(browser) == []

    await_that(lambda: browser.execute_script(f"return document.querySelector('#camera-{LONG_NAME} img').naturalWidth"))
    camera.mood = "gone"
    card = f"#camera-{LONG_NAME}"
    await_that(lambda: texts(browser, f"{card} .verdict") == ["⚠ CAMERA AWAY"])
    assert stays_within(browser) == []
    assert texts(browser, f"{card} .view p") == ["the last picture before the camera was lost"]

    browser.refresh()  # a page that never saw a picture of it
    await_that(lambda: texts(browser, f"{card} .view p") == ["no picture: the camera is away"])
    assert stays_within(browser) == []
    assert "balanced" not in texts(browser, f"{card} .ledger")[0]
    assert "no frames come" in texts(browser, f"{card} .ledger")[0]
    assert one(browser, "#health").text == f"⚠ camera away: {LONG_NAME}"

    show_at(browser, WIDTHS["laptop"])
    await_that(lambda: frames_listed(browser))
    one(browser, "#list li").click()
    await_that(lambda: browser.execute_script("return document.querySelector('dialog').open"))
    time.sleep(1)
    assert stays_within(browser) == []

    camera.mood = "well"
    await_that(lambda: texts(browser, f"{card} .verdict") != ["⚠ CAMERA AWAY"])
    await_that(lambda: "ledger balanced" in texts(browser, f"{card} .ledger")[0])


@pytest.mark.timeout(200)
def test_keys_choose_and_open_an_alert(browser: webdriver.Chrome) -> None:
    await_that(lambda: len(frames_listed(browser)) > 3)
    ActionChains(browser).send_keys("j").perform()
    ActionChains(browser).send_keys("j").perform()
    chosen = browser.execute_script("return document.querySelector('#list li[aria-selected=true]').dataset.frame")
    ActionChains(browser).send_keys(Keys.ENTER).perform()

    await_that(lambda: chosen in one(browser, "#frame").text)
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    await_that(lambda: not browser.execute_script("return document.querySelector('dialog').open"))
    ActionChains(browser).send_keys("k").send_keys(Keys.ENTER).perform()
    await_that(lambda: one(browser, "#frame").text not in ("", chosen))


@pytest.mark.timeout(200)
def test_enter_on_a_button_presses_the_button(browser: webdriver.Chrome) -> None:
    await_that(lambda: len(frames_listed(browser)) > 3)
    ActionChains(browser).send_keys("j").perform()
    before = browser.execute_script("return document.documentElement.dataset.theme ?? ''")
    browser.execute_script("document.querySelector('#theme').focus()")
    ActionChains(browser).send_keys(Keys.ENTER).perform()

    await_that(lambda: browser.execute_script("return document.documentElement.dataset.theme ?? ''") != before)
    assert not browser.execute_script("return document.querySelector('dialog').open")


@pytest.mark.timeout(200)
def test_an_empty_place_says_why_it_is_empty(
    half_dead: tuple[LineUnderTest, FailingCamera, str], browser: webdriver.Chrome
) -> None:
    line, camera, _ = half_dead
    camera.mood = "gone"
    await_that(lambda: "⚠ FAULT" in texts(browser, "#list .verdict"))
    assert not one(browser, "#empty").is_displayed()

    one(browser, "[name=class]").send_keys("no such class")
    await_that(lambda: texts(browser, "#empty") == ["No alert matches this filter."])
    browser.execute_script("document.querySelector('[name=class]').value = ''")

    Select(one(browser, "[name=verdict]")).select_by_visible_text("FAULT")
    await_that(lambda: set(texts(browser, "#list .verdict")) == {"⚠ FAULT"})
    one(browser, "#list li").click()
    await_that(lambda: texts(browser, "#absent") == ["no picture: this is an event, not a frame"])
    assert browser.execute_script("return document.querySelector('.large').offsetHeight") < 120
    assert browser.execute_script("return document.querySelector('[data-word]').disabled")
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()

    Select(one(browser, "[name=verdict]")).select_by_visible_text("OK")
    await_that(lambda: set(texts(browser, "#list .verdict")) == {"✓ OK"})
    one(browser, "#list li").click()
    await_that(lambda: texts(browser, "#absent") == ["no picture was kept of this frame"])
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()

    Select(one(browser, "[name=verdict]")).select_by_visible_text("NG")
    await_that(lambda: set(texts(browser, "#list .verdict")) == {"✕ NG"})
    damaged = one(browser, "#list li").get_attribute("data-frame")
    for kept in evidence_of(line):
        if str(damaged).rsplit("/", 1)[1] in kept.name:
            kept.write_bytes(b"no picture any more")
    one(browser, "#list li").click()
    await_that(lambda: texts(browser, "#absent") == ["its picture can't be read any more"])
    assert browser.execute_script(BROKEN_PICTURES) == []


def evidence_of(line: LineUnderTest) -> list[Path]:
    return [path for path in (line.folder / "evidence").rglob("*") if path.is_file()]


@pytest.mark.timeout(200)
def test_keyboard_hints_are_shown_where_there_is_a_keyboard(browser: webdriver.Chrome) -> None:
    shown = "return getComputedStyle(document.querySelector('kbd')).display !== 'none'"
    for name, width in WIDTHS.items():
        show_at(browser, width)
        assert browser.execute_script(shown) == (name in ("wall", "laptop")), name
