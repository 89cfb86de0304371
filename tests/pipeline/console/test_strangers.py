"""The page and strangers: without a token, with much to say, with nothing to say, and with foreign data."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
import yaml

from f2pnet.config import load_line
from f2pnet.errors import F2pError
from pipeline.console import guard as guard_module
from pipeline.console import reviews as reviews_module
from pipeline.console.worker import ConsoleWorker
from pipeline.store.embedded.server import EmbeddedRedis
from tests.pipeline.harness import LineUnderTest

TOKEN = "a-token-of-the-plant-4711"
RUN = "01975f3e-8a3b-7000-8000-000000000000"
RESULTS, ALERTS = "f2p:{bar}:results", "f2p:{bar}:alerts"
LIMIT_S = 10.0
Serve = Callable[..., int]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "store") as server:
        yield server


@pytest.fixture
def client(store: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(store.url, protocol=2, socket_timeout=5) as other:
        yield other


@pytest.fixture
def serve(line: LineUnderTest, store: EmbeddedRedis, free_ports: list[int]) -> Iterator[Serve]:
    """Starts the page of a line in this process; its port."""
    workers: list[ConsoleWorker] = []

    def start(*, token: bool = False) -> int:
        line.config["console"] = {"port": free_ports[0]}
        if token:
            (line.folder / "token").write_text(TOKEN)
            line.config["console"]["token_file"] = "token"
        line.config["publish"] |= {"redis": store.url, "evidence": {"dir": "evidence", "keep": "ng"}}
        line.file.write_text(yaml.safe_dump(line.config))
        worker = ConsoleWorker("console", load_line(line.file), line.file)
        worker.set_up()
        workers.append(worker)
        return free_ports[0]

    yield start
    for worker in workers:
        worker.tear_down()


def answer(port: int, request: bytes) -> bytes:
    """All that the page says to these bytes."""
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as connection:
        connection.sendall(request)
        said = b""
        while chunk := connection.recv(65536):
            said += chunk
        return said


def get(port: int, path: str, host: str = "127.0.0.1", more: str = "") -> bytes:
    return answer(port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n".encode())


def post(port: int, path: str, content: dict[str, Any]) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)) as connection:
        connection.request("POST", path, json.dumps(content), {"x-f2p": "1"})
        said = connection.getresponse()
        body = said.read()
    return said.status, json.loads(body) if said.status == 200 else body


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


HOSTS = ["a/login?", "a/static/", "a/login#", "a\\login", "@/login?", "x/static/..", "[::1]/login?", "a/login/..", ""]
PATHS = [
    "/api/state",
    "/api/alerts",
    "//login/../api/state",
    "/static/../api/state",
    "/login/../api/state",
    "/static/%2e%2e/api/state",
    "/login/",
    "/loginx",
    "/LOGIN",
    "//login",
    "/staticx/app.js",
    "/evidence.jpg?id=/login",
    "http://a/login",
    "/api/state;/login",
]


def test_without_the_token_no_way_of_asking_leads_past_it(serve: Serve) -> None:
    port = serve(token=True)
    for path in PATHS:
        for host in HOSTS:
            assert status_of(get(port, path, host)) in (400, 401, 404), (path, host)
    assert status_of(get(port, "/login")) == 200
    assert status_of(get(port, "/static/app.js")) == 200
    for trick in ("/static/../app.py", "/static/..%2f..%2fapp.py", "/static//etc/passwd", "/static/%2fetc/passwd"):
        assert status_of(get(port, trick)) in (401, 404), trick
    assert status_of(get(port, "/api/state", more=f"Authorization: Bearer {TOKEN}\r\n")) == 200
    assert (
        status_of(get(port, "/api/state", more="Authorization: Bearer \udcff\r\n".encode(errors="replace").decode()))
        == 401
    )


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=BB", "application/json", "a/b"]
)
def test_a_body_is_bounded_while_it_is_read(serve: Serve, kind: str) -> None:
    port = serve(token=True)
    head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    for length in ("Content-Length: 300000000", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", port), LIMIT_S) as connection:
            connection.sendall(f"{head}{length}\r\n\r\n".encode())
            sent = 0
            try:
                while sent < 50_000_000:
                    chunk = b"a" * 65_536
                    connection.sendall(chunk if "Length" in length else b"10000\r\n" + chunk + b"\r\n")
                    sent += len(chunk)
            except OSError:
                pass
            assert sent < 20_000_000, length
    assert status_of(get(port, "/login")) == 200


def test_the_token_opens_the_page_by_its_form(serve: Serve) -> None:
    port = serve(token=True)
    for body, status in (
        (f"token={TOKEN}", 303),
        ("token=wrong", 401),
        ("", 401),
        ("&a=1" * 3000, 400),
        ("%ff=%fe", 401),
    ):
        head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        assert status_of(answer(port, (head + body).encode())) == status, body[:20]


@pytest.mark.parametrize("words", [b"", b"GET /login HTT", b"POST /login HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
def test_silent_and_slow_connections_are_few_and_others_are_answered(serve: Serve, words: bytes) -> None:
    port = serve()
    with ExitStack() as held:
        for _ in range(150):
            silent = held.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S))
            try:
                silent.sendall(words)
            except OSError:
                continue  # it gave way already
        began_s = time.monotonic()
        assert status_of(get(port, "/login")) == 200
        assert time.monotonic() - began_s < 5


def test_a_slow_request_has_little_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "IDLE_S", 1.0)
    port = serve()
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as slow:
        began_s = time.monotonic()
        try:
            for byte in b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 200:
                slow.sendall(bytes((byte,)))
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - began_s < 5


def test_open_pages_are_so_many_for_each_address_and_leave_room_for_requests(serve: Serve) -> None:
    port = serve()
    with ExitStack() as held:
        firsts = []
        for _ in range(guard_module.MOST_STREAMS_OF_AN_ADDRESS + 3):
            stream = held.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S))
            stream.sendall(b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            said = b""
            while b"event: " not in said:
                chunk = stream.recv(65536)
                assert chunk
                said += chunk
            firsts.append(b"too many pages" in said)
        assert firsts == [False] * guard_module.MOST_STREAMS_OF_AN_ADDRESS + [True] * 3
        assert status_of(get(port, "/api/state")) == 200


def stored(number: int, **changed: Any) -> dict[str, Any]:
    frame_id = f"cam1/{RUN}/{number:06d}"
    data = {"frame_id": frame_id, "camera_id": "cam1", "seq": number, "verdict": "NG", "captured_at_ns": 1} | changed
    fields = {"frame_id": frame_id, "camera_id": "cam1", "part_id": "", "verdict": "NG", "captured_at_ns": 1}
    return fields | {"data": json.dumps(data)}


def test_only_pictures_where_evidence_puts_them_are_handed_out(
    serve: Serve, client: redis.Redis, line: LineUnderTest
) -> None:
    port = serve()
    place = f"evidence/1970-01-01/cam1/000000.000_{RUN}_{{:06d}}_NG.jpg"
    (line.folder / "evidence/1970-01-01/cam1").mkdir(parents=True)
    (line.folder / place.format(1)).write_bytes(b"picture of 1")
    (line.folder / "evidence/secret.jpg").write_bytes(b"SECRET")
    (line.folder / "secret.jpg").write_bytes(b"SECRET")
    (line.folder / place.format(2)).symlink_to(line.folder / "secret.jpg")
    (line.folder / place.format(3)).mkdir()
    stated = {
        1: place.format(1),
        2: place.format(2),
        3: place.format(3),
        4: place.format(1),  # of another frame
        5: "evidence/secret.jpg",
        6: "evidence/../secret.jpg",
        7: str(line.folder / "secret.jpg"),
        8: "/etc/passwd",
        9: "/proc/self/environ",
        10: "evidence/1970-01-01/cam1/\x00.jpg",
        11: place.format(11),  # that is not there
        12: "",
    }
    for number, path in stated.items():
        client.xadd(RESULTS, stored(number, evidence=path))
    said = {number: get(port, "/evidence.jpg?id=" + quote(f"cam1/{RUN}/{number:06d}")) for number in stated}
    assert said[1].endswith(b"picture of 1")
    assert {status_of(text) for number, text in said.items() if number != 1} == {404}


def test_foreign_entries_reviews_and_heartbeats_are_passed_over(serve: Serve, client: redis.Redis) -> None:
    port = serve()
    for stream in (RESULTS, ALERTS):
        client.xadd(stream, stored(1))
        for fields in ({"x": "y"}, {b"\xff": b"\xfe"}, stored(2) | {"data": "{}"}, stored(3) | {"verdict": "MAYBE"}):
            client.xadd(stream, fields)
    client.hset("f2p:{bar}:workers", mapping={b"\xff": b"\xfe", b"publish": b"{}", b"x": b'{"name": "y"}'})
    client.hset("f2p:{bar}:ledger:cam1", mapping={b"\xff": b"\xfe", b"captured": b"many", b"run_id": b"\xff"})
    client.hset("f2p:{bar}:reviews", mapping={b"\xff": b"\xfe", f"cam1/{RUN}/000001": b"{}", b"x": b'{"word": 1}'})
    client.set("f2p:{bar}:ledger:cam2", "no hash")
    alerts = json.loads(get(port, "/api/alerts").partition(b"\r\n\r\n")[2])
    assert [item["frame_id"] for item in alerts["items"]] == [f"cam1/{RUN}/000001"]
    assert alerts["items"][0]["review"] is None
    for path in ("/api/state", "/api/frame?id=" + quote(f"cam1/{RUN}/000001"), "/api/alerts?verdict=OK"):
        assert status_of(get(port, path)) == 200, path
    client.delete("f2p:{bar}:workers")
    client.set("f2p:{bar}:workers", "no hash")
    assert status_of(get(port, "/api/state")) == 200


def test_strange_questions_are_answered_with_400_and_strange_words_are_kept_as_text(serve: Serve) -> None:
    port = serve()
    for query in (
        "since_ms=" + "9" * 5000,
        "since_ms=-1",
        "before=x",
        "limit=" + "9" * 5000,
        "verdict=MAYBE",
        "since_ms=²",
    ):
        assert status_of(get(port, f"/api/alerts?{quote(query, safe='=')}")) == 400, query
    for frame_id in ("../../x", "cam1/../1", "%00", "\u202e", "cam1/" + "r" * 300 + "/1"):
        assert status_of(get(port, "/api/frame?id=" + quote(frame_id))) == 400, frame_id
    status, told = post(
        port, "/api/review", {"frame_id": f"cam1/{RUN}/000001", "word": "confirmed", "note": "\udcff\x1b[2J"}
    )
    assert status == 200
    assert "2J" in told["review"]["note"]
    assert post(port, "/api/seen", {"frame_id": "\udcff", "by": "\udcff"})[0] in (200, 400)
    assert post(port, "/api/review", {"frame_id": f"cam1/{RUN}/000001", "word": []})[0] == 400


def test_what_a_reader_of_the_page_may_leave_in_the_store_is_bounded(
    serve: Serve, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviews_module, "MOST_REVIEWS", 4)
    monkeypatch.setattr(reviews_module, "MOST_SEEN", 10)
    port = serve()
    client.hset("f2p:{bar}:acknowledged", mapping={b"\xff": b"x", b"later": b"9" * 30})  # of others
    frames = [f"cam1/{RUN}/{seq:06d}" for seq in range(25)]
    answers = [post(port, "/api/review", {"frame_id": frame, "word": "confirmed"}) for frame in frames[:6]]
    assert [status for status, _ in answers] == [200] * 4 + [400] * 2
    assert b"f2p reviews" in answers[-1][1]
    assert post(port, "/api/review", {"frame_id": frames[0], "word": "missed"})[1]["review"]["word"] == "missed"
    assert post(port, "/api/review", {"frame_id": frames[0], "word": ""})[0] == 200  # makes room
    assert post(port, "/api/review", {"frame_id": frames[5], "word": "confirmed"})[0] == 200
    assert client.hlen("f2p:{bar}:reviews") == 4

    for number, frame in enumerate(frames):
        assert post(port, "/api/seen", {"frame_id": frame})[1]["acknowledged"] is True
        assert client.hlen("f2p:{bar}:acknowledged") <= 10, number
    kept = set(client.hkeys("f2p:{bar}:acknowledged"))
    assert {frame.encode() for frame in frames[-9:]} <= kept  # the ones that were acknowledged last


def test_a_server_that_ends_by_itself_is_a_failure_so_that_the_page_is_started_again(
    line: LineUnderTest, store: EmbeddedRedis, free_ports: list[int]
) -> None:
    line.config["console"] = {"port": free_ports[0]}
    line.config["publish"] |= {"redis": store.url}
    line.file.write_text(yaml.safe_dump(line.config))
    worker = ConsoleWorker("console", load_line(line.file), line.file)
    worker.set_up()
    assert worker.step()
    worker._server.should_exit = True
    worker._thread.join(LIMIT_S)
    with pytest.raises(F2pError, match="the server of the page ended"):
        worker.step()
    worker.tear_down()
