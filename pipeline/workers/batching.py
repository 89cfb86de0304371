"""Dynamic batching across cameras, without I/O."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar


class Leased(Protocol):
    """What the batcher needs to know of an item."""

    @property
    def camera_id(self) -> str: ...


T = TypeVar("T", bound=Leased)


class Batcher(Generic[T]):
    """Gathers items until a batch is full or its first item has waited long enough.

    Cameras take turns, so that a fast one does not push a slow one's frames back. Times are monotonic nanoseconds that
    the caller hands in.
    """

    def __init__(self, max_batch: int, max_wait_ms: float) -> None:
        self._max_batch = max_batch
        self._max_wait_ns = int(max_wait_ms * 1e6)
        self._waiting: dict[str, deque[tuple[int, T]]] = {}  # by camera, in the order of the cameras' next turn

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, item: T, now_ns: int) -> None:
        self._waiting.setdefault(item.camera_id, deque()).append((now_ns, item))

    def wait_ns(self, now_ns: int) -> int | None:
        """How long until a batch is due; 0 when one is, None when nothing waits."""
        if not self._waiting:
            return None
        if len(self) >= self._max_batch:
            return 0
        oldest_ns = min(queue[0][0] for queue in self._waiting.values())
        return max(0, oldest_ns + self._max_wait_ns - now_ns)

    def take(self, now_ns: int) -> list[T]:
        """The next batch when one is due, else an empty list."""
        if self.wait_ns(now_ns) != 0:
            return []
        batch: list[T] = []
        while self._waiting and len(batch) < self._max_batch:
            camera_id, queue = next(iter(self._waiting.items()))
            batch.append(queue.popleft()[1])
            del self._waiting[camera_id]
            if queue:
                self._waiting[camera_id] = queue  # to the end: the others come first now
        return batch
