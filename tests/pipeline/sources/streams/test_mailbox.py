"""Handing pictures from the camera's thread to the worker."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from pipeline.sources.base import BadFrame, Frame, SourceFault
from pipeline.sources.streams.mailbox import MAX_PICTURES, MAX_WAITING, Mailbox


def _frame(index: int) -> Frame:
    return Frame(np.zeros((2, 2), np.uint8), captured_at_ns=index * 10, index=index)


def _drain(mailbox: Mailbox) -> list[Frame | BadFrame]:
    items = []
    while (item := mailbox.get(0)) is not None:
        items.append(item)
    return items


def test_pictures_come_in_order() -> None:
    mailbox = Mailbox()
    for index in range(5):
        mailbox.put(_frame(index))

    assert [item.index for item in _drain(mailbox)] == [0, 1, 2, 3, 4]


def test_reader_that_falls_behind_is_told_of_every_lost_picture() -> None:
    mailbox = Mailbox()
    for index in range(3 * MAX_PICTURES):
        mailbox.put(_frame(index) if index != 4 else BadFrame(4, "unreadable", "torn", 40))

    items = _drain(mailbox)

    assert [item.index for item in items] == list(range(3 * MAX_PICTURES))
    assert [item.index for item in items if isinstance(item, Frame)] == list(range(2 * MAX_PICTURES, 3 * MAX_PICTURES))
    lost = [item for item in items if isinstance(item, BadFrame)]
    assert {item.reason for item in lost if item.index != 4} == {"overrun"}
    assert [item.captured_at_ns for item in lost] == [item.index * 10 for item in lost]


def test_memory_is_bounded_when_nobody_reads_at_all() -> None:
    mailbox = Mailbox()
    for index in range(MAX_WAITING):
        mailbox.put(_frame(index))

    with pytest.raises(SourceFault, match="nobody read"):
        mailbox.put(_frame(MAX_WAITING))


def test_fault_comes_after_the_last_picture() -> None:
    mailbox = Mailbox()
    mailbox.put(_frame(0))
    mailbox.fail("camera gone")
    mailbox.fail("and something else")

    assert mailbox.get(0) is not None
    with pytest.raises(SourceFault, match=r"^camera gone$"):
        mailbox.get(0)


def test_empty_mailbox_answers_in_time() -> None:
    started_s = time.monotonic()

    assert Mailbox().get(0.05) is None
    assert 0.04 < time.monotonic() - started_s < 1


def test_waiting_reader_is_woken() -> None:
    mailbox = Mailbox()
    threading.Timer(0.02, mailbox.put, [_frame(7)]).start()

    item = mailbox.get(5)

    assert item is not None
    assert item.index == 7
