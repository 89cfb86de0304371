"""On the path of a line under test, every process of it reads this clock: the machine's, put wrong by what a file says.

`F2P_TEST_CLOCK` names the file: eight bytes, the ns to be added. The monotonic clock is left alone, as it is when
somebody sets the time of a machine.
"""

import mmap
import os
import pathlib
import time

_true_time_ns = time.time_ns
with pathlib.Path(os.environ["F2P_TEST_CLOCK"]).open("rb") as _file:
    _wrong_by = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)


def _time_ns():
    return _true_time_ns() + int.from_bytes(_wrong_by[:8], "little", signed=True)


time.time_ns = _time_ns
time.time = lambda: _time_ns() / 1e9
