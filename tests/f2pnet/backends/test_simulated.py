"""A simulated accelerator keeps its rate without the CPU, is one device for all, and fails on demand."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from f2pnet.backends import Backend, open_backend
from f2pnet.backends.simulated.device import fault_file, order_fault
from f2pnet.config.simulated import SimulatedSpec
from f2pnet.engine.bundle import Bundle
from f2pnet.errors import BackendError, ConfigError, DeviceLost
from tests.toy_engine import SIDE, write_toy_bundle


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_toy_bundle(tmp_path_factory.mktemp("engines") / "toy", max_batch=4)


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("simulated:50", SimulatedSpec(50.0)),
        ("simulated:12.5:8", SimulatedSpec(12.5, 8)),
        ("simulated:50:8:0.2@/a:b@c", SimulatedSpec(50.0, 8, 0.2, Path("/a:b@c"))),
        ("simulated:50:8:engine", SimulatedSpec(50.0, 8, None)),
    ],
)
def test_a_specification_says_rate_batch_defects_and_device(text: str, spec: SimulatedSpec) -> None:
    assert SimulatedSpec.parse(text) == spec
    assert SimulatedSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("simulated:", "RATE .* is empty"),
        ("simulated:0", "wanted 0.001 to"),
        ("simulated:nan", "RATE .* is nan"),
        ("simulated:5:1.5", "wanted a whole number"),
        ("simulated:5:1:2", "DEFECTS"),
        ("simulated:5:1:0.1:7", r"wanted simulated:RATE\[:BATCH"),
    ],
)
def test_a_wrong_specification_is_answered_with_the_right_one(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SimulatedSpec.parse(text)


def test_a_batch_takes_its_time_and_no_cpu(toy: Bundle) -> None:
    with open_backend("simulated:20:4", toy) as backend:
        started, cpu = time.monotonic(), time.thread_time()
        backend.run(images(4))
        took, used = time.monotonic() - started, time.thread_time() - cpu

    assert took >= 4 / 20
    assert used < 0.05


def test_a_batch_that_is_handed_in_early_follows_the_one_before_without_a_gap(toy: Bundle) -> None:
    with open_backend("simulated:40:4", toy) as backend:
        answers = [backend.start(images(4)), backend.start(images(4))]
        answers[0]()
        time.sleep(0.05)  # the process does something else while the device goes on
        started = time.monotonic()
        answers[1]()

    assert time.monotonic() - started <= 4 / 40  # it began when the first one ended


def test_the_share_of_defects_is_kept_exactly_over_many_images(toy: Bundle) -> None:
    with open_backend("simulated:100000:5:0.2", toy) as backend:
        answers = [backend.run(images(3)) for _ in range(100)]

    scores = np.concatenate([answer["score"] for answer in answers])
    maps = np.concatenate([answer["mask"] for answer in answers])
    assert (scores > 0.5).sum() == 60
    assert np.array_equal(scores, maps.max(axis=(1, 2)))
    assert (maps[scores > 0.5] > 0.5).sum(axis=(1, 2)).tolist() == [(SIDE // 8) ** 2] * 60


def test_the_answers_of_the_bundles_own_engine_belong_to_their_pictures(toy: Bundle) -> None:
    with open_backend("simulated:100000:4:engine", toy, threads=1) as backend:
        batch = images(3)
        np.testing.assert_allclose(backend.run(batch)["mask"], batch.mean(axis=3) / 255, atol=1e-6)


def _use(folder: Path, device: Path, runs: int) -> None:
    with open_backend(f"simulated:50@{device}", write_toy_bundle(folder / "toy")) as backend:
        for _ in range(runs):
            backend.run(images(1))


def test_processes_that_name_one_file_share_one_device(toy: Bundle, tmp_path: Path) -> None:
    device = tmp_path / "device"
    spawn = multiprocessing.get_context("spawn")
    users = [spawn.Process(target=_use, args=(tmp_path / str(n), device, 20)) for n in range(2)]
    started = time.monotonic()
    for user in users:
        user.start()
    for user in users:
        user.join(60)

    assert [user.exitcode for user in users] == [0, 0]
    assert time.monotonic() - started >= 2 * 20 / 50


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def backend(toy: Bundle, device: Path) -> Backend:
    return open_backend(f"simulated:1000:4:engine@{device}", toy, threads=1)


def test_nan_on_demand_fails_one_batch(backend: Backend, device: Path) -> None:
    order_fault(device, "nan")

    with backend:
        with pytest.raises(BackendError, match=r"nan\.\.nan"):
            backend.run(images(1))
        backend.run(images(1))


def test_a_device_that_dies_is_lost(backend: Backend, device: Path) -> None:
    order_fault(device, "die")

    with backend, pytest.raises(DeviceLost, match="died"):
        backend.run(images(1))
    assert not fault_file(device).exists()


def test_a_device_that_hangs_does_not_answer(backend: Backend, device: Path) -> None:
    order_fault(device, "hang")
    answer = backend.start(images(1))
    waiting = threading.Thread(target=answer, daemon=True)
    waiting.start()
    waiting.join(0.3)

    assert waiting.is_alive()
    assert not fault_file(device).exists()
