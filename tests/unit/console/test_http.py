"""The client of the sources, against a real server."""

import contextlib
import threading
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from console.sources.http import HttpClient


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    closing = False  # whether the server closes a connection after its answer, without a word
    asked: ClassVar[list[str]] = []  # the paths

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status = 500 if self.path == "/flink/broken" else 200
        content = f'{{"path": "{self.path}", "peer": {self.client_address[1]}}}'.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.closing

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_one_connection_is_kept_and_a_closed_one_made_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(HttpClient(f"{address}/flink/")) as client:
        first, second = client.json("/jobs"), client.json("/jobs?get=a")
        assert (first["path"], second["path"], first["peer"]) == ("/flink/jobs", "/flink/jobs?get=a", second["peer"])
        monkeypatch.setattr(Handler, "closing", True)
        assert len({client.json("/jobs")["peer"] for _ in range(3)}) == 3


def test_an_error_is_raised_and_the_next_answer_is_read(address: str) -> None:
    with contextlib.closing(HttpClient(f"{address}/flink")) as client:
        with pytest.raises(HTTPException, match="status 500"):
            client.text("/broken")
        assert client.json("/jobs")["path"] == "/flink/jobs"


def test_an_error_of_a_server_that_answers_is_not_asked_for_again(address: str) -> None:
    Handler.asked.clear()
    with contextlib.closing(HttpClient(f"{address}/flink")) as client:
        client.json("/jobs")
        with pytest.raises(HTTPException, match="status 500"):
            client.text("/broken")
    assert Handler.asked == ["/flink/jobs", "/flink/broken"]


def test_a_server_that_is_gone_is_an_error() -> None:
    with pytest.raises(OSError, match="refused"):
        HttpClient("http://127.0.0.1:9").text("/")
