"""A feed outside is reached through the environment's proxy, and one on this machine is not."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.sync.server import ServerConnection, serve

from jobs.collection import Frame
from jobs.websocket_reader import Reader
from tests.waiting import await_value


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a feed that sends one frame."""

    def send(connection: ServerConnection) -> None:
        connection.send("a")
        with contextlib.suppress(Exception):
            connection.recv()

    with serve(send, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.socket.getsockname()[1]
        running.shutdown()
    thread.join()


class Proxy:
    """Takes CONNECT for any host and leads to one port of this machine, or refuses."""

    def __init__(self, target: int | None) -> None:
        self.asked: list[str] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.asked.append(client.recv(4096).decode().splitlines()[0])
                if self._target is None:
                    client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                    client.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._target))
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for source, sink in ((client, there), (there, client)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


def through(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, url: str) -> Reader:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "localhost,127.0.0.1,::1")
    reader = Reader([url], lambda base, _: base, back_off=(0.05, 0.1))
    reader.start()
    return reader


def frames(reader: Reader) -> list[bytes]:
    return [event.data for event in reader.take(10, 1_000_000) if isinstance(event, Frame)]


@pytest.mark.parametrize("outside", [True, False])
def test_only_a_feed_outside_is_reached_through_the_proxy(
    server: int, monkeypatch: pytest.MonkeyPatch, outside: bool
) -> None:
    proxy = Proxy(server)
    reader = through(proxy, monkeypatch, "ws://feed.example:5555" if outside else f"ws://127.0.0.1:{server}")
    try:
        assert await_value(lambda: frames(reader), "the frame", 10) == [b"a"]
        assert proxy.asked == (["CONNECT feed.example:5555 HTTP/1.1"] if outside else [])
    finally:
        reader.stop()
        proxy.close()


def test_a_proxy_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    proxy = Proxy(None)
    reader = through(proxy, monkeypatch, "ws://feed.example:5555")
    try:
        await_value(lambda: "proxy" in caplog.text.lower(), "the failure to be told", 10)
        assert "403" in caplog.text
    finally:
        reader.stop()
        proxy.close()
