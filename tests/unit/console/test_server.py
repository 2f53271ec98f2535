"""The web application, over a real socket."""

import contextlib
import itertools
import json
import re
import socket
import string
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest
import requests
import uvicorn
from markupsafe import escape

from console import server
from console.history import SECONDS
from console.ledger import INCIDENTS
from console.observations import FeedEvent, Post
from console.page import SECTIONS
from console.server import HEADERS, MAX_CLIENTS, application
from console.sources.kafka import MAX_RECORD, MAX_TEXT, POSTS
from console.view import Board, View, build
from jobs.feeds.model import CODES
from tests.unit.console.examples import HOSTILE, NOW, REJECTED, answers, collector, topics

HOSTS = ("localhost", "127.0.0.1")


@contextlib.contextmanager
def serving(
    view: Callable[[], View], version: Callable[[], int] = lambda: 0, look: Callable[[], object] = lambda: None
) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = application(view, HOSTS, version, look)
        running = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.should_exit = True
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
    named = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
    assert any("uPlot" in name for name in named)
    statics = [requests.get(f"{address}/{name}", timeout=10) for name in named]
    assert [each.status_code for each in statics] == [200] * len(statics)
    assert len(page.content) + sum(len(each.content) for each in statics) < 100_000


def test_a_full_page_is_small_on_the_wire() -> None:
    """All that is bounded is at its bound: lines, periods, incidents, posts, documents and rejections."""
    view = full()
    assert None not in view.boxes[1].points[:-1]
    with serving(lambda: view) as url:
        page = requests.get(url, timeout=10)
        named = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
        answers = [requests.get(f"{url}/{name}", timeout=10) for name in named] + [page]
    assert page.text.count('<details id="incident-') == INCIDENTS
    assert {each.headers["Content-Encoding"] for each in answers} == {"gzip"}
    assert sum(int(each.headers["Content-Length"]) for each in answers) < 100_000


def full() -> View:
    board, random = Board(20), Random(1)
    total = 0.0
    for at in range(int(NOW) - SECONDS, int(NOW)):
        total += random.random() * 999
        build(answers(at, collector=collector(metrics={"collector_posts": total})), board, at)

    def text(length: int) -> str:
        return "".join(random.choices(HOSTILE + string.ascii_letters, k=length))

    events = tuple(
        FeedEvent(what, NOW - ago * 60, "simulator", text(40), {"reason": text(90)}, f"0/{ago}", text(MAX_RECORD))
        for ago in range(1_000, 0, -2)
        for what in ("disconnected", "resumed", "lost")
    )
    posts = tuple(Post(str(at), text(MAX_TEXT), NOW - at, "simulator", "a/1", text(MAX_TEXT)) for at in range(POSTS))
    rejected = tuple(replace(REJECTED, code=code, sample=text(300), reason=text(200)) for code in CODES)
    return build(answers(topics=topics(events=events, posts=posts, rejected=rejected)), board, NOW)


def test_no_script_runs_before_the_page_is_read_and_none_is_inline(address: str) -> None:
    page = requests.get(address, timeout=10).text
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert (scripts, page.count("<script src="), page.count(" defer></script>")) == ([""] * 3, 3, 3)
    assert not re.search(r"\s(?:style|on\w+)=", page.replace(str(escape(HOSTILE)), ""))


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


def test_news_is_sent_at_once_and_only_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "INTERVAL_SECONDS", 60.0)
    shown, version, board = answers(), [0], Board(20)
    with (
        serving(lambda: build(shown, board, NOW), lambda: version[0]) as url,
        requests.get(f"{url}/events", timeout=10, stream=True) as answer,
    ):
        lines = (line for line in answer.iter_lines(chunk_size=1))
        next(lines)  # the client is known now
        for expected in (set(SECTIONS), {"state", "path"}):
            version[0] += 1
            data = next(line for line in lines if line.startswith(b"data: "))
            assert json.loads(data[6:]).keys() == expected
            shown = answers(collector=collector(state="FAILED"))


def test_a_loaded_page_and_an_open_one_are_looks() -> None:
    board, looks = Board(20), itertools.count()
    with serving(lambda: build(answers(), board, NOW), look=lambda: next(looks)) as url:
        assert requests.get(f"{url}/healthz", timeout=10).ok
        assert next(looks) == 0
        assert requests.get(url, timeout=10).ok
        assert next(looks) == 2
        with requests.get(f"{url}/events", timeout=10, stream=True) as answer:
            lines = (line for line in answer.iter_lines(chunk_size=1) if line.startswith(b"data: "))
            next(lines), next(lines)
        assert next(looks) >= 5


def test_too_many_clients_are_sent_away(address: str) -> None:
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(requests.get(f"{address}/events", timeout=10, stream=True))
            for _ in range(MAX_CLIENTS + 4)
        ]
        codes = [each.status_code for each in streams]
    assert codes.count(200) <= MAX_CLIENTS
    assert 503 in codes


def test_constant_news_leave_time_for_the_clients() -> None:
    """On a machine under load there may be news whenever the page has been built."""
    board, version = Board(20), itertools.count()
    with serving(lambda: build(answers(), board, NOW), lambda: next(version)) as url:
        for _ in range(3):
            assert requests.get(f"{url}/healthz", timeout=10).ok
