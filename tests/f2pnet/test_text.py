from __future__ import annotations

import os

import pytest

from f2pnet.text import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("part 1.png", "part 1.png"),
        ("Kratzer_äöü_刮痕_😀.png", "Kratzer_äöü_刮痕_😀.png"),
        (os.fsdecode(b"part\xff\xfe.png"), r"part\xff\xfe.png"),
        ("a\x1b[2Jb\x07", r"a\x1b[2Jb\x07"),
        ("a\nf2p: all is well\r\t", r"a\nf2p: all is well\r\t"),
        ("a\u009b31mred", r"a\x9b31mred"),  # CSI of C1, which terminals obey too
        ("gnp\u202e.exe", r"gnp\u202e.exe"),  # right-to-left override
        ("a\u2066b\u200fc\ufeff", r"a\u2066b\u200fc\ufeff"),
        ("line\u2028separator", r"line\u2028separator"),
        ("\ud83d alone", r"\ud83d alone"),
        ("\U000e0041tag", r"\U000e0041tag"),
        ("", ""),
    ],
)
def test_only_what_is_plainly_visible_stays(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).encode("utf-8").decode("utf-8").isprintable()


def test_lines_of_a_message_stay_lines_and_can_forge_none() -> None:
    assert printable_lines("one\n  two\nf2p: three\x1b") == "one\n  two\n  f2p: three\\x1b"
