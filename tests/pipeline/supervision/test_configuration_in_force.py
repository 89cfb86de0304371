"""A line runs with the files that it was started with or last reloaded, whatever happens to them meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from f2pnet.engine.bundle import open_bundle
from f2pnet.inspection.recipe import load_recipe
from tests.pipeline.harness import LineUnderTest, is_bright, write_pictures
from tests.pipeline.supervision.test_line import check_each_once
from tests.pipeline.supervision.test_reload import reload
from tests.pipeline.supervision.test_removed_files import goes_on
from tests.toy_engine import write_toy_bundle

BLIND = {"name": "blind", "min_area": {"px": 100_000}}  # no defect is that large: everything is OK
SHARP = {"name": "sharp"}


def results_of(line: LineUnderTest) -> list[dict[str, object]]:
    return [json.loads(entry["data"]) for entry in line.stored()]


def kill_and_await_another(line: LineUnderTest, role: str) -> None:
    pid = line.pid_of(role, seen=5)
    os.kill(pid, signal.SIGKILL)
    line.await_status(lambda status: any(w["role"] == role and w["restarts"] == 1 for w in status["workers"]))
    goes_on(line)


def overwrite(path: Path) -> None:
    path.write_text(yaml.safe_dump(BLIND))


def half_saved(path: Path) -> None:
    path.write_text("cameras: [ {id: cam3, sour\n")


def remove(path: Path) -> None:
    path.unlink()


def replace_by_another(path: Path) -> None:
    other = path.with_name("other.yaml")
    other.write_text(yaml.safe_dump(BLIND))
    other.replace(path)


@pytest.fixture
def looped(line: LineUnderTest) -> LineUnderTest:
    """A line that goes on until it is stopped, with a recipe of its own."""
    line.config["cameras"][0]["source"] |= {"loop": True, "fps": 20}
    (line.folder / "recipe.yaml").write_text(yaml.safe_dump(SHARP))
    line.config["recipe"] = "recipe.yaml"
    return line


@pytest.mark.parametrize("edit", [overwrite, half_saved, remove, replace_by_another])
@pytest.mark.parametrize("file", ["recipe.yaml", "line.yaml"])
def test_an_edited_file_changes_nothing_for_workers_that_are_replaced(
    looped: LineUnderTest, file: str, edit: Callable[[Path], None]
) -> None:
    line = looped
    line.start()
    line.pid_of("infer", seen=5)
    good = (line.folder / file).read_text()
    killed = ("infer",) if edit is not half_saved else ("infer", "ingest", "publish")
    pids = [line.pid_of(role, seen=5) for role in killed]
    edit(line.folder / file)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    (line.folder / "seen.yaml").write_text(good)
    if file == "line.yaml":  # `f2p status` reads it too
        line.file.unlink(missing_ok=True)
        line.file.write_text(good)
    goes_on(line, by=20)
    line.interrupt()
    line.finish()
    results = results_of(line)
    assert {result["recipe"] for result in results} == {_recipe_id(line.folder, SHARP)}
    for result in results:
        assert result["verdict"] == ("NG" if is_bright(int(str(result["seq"])) % 90) else "OK")
    told = [json.loads(e["data"])["reason"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    if file == "recipe.yaml":
        assert any("recipe.yaml differ from what is in force" in text for text in told), told


def _recipe_id(folder: Path, content: dict[str, object]) -> str:
    path = folder / "wanted.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_recipe(path).recipe_id


def test_reload_puts_an_edited_recipe_in_force_for_all_workers(looped: LineUnderTest) -> None:
    line = looped
    line.config["engine"]["workers"] = 2
    line.start()
    line.pid_of("infer", seen=10)
    overwrite(line.folder / "recipe.yaml")
    assert reload(line).returncode == 0
    before = line.await_status(lambda status: status["cameras"]["cam1"]["captured"])
    line.await_status(lambda status: status["cameras"]["cam1"]["inspected"] > before + 20)
    kill_and_await_another(line, "infer")
    line.interrupt()
    line.finish()
    sharp, blind = _recipe_id(line.folder, SHARP), _recipe_id(line.folder, BLIND)
    by_seq = {int(str(result["seq"])): result for result in results_of(line)}
    used = [by_seq[seq]["recipe"] for seq in sorted(by_seq)]
    assert {used[0], used[-1]} == {sharp, blind}
    change = used.index(blind)
    assert set(used[change + 20 :]) == {blind}  # never again by the old one, whoever was killed
    assert all(by_seq[seq]["verdict"] == "OK" for seq in by_seq if by_seq[seq]["recipe"] == blind)


def test_a_recipe_that_does_not_fit_the_engine_is_refused_by_reload(looped: LineUnderTest) -> None:
    line = looped
    line.start()
    line.pid_of("infer", seen=5)
    content = {"name": "wrong", "thresholds": {"per_class": {"scratch": 0.5}}}
    (line.folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    assert reload(line).returncode == 0
    goes_on(line, by=20)
    line.interrupt()
    line.finish()
    assert {result["recipe"] for result in results_of(line)} == {_recipe_id(line.folder, SHARP)}
    told = [json.loads(e["data"])["reason"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    assert any("was not applied" in text and "scratch" in text for text in told), told


def overwrite_in_place(bundle: Path, other: Path) -> None:
    """As `cp` does: the same file, with another content."""
    for file in other.iterdir():
        shutil.copyfile(file, bundle / file.name)


def exchange_folder(bundle: Path, other: Path) -> None:
    shutil.rmtree(bundle)
    other.rename(bundle)


def remove_folder(bundle: Path, other: Path) -> None:
    shutil.rmtree(bundle)


@pytest.mark.parametrize("change", [overwrite_in_place, exchange_folder, remove_folder])
def test_an_engine_that_is_replaced_on_disk_is_not_used_by_chance(
    looped: LineUnderTest, change: Callable[[Path, Path], None]
) -> None:
    line = looped
    bundle = write_toy_bundle(line.folder / "engine")
    other = write_toy_bundle(line.folder / "other", poison=0.1)  # sees nothing
    line.config["engine"]["bundle"] = "engine"
    line.start()
    pid = line.pid_of("infer", seen=5)
    change(bundle.folder, other.folder)
    os.kill(pid, signal.SIGKILL)
    goes_on(line, by=20)
    line.interrupt()
    line.finish()
    results = results_of(line)
    assert {result["engine"] for result in results} == {bundle.engine_id}
    assert any(result["verdict"] == "NG" for result in results[-6:])
    told = [json.loads(e["data"])["reason"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    assert any("model.onnx differ from what is in force" in text or "manifest.json" in text for text in told), told


def test_without_copy_and_bundle_the_line_says_so_and_goes_on_when_the_engine_is_back(looped: LineUnderTest) -> None:
    line = looped
    bundle = write_toy_bundle(line.folder / "engine")
    line.config["engine"]["bundle"] = "engine"
    line.start()
    pid = line.pid_of("infer", seen=5)
    aside = line.folder / "aside"
    bundle.folder.rename(aside)
    shutil.rmtree(line.spool / "engine")
    os.kill(pid, signal.SIGKILL)
    line.await_status(lambda status: any(w["restarts"] >= 3 for w in status["workers"]))
    aside.rename(bundle.folder)
    goes_on(line)
    line.interrupt()
    line.finish()
    assert {result["engine"] for result in results_of(line)} == {open_bundle(bundle.folder).engine_id}
    told = [json.loads(e["data"])["reason"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    assert any("that this line runs with is gone" in text and "put it back" in text for text in told), told


@pytest.mark.parametrize("links", [False, True])
def test_another_source_is_read_from_its_beginning(line: LineUnderTest, links: bool) -> None:
    """By another path in the line file, and by a link that leads elsewhere when its worker is replaced."""
    write_pictures(line.folder / "first", 400)
    (line.folder / "now").symlink_to("first")
    camera = line.config["cameras"][0]
    camera["source"] |= {"path": "now" if links else "first", "fps": 20}
    line.start()
    pid = line.pid_of("ingest", seen=10)
    second = line.folder / "second"
    second.mkdir()
    for index in range(30):
        cv2.imwrite(str(second / f"part{index:04d}.png"), np.full((48, 48), 40 + index, np.uint8))
    if links:
        (line.folder / "now").unlink()
        (line.folder / "now").symlink_to("second")
        os.kill(pid, signal.SIGKILL)
    else:
        camera["source"]["path"] = "second"
        assert reload(line).returncode == 0
    line.finish()
    scores = [round(float(str(result["score"])) * 255) for result in results_of(line) if result["verdict"] == "OK"]
    assert [score for score in scores if score >= 40] == [40 + index for index in range(30)]
    told = [json.loads(e["data"])["reason"] for e in line.stored("alerts") if e["verdict"] == "FAULT"]
    assert any("is read from its beginning" in text for text in told)


@pytest.mark.parametrize(("slots", "frame_mb"), [(4, 1), (40, 64), (16, 1), (2, 128)])
def test_a_ring_of_another_size_goes_on_with_what_it_held(line: LineUnderTest, slots: int, frame_mb: int) -> None:
    """The inference worker is stopped, so that frames are held over the change."""
    camera = line.config["cameras"][0]
    camera["source"]["fps"] = 20
    line.config["timeouts"] |= {"stall_s": 60, "drain_s": 2}
    line.start()
    worker = line.pid_of("infer", seen=5)
    os.kill(worker, signal.SIGSTOP)
    line.await_status(lambda status: status["cameras"]["cam1"]["in_flight"] >= 12)
    camera |= {"ring_slots": slots, "max_frame_mb": frame_mb}
    assert reload(line).returncode == 0
    os.kill(worker, signal.SIGCONT)
    summary = line.finish()
    assert summary["cameras"]["cam1"]["captured"] == summary["cameras"]["cam1"]["inspected"] == 90
    check_each_once(line)
