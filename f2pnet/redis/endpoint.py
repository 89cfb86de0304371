"""Where a line's embedded Redis listens: a small file beside its data, readable by its owner only.

The server holds a lock on a file beside it for as long as it lives, so a file left behind by a killed line is not
mistaken for a running server.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

from f2pnet.errors import MissingResource

EMBEDDED = "embedded:"
"""Begin of the address of an embedded server wherever it listens: `embedded:/path/of/its/data`."""
ENDPOINT_FILE = "endpoint.json"
LOCK_FILE = "lock"


def find_embedded(data_dir: Path) -> str:
    """Address, password included, of the embedded Redis that runs on `data_dir`.

    Raises MissingResource when none runs there.
    """
    if not _is_locked(data_dir / LOCK_FILE):
        raise MissingResource(f"no embedded Redis runs on {data_dir}: start its line (f2p run)")
    try:
        url = json.loads((data_dir / ENDPOINT_FILE).read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MissingResource(f"the embedded Redis on {data_dir} is just starting or stopping: try again") from error
    return str(url)


def embedded_address(data_dir: Path) -> str:
    """The address of the embedded Redis on `data_dir`, the same over all its starts."""
    return f"{EMBEDDED}{data_dir.resolve()}"


def write_endpoint(data_dir: Path, url: str, pid: int) -> None:
    """State where the server listens. The file appears whole, and only its owner may read it."""
    temporary = data_dir / f"{ENDPOINT_FILE}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_endpoint(url, pid))
    temporary.replace(data_dir / ENDPOINT_FILE)


def endpoint_is(data_dir: Path, url: str, pid: int) -> bool:
    """Whether the file is there and says just that; what can't be looked at for want of descriptors is not gone."""
    try:
        return (data_dir / ENDPOINT_FILE).read_bytes() == _endpoint(url, pid).encode()
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)


def _endpoint(url: str, pid: int) -> str:
    return json.dumps({"url": url, "pid": pid})


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
