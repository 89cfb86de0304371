"""Weights by address: resumed where a download broke off, and kept only when their checksum is right."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from f2pnet.engine.bundle import sha256_of
from f2pnet.errors import ConfigError, MissingResource
from training.pretrained.catalogue import Published, locate

BASE_VARIABLE = "F2P_PRETRAINED_URL"
TIMEOUT_S = 30
"""Without a byte."""
CHUNK_BYTES = 1 << 20
ATTEMPTS = 3
"""Connections in a row that may break off; each goes on where the last one ended."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here, and the size of the whole file where the server says it."""


def fetch(
    entry: Published, folder: Path, *, base_url: str | None = None, progress: Progress = lambda done, size: None
) -> Path:
    """The file of this entry in `folder`: as it is, copied from an installed package, or downloaded.

    `base_url` takes the place of the publisher's address, for a mirror. Raises MissingResource where the file can't be
    had from here, ConfigError where what came is not the published file; it is then deleted.
    """
    path = folder / entry.file
    if path.is_file():
        _require_hash(entry, path, f"delete {path} and fetch it again")
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingResource(f"folder {folder} cannot be made: {error.strerror}") from error
    unfinished = path.with_name(path.name + ".part")
    if (installed := locate(entry, folder)) is not None:
        shutil.copyfile(installed, unfinished)
    else:
        _download(address_of(entry, base_url), unfinished, progress)
    try:
        _require_hash(entry, unfinished, "it was deleted; fetch it again")
        if entry.sha256 is None:
            from training.pretrained.reading import require_readable  # torch, which help need not wait for

            require_readable(entry, unfinished)
    except ConfigError:
        unfinished.unlink()
        raise
    unfinished.replace(path)
    return path


def address_of(entry: Published, base_url: str | None) -> str:
    """Where the file is downloaded from. Raises MissingResource for one that comes another way."""
    base_url = base_url or os.environ.get(BASE_VARIABLE)
    if base_url is not None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"the base address is '{base_url}', wanted http:// or https://")
        return f"{base_url.rstrip('/')}/{entry.file}"
    if entry.url is None:
        raise MissingResource(f"{entry.file} is in the {entry.source} and has no address of its own: {entry.cure}")
    return entry.url


def _download(url: str, path: Path, progress: Progress) -> None:
    """The whole file, going on where an earlier download ended. Raises MissingResource where it is unavailable."""
    for attempt in range(1, ATTEMPTS + 1):
        before = _bytes_here(path)
        try:
            _receive(url, path, before, progress)
        except urllib.error.HTTPError as error:
            raise MissingResource(f"{url} answers {error.code} {error.reason}: {_by_hand(url, path)}") from error
        except (OSError, HTTPException) as error:
            here = _bytes_here(path)
            if here > before and attempt < ATTEMPTS:
                continue
            kept = f"{here / 1e6:.1f} MB are kept, and the same command goes on from there; " if here else ""
            reason = getattr(error, "reason", error)
            raise MissingResource(f"{url} cannot be reached ({reason}): {kept}{_by_hand(url, path)}") from error
        return


def _receive(url: str, path: Path, done: int, progress: Progress) -> None:
    """Append what `path` lacks after its `done` bytes. Raises OSError or HTTPException where the connection fails."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310 (http only)
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and done and error.headers.get("Content-Range") == f"bytes */{done}":
            return  # nothing is lacking
        raise
    with response:
        if response.status != 206:
            done = 0  # a server that does not resume sends the file from its start
        length = response.headers.get("Content-Length")
        size = None if length is None else done + int(length)
        _append(path, b"", anew=done == 0)
        progress(done, size)
        while chunk := response.read(CHUNK_BYTES):
            _append(path, chunk)
            done += len(chunk)
            progress(done, size)
    if size is not None and done < size:
        raise ConnectionError(f"broke off after {done / 1e6:.1f} of {size / 1e6:.1f} MB")


def _append(path: Path, chunk: bytes, *, anew: bool = False) -> None:
    try:
        with path.open("wb" if anew else "ab") as file:
            file.write(chunk)
    except OSError as error:  # of the disk, not of the connection
        raise MissingResource(
            f"{path} cannot be written ({error.strerror}): choose another folder with --pretrained-dir"
        ) from error


def _bytes_here(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _by_hand(url: str, path: Path) -> str:
    file = path.name.removesuffix(".part")
    return f"check the connection, or download {url} on another machine and copy it to {path.with_name(file)}"


def _require_hash(entry: Published, path: Path, cure: str) -> None:
    sha256 = sha256_of(path)
    if not entry.matches(sha256):
        raise ConfigError(
            f"{entry.file} is not the published file: its sha256 begins with {sha256[:12]}, "
            f"wanted {(entry.sha256 or '')[:12]}; {cure}"
        )
