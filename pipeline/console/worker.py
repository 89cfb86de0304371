"""The console as a worker of the line: under supervision like the others, in a process of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import uvicorn

from f2pnet.config import LineConfig
from f2pnet.config.console import ConsoleConfig
from f2pnet.errors import ConfigError, F2pError, MissingResource
from pipeline.console.app import LARGEST_BODY, console_app
from pipeline.console.guard import Guard
from pipeline.wire.rundir import RunDir
from pipeline.workers.worker import Role, Worker

STEP_S = 0.1
START_S = 10.0
CLOSE_S = 2.0
_log = structlog.get_logger(__name__)


class ConsoleWorker(Worker):
    """Serves the page until it is asked to end."""

    role: Role = "console"

    def __init__(
        self, name: str, line: LineConfig, line_file: Path, read_line: Callable[[], LineConfig] | None = None
    ) -> None:
        """`read_line` gives the line that is in force when the worker is notified that it changed."""
        super().__init__(name)
        self._line_file = line_file
        self._read_line = read_line
        if line.console is None:
            raise ConfigError(f"line {line.line} has no console: add `console: {{port: 8088}}` to {line_file}")
        self._config: ConsoleConfig = line.console
        self._closing = threading.Event()
        self._failure = "without a reason"
        guard = Guard()
        app, self._use_line = console_app(line, RunDir(line, line_file), self._config, self._closing, guard)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(CLOSE_S),
                http=guard.protocol(),
                ws="none",
                h11_max_incomplete_event_size=LARGEST_BODY,
                proxy_headers=False,  # a client must not choose the address that it is counted under
                lifespan="off",
            )
        )

    def set_up(self) -> None:
        host, port = self._config.host, self._config.port
        try:
            listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            raise MissingResource(
                f"the console can't listen on {host}:{port} ({error.strerror}): choose another console.port"
            ) from error
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, name="console", daemon=True)
        self._thread.start()
        until_s = time.monotonic() + START_S
        while not self._server.started and time.monotonic() < until_s:
            time.sleep(0.01)
        port = listener.getsockname()[1]
        _log.info("console", address=f"http://{host}:{port}/")
        self.detail = f"http://{host}:{port}/"

    def step(self) -> bool:
        """Raises F2pError when the server ended by itself: nobody would start the page again after an orderly end."""
        time.sleep(STEP_S)
        self.progress = self._server.server_state.total_requests
        if not self._thread.is_alive():
            raise F2pError(f"the server of the page ended: {self._failure}")
        return True

    def reload(self) -> None:
        """Turn to the cameras that are in force now; pages that are open go on."""
        if self._read_line is None:
            return
        try:
            line = self._read_line()
        except F2pError as error:
            _log.error("changes not applied", reason=str(error))
            return
        self._use_line(line, RunDir(line, self._line_file))

    def _serve(self) -> None:
        try:
            self._server.run([self._listener])
        except BaseException as error:
            self._failure = repr(error)
            if not self._closing.is_set():
                _log.exception("the server of the page ended")

    def drain(self) -> bool:
        return False

    def tear_down(self) -> None:
        self._closing.set()
        self._server.should_exit = True
        self._thread.join(CLOSE_S + 1)
        self._listener.close()
