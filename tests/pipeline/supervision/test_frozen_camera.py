"""A camera that repeats its last picture for ever."""

from __future__ import annotations

import itertools
import json

import cv2
import numpy as np

from tests.pipeline.harness import LineUnderTest
from tests.servers.mjpeg_server import MjpegServer


def test_a_frozen_camera_is_told_and_opened_anew(line: LineUnderTest) -> None:
    random = np.random.default_rng(1)
    noisy = [cv2.imencode(".jpg", random.integers(0, 90, (48, 48), np.uint8))[1].tobytes() for _ in range(20)]
    frozen = itertools.repeat(noisy[-1], 80)
    with MjpegServer([*noisy, *frozen], fps=20) as camera:
        source = {"kind": "mjpeg", "url": f"http://{camera.address}/"}
        line.config["cameras"] = [{"id": "cam1", "source": source, "freeze_s": 1.0, "ring_slots": 32}]
        summary = line.run("--duration", "9")
    reasons = [json.loads(entry["data"])["reason"] for entry in line.stored("alerts") if entry["verdict"] == "FAULT"]
    assert any("cam1 is frozen: the same picture for 1 s" in reason for reason in reasons)
    assert any("is back" in reason for reason in reasons)
    counts = summary["cameras"]["cam1"]
    assert counts["reconnects"] >= 1
    assert counts["captured"] == counts["inspected"] + sum(counts["not_inspected"].values()) + sum(
        counts["dropped"].values()
    )
