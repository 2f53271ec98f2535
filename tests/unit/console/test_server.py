"""The web application, over a real socket."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import requests
import uvicorn

from console.server import HEADERS, MAX_CLIENTS, application
from console.view import Board, View, build
from tests.unit.console.examples import HOSTILE, NOW, REJECTED, answers, topics

HOSTS = ("localhost", "127.0.0.1")


@contextlib.contextmanager
def serving(view: Callable[[], View]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application(view, HOSTS), log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    board = Board(20)
    with serving(lambda: build(answers(topics=topics(rejected=(REJECTED,))), board, NOW)) as url:
        yield url


def test_the_page_is_complete_without_javascript_and_small(address: str) -> None:
    page = requests.get(address, timeout=10)
    assert "nothing lost since the start" in page.text
    assert "a calm post" in page.text
    assert "make rejected REPLAY=bad_text" in page.text
    statics = [
        requests.get(f"{address}/static/{name}", timeout=10) for name in ("console.js", "console.css", "icon.svg")
    ]
    assert len(page.content) + sum(len(each.content) for each in statics) < 100_000


def test_posts_are_text(address: str) -> None:
    page = requests.get(address, timeout=10).text
    assert HOSTILE not in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=" in page


@pytest.mark.parametrize("path", ["/", "/events", "/static/console.js", "/static/absent", "/healthz"])
def test_every_answer_has_the_security_headers(address: str, path: str) -> None:
    with requests.get(address + path, timeout=10, stream=True) as answer:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value or name == "Cache-Control"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(address: str, method: str) -> None:
    assert requests.request(method, address, timeout=10).status_code == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "localhost.evil.example", ""])
def test_a_foreign_host_is_refused(address: str, host: str) -> None:
    assert requests.get(address, headers={"Host": host}, timeout=10).status_code == 400
    assert requests.get(f"{address}/healthz", headers={"Host": host}, timeout=10).status_code == 200


def test_the_stream_sends_only_what_has_changed(address: str) -> None:
    with requests.get(f"{address}/events", timeout=10, stream=True) as answer:
        lines = (line for line in answer.iter_lines(chunk_size=1) if line.startswith(b"data: "))
        first, second = next(lines), next(lines)
    assert b'"posts"' in first
    assert second == b"data: {}"


def test_too_many_clients_are_sent_away(address: str) -> None:
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(requests.get(f"{address}/events", timeout=10, stream=True))
            for _ in range(MAX_CLIENTS + 4)
        ]
        codes = [each.status_code for each in streams]
    assert codes.count(200) <= MAX_CLIENTS
    assert 503 in codes
