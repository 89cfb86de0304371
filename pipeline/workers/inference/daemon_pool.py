"""Threads that run small tasks, and that never keep a process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Task = Callable[[], None]


class DaemonPool:
    """Runs tasks in the order given, `threads` at a time; 0: in the thread that submits them.

    A task handles its own errors.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.threads = threads
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Have a thread run the task."""
        if self.threads:
            self._tasks.put(task)
        else:
            task()

    def close(self, timeout_s: float) -> bool:
        """End the threads after the tasks that they have; whether they all ended within the time, s."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
