from __future__ import annotations

import random

from f2pnet.backoff import Backoff


class Middle(random.Random):
    """Always the middle of the range asked for: no jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_delays_double_up_to_the_limit() -> None:
    backoff = Backoff(0.5, 5.0, Middle())

    assert [backoff.next_delay() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_after_a_success_the_next_failure_is_a_first_one() -> None:
    backoff = Backoff(0.5, 5.0, Middle())
    backoff.next_delay()
    backoff.next_delay()

    backoff.reset()

    assert backoff.next_delay() == 0.5


def test_two_clients_do_not_knock_in_step() -> None:
    delays = {Backoff(1.0, 5.0, random.Random(seed)).next_delay() for seed in range(20)}

    assert len(delays) == 20
    assert all(0.8 <= delay <= 1.2 for delay in delays)
