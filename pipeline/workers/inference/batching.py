"""Dynamic batching across cameras, without I/O.

Cameras take turns, so that a fast one does not push a slow one's frames back. As long as all that waits can be done in
time, frames of a camera go in their order. When it can't, a camera's newest frame goes first: the oldest would be done
just when it is too late, and then the next one, and the engine would work for nothing. The same is done with requests
by servers under overload (B. Maurer, "Fail at Scale", ACM Queue 13-8, 2015: adaptive LIFO).
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from pipeline.workers.inference.batch_times import BatchTimes

UNLUCKY_RUN = 1.25  # a batch is planned as if it took so many times its mean; the rest is for the verdict's way


class Leased(Protocol):
    """What the batcher needs to know of an item. `deadline_ns` None: it may take as long as it takes."""

    @property
    def camera_id(self) -> str: ...

    @property
    def deadline_ns(self) -> int | None: ...


T = TypeVar("T", bound=Leased)


class Batcher(Generic[T]):
    """Gathers items until a batch is full or its first item has waited long enough.

    Times are monotonic nanoseconds that the caller hands in.
    """

    def __init__(self, max_batch: int, max_wait_ms: float, times: BatchTimes) -> None:
        self._max_batch = max_batch
        self._max_wait_ns = int(max_wait_ms * 1e6)
        self._times = times
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

    def take_late(self, now_ns: int) -> list[T]:
        """Items whose deadline has passed; they wait no longer."""
        late = [item for queue in self._waiting.values() for _, item in queue if _left_ns(item, now_ns) <= 0]
        if late:
            for camera_id, queue in list(self._waiting.items()):
                self._put_back(camera_id, deque(entry for entry in queue if _left_ns(entry[1], now_ns) > 0))
        return late

    def take(self, now_ns: int, ahead_ms: float = 0.0) -> list[T]:
        """The next batch when one is due, else an empty list. `ahead_ms`: until the engine can begin with it.

        Only what can be done in time goes into it, and only as long as it stays in time with it. When nothing can,
        one frame goes alone where the engine has nothing better to do: it may have become faster.
        """
        if self.wait_ns(now_ns) != 0:
            return []
        ahead_ns = ahead_ms * 1e6
        newest_first = self._too_much(now_ns, ahead_ns)
        batch: list[T] = []
        left_ns = float("inf")  # of the batch's most urgent item
        for camera_id in self._turns():
            if len(batch) == self._max_batch:
                break
            queue = self._waiting.get(camera_id)
            if not queue:
                continue
            last = newest_first and queue[-1][1].deadline_ns is not None
            item = queue[-1 if last else 0][1]
            if ahead_ns + self._needed_ns(len(batch) + 1) <= min(left_ns, _left_ns(item, now_ns)):
                left_ns = min(left_ns, _left_ns(item, now_ns))
                batch.append(self._pop(camera_id, last=last))
        if not batch and not ahead_ns:
            return [self._pop(next(iter(self._waiting)), last=newest_first)]
        return batch

    def _turns(self) -> list[str]:
        """Cameras, as often as they have items: all of them once, then those with more, ..."""
        depth = max(map(len, self._waiting.values()))
        return [camera_id for turn in range(depth) for camera_id, queue in self._waiting.items() if len(queue) > turn]

    def _pop(self, camera_id: str, *, last: bool) -> T:
        """The camera had its turn: the others come first now."""
        queue = self._waiting[camera_id]
        _, item = queue.pop() if last else queue.popleft()
        self._put_back(camera_id, queue)
        return item

    def _put_back(self, camera_id: str, queue: deque[tuple[int, T]]) -> None:
        del self._waiting[camera_id]
        if queue:
            self._waiting[camera_id] = queue

    def _too_much(self, now_ns: int, ahead_ns: float) -> bool:
        """Whether something would be late, were all of it done, the most urgent first."""
        left = sorted(_left_ns(item, now_ns) for queue in self._waiting.values() for _, item in queue)
        full, needed_ns = self._max_batch, ahead_ns
        for start in range(0, len(left), full):
            needed_ns += self._needed_ns(len(left[start : start + full]))
            if needed_ns > left[start]:
                return True
        return False

    def _needed_ns(self, size: int) -> float:
        return UNLUCKY_RUN * self._times.of(size) * 1e6


def _left_ns(item: Leased, now_ns: int) -> float:
    return float("inf") if item.deadline_ns is None else item.deadline_ns - now_ns
