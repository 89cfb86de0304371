"""Every error that f2pnet raises on purpose, by who has to act on it.

    F2pError
    |-- ConfigError          who configures: a line, a recipe or a command is wrong        (exit 2)
    |-- MissingResource      who installs: a file, camera, server or device is not there   (exit 3)
    |   |-- MissingExtra     ... an optional package is not installed
    |   `-- OutOfResources   ... descriptors, memory or disk space ran out (try again later)
    |-- BundleError          who ships engines: a bundle is damaged or is not one          (exit 1)
    |-- BackendError         who operates: an engine failed while running                  (exit 1)
    |   `-- DeviceLost       ... and its device will not run again in this process
    |-- ClosedError          who programs: an Inspector was used after `close`             (exit 1)
    |-- StoreAway            who operates: the store does not answer (the line goes on)    (exit 3)
    |   `-- StoreRefused     ... it answers, and denies access; trying again will not help
    `-- SpoolError           who operates: the disk behind the spool refuses               (exit 1)

A message names the thing, the value seen, the value wanted and the cure.
"""

from __future__ import annotations

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `f2p`."""

    OK = 0
    """Success."""
    CHECK_FAILED = 1
    """A check or gate failed, an image could not be inspected, or a bundle is damaged."""
    USAGE = 2
    """The command line or a configuration is wrong."""
    MISSING = 3
    """A file, a package, a device or a server is missing; the message names the remedy."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it."""


class F2pError(Exception):
    """Root of all errors raised on purpose. `exit_code` is what a command that ends with it returns."""

    exit_code = ExitCode.CHECK_FAILED


class ConfigError(F2pError):
    """A configuration or an argument is wrong."""

    exit_code = ExitCode.USAGE


class MissingResource(F2pError):
    """A file, camera, server or device that was asked for is not there."""

    exit_code = ExitCode.MISSING


class MissingExtra(MissingResource):
    """An optional package is not installed.

    >>> print(MissingExtra("RTSP cameras", "camera"))
    RTSP cameras need the extra 'camera': pip install 'f2pnet[camera]'
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} need the extra '{extra}': pip install 'f2pnet[{extra}]'")
        self.extra = extra


class OutOfResources(MissingResource):
    """The machine has no more descriptors, memory or disk space for this just now; later it may have."""


RESOURCE_CURES = {
    errno.EMFILE: "this process may open no more files: raise its limit (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "the machine may open no more files: raise fs.file-max, or end what holds them",
    errno.ENOSPC: "no space left: free the disk, or enlarge the file system",
    errno.EDQUOT: "the disk quota is used up: free the disk, or raise the quota",
    errno.ENOMEM: "no memory left: give the machine or container more, or lower the cameras' ring_slots",
    errno.EAGAIN: "no more processes allowed: raise the limit (ulimit -u, TasksMax=, pids.max)",
}
"""What to do about an operating system's error that may pass by itself."""


def out_of_resources(what: str, error: OSError) -> OutOfResources | None:
    """`error` as OutOfResources with its cure, None where it says something else. `what` could not be done."""
    cure = RESOURCE_CURES.get(error.errno or 0)
    return None if cure is None else OutOfResources(f"{what}: {cure}")


class BundleError(F2pError):
    """An engine bundle is damaged, was tampered with, or is not a bundle."""


class BackendError(F2pError):
    """An inference backend failed while it ran."""


class DeviceLost(BackendError):
    """The device is lost to this process, whatever it tries next; another process may have it."""


class ClosedError(F2pError):
    """An object was used after it was closed."""


class StoreAway(F2pError):
    """The store does not answer; the message never holds its password."""

    exit_code = ExitCode.MISSING


class StoreRefused(StoreAway):
    """The store answers and denies access: trying again will not help."""


class SpoolError(F2pError):
    """The disk behind the spool refuses (full, read-only, damaged)."""
