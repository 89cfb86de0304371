"""Who may stay connected, and who gives way."""

from __future__ import annotations

import random

import pytest

from pipeline.wire.admission import Admission, Limits


class Port:
    """Connections by number, as a server would hold them."""

    def __init__(self, limits: Limits) -> None:
        self.now_s = 0.0
        self.open: dict[int, str] = {}
        self.admission = Admission(limits, clock=lambda: self.now_s)
        self._next = 0

    def connect(self, address: str) -> int | None:
        self._next += 1
        number = self._next
        self.open[number] = address
        if self.admission.admit(number, address, lambda: self.open.pop(number)):
            return number
        del self.open[number]
        return None


@pytest.fixture(autouse=True)
def same_choices() -> None:
    random.seed(7)


def test_silent_connections_give_way_to_others_of_any_address() -> None:
    port = Port(Limits(connections=10, of_one_address=6, idle_of_one_address=6, idle_s=5))
    for _ in range(100):
        port.connect("stranger")
    assert len(port.open) == 6
    others = [port.connect(f"host{n}") for n in range(4)]
    assert None not in others
    late = port.connect("late")
    assert late in port.open
    assert len(port.open) == 10
    assert all(number in port.open for number in others)  # the address with most of them gave way


def test_served_connections_are_never_cut_off_for_new_ones() -> None:
    port = Port(Limits(connections=4, of_one_address=4, idle_of_one_address=4, idle_s=5))
    served = [port.connect("a") for _ in range(4)]
    for number in served:
        port.admission.serve(number)
    assert port.connect("b") is None
    assert port.connect("a") is None
    assert sorted(port.open) == served
    port.admission.gone(served[0])
    assert port.connect("b") is not None


def test_one_that_was_served_and_is_idle_again_counts_like_any_other() -> None:
    port = Port(Limits(connections=2, of_one_address=2, idle_of_one_address=2, idle_s=5))
    first, second = port.connect("a"), port.connect("a")
    port.admission.serve(first)
    port.admission.serve(second)
    port.admission.idle(first)
    assert port.connect("b") is not None
    assert first not in port.open
    assert second in port.open


def test_idle_ones_are_bounded_apart_from_those_that_are_known() -> None:
    port = Port(Limits(connections=100, of_one_address=100, idle_of_one_address=3, idle_s=5))
    known = [port.connect("a") for _ in range(50) if True]
    assert len(port.open) == 3
    for number in list(port.open):
        port.admission.serve(number)
    for _ in range(20):
        number = port.connect("a")
        port.admission.serve(number)
    assert len(port.open) == 23
    assert known


def test_idle_time_is_bounded_and_begins_anew_with_each_request() -> None:
    port = Port(Limits(connections=10, of_one_address=10, idle_of_one_address=10, idle_s=5))
    silent, served = port.connect("a"), port.connect("a")
    port.admission.serve(served)
    port.now_s = 4.9
    port.admission.close_overdue()
    assert len(port.open) == 2
    port.now_s = 5.0
    port.admission.close_overdue()
    assert [*port.open] == [served]
    assert silent not in port.open
    port.admission.idle(served)
    port.now_s = 9.0
    port.admission.close_overdue()
    assert [*port.open] == [served]
    port.now_s = 10.0
    port.admission.close_overdue()
    assert not port.open
    assert len(port.admission) == 0


def test_a_flood_hits_itself_most_of_the_time() -> None:
    """A peer that needs a moment to show its key gets through beside one that opens connections without end."""
    port = Port(Limits(connections=64, of_one_address=64, idle_of_one_address=16, idle_s=3))
    through = 0
    for _ in range(100):
        peer = port.connect("a")
        for _ in range(5):
            port.connect("a")
        through += peer in port.open
    assert through > 50
