from __future__ import annotations

from pipeline.processes.periodic import Periodic


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_work_is_due_at_once_and_then_once_an_interval() -> None:
    clock = Clock()
    work = Periodic(2.0, clock)
    assert [work.due(), work.due(), work.in_s] == [True, False, 2.0]
    clock.now_s += 1.5
    assert (work.due(), work.in_s) == (False, 0.5)
    clock.now_s += 5.0  # late: what was missed is not made up for
    assert [work.due(), work.due()] == [True, False]


def test_work_can_be_postponed_and_hurried() -> None:
    clock = Clock()
    work = Periodic(2.0, clock)
    work.postpone()
    assert not work.due()
    work.hurry()
    assert work.due()
