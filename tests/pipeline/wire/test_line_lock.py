"""Who may run a line, who may enter its folder, and who is heard: also against files that are removed and strangers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from f2pnet.errors import ConfigError
from pipeline.wire.line_lock import LineLock
from pipeline.wire.messages import Heartbeat
from pipeline.wire.notify import ENVIRONMENT_KEY, NotifyListener, notify
from pipeline.wire.private_folder import make_private, runtime_base

NOBODY = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="acts as another user")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return runtime_base() / f"bar-{os.getpid()}"


def test_a_line_is_held_once_whatever_happens_to_its_files(folder: Path) -> None:
    first, second = LineLock("bar", folder), LineLock("bar", folder)
    first.take()
    for remove in (lambda: (folder / "lock").unlink(), lambda: shutil.rmtree(folder), lambda: None):
        remove()
        with pytest.raises(ConfigError, match=f"runs already .pid {os.getpid()}"):
            second.take()
        assert second.running_pid() == os.getpid()
        first.keep()
        assert (folder / "lock").read_text() == str(os.getpid())
    first.release()
    assert second.running_pid() is None
    second.take()
    second.release()


def test_asking_often_does_not_keep_others_from_asking(folder: Path) -> None:
    lock = LineLock("bar", folder)
    lock.take()
    for _ in range(40):
        assert lock.running_pid() == os.getpid()
        lock.keep()
    lock.release()


@needs_root
def test_a_name_that_another_user_holds_keeps_no_line_from_starting(folder: Path) -> None:
    lock = LineLock("bar", folder)
    name = lock._names()[0]
    script = (
        f"import os, socket; os.setuid({NOBODY}); s = socket.socket(socket.AF_UNIX); s.bind({name!r}); s.listen(); "
    )
    script += "print('bound', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True) as squatter:
        assert squatter.stdout is not None
        assert squatter.stdout.readline() == "bound\n"
        assert lock.running_pid() is None
        lock.take()
        with pytest.raises(ConfigError, match="runs already"):
            LineLock("bar", folder).take()
        lock.release()
        squatter.kill()


def test_a_run_folder_is_made_private(folder: Path) -> None:
    make_private(folder)
    folder.chmod(0o777)
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


@needs_root
@pytest.mark.parametrize("part", ["base", "f2p", "line"])
def test_a_run_folder_of_somebody_else_is_refused(folder: Path, part: str) -> None:
    make_private(folder)
    foreign = {"base": folder.parents[1], "f2p": folder.parent, "line": folder}[part]
    os.chown(foreign, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}.*XDG_RUNTIME_DIR"):
        make_private(folder)


def test_a_link_in_place_of_the_run_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    make_private(folder.parent)
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a link"):
        make_private(folder)


def test_a_runtime_folder_that_everybody_may_write_to_is_refused(folder: Path) -> None:
    make_private(folder)
    folder.parents[1].chmod(0o777)
    with pytest.raises(ConfigError, match="can be written to by others"):
        make_private(folder)


def beat(name: str) -> Heartbeat:
    return Heartbeat(name=name, role="infer", pid=os.getpid(), state="running", at_ns=1, progress=1)


def test_signs_of_life_come_without_any_file_and_rubbish_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = NotifyListener()
    monkeypatch.setenv(ENVIRONMENT_KEY, listener.address)
    notify(beat("one"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for rubbish in (b"", b"\xff\xfe", b"X_F2P={", b"X_F2P=\xff", b"READY=1"):
            sender.sendto(rubbish, "\0" + listener.address[1:])
    notify(beat("two"))
    assert [heartbeat.name for heartbeat in listener.receive()] == ["one", "two"]
    listener.close()
    notify(beat("three"))  # a keeper that is gone does not stop anybody


@needs_root
def test_signs_of_life_of_another_user_are_not_heard() -> None:
    listener = NotifyListener()
    script = f"import os; os.setuid({NOBODY}); from pipeline.wire.notify import notify; from tests.pipeline.wire."
    script += "test_line_lock import beat; notify(beat('stranger'))"
    environment = {**os.environ, ENVIRONMENT_KEY: listener.address, "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", script], env=environment, timeout=60, check=False, capture_output=True)
    assert listener.receive() == []
    listener.close()
