"""Hosts outside are reached through the environment's proxy, this machine and the cluster directly."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.sync.server import ServerConnection, serve

from jobs.feed_processor import Frame
from jobs.feeds.request import Request
from jobs.proxies import websocket_proxy
from jobs.websocket_reader import Reader
from jobs.worldometers import CachedCounters
from simulator.worldometers_stub import PageServer
from tests.support.waiting import await_value


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
    """A proxy that accepts CONNECT for any host and connects to one port of this machine, or refuses."""

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
                self._greet(client)
                if self._target is None:
                    client.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._target))
                for source, sink in ((client, there), (there, client)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _greet(self, client: socket.socket) -> None:
        self.asked.append(client.recv(4096).decode().splitlines()[0])
        refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if self._target else refusal)

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


class SocksProxy(Proxy):
    """The same in SOCKS 5 (RFC 1928): no login, a name as the address."""

    def __init__(self, target: int | None) -> None:
        super().__init__(target)
        self.url = self.url.replace("http", "socks5h")

    def _greet(self, client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(bytes([5, 0]))
        request = client.recv(4096)
        length = request[4]
        port = int.from_bytes(request[5 + length :][:2])
        self.asked.append(f"{request[5:][:length].decode()}:{port}")
        client.sendall(bytes([5, 0, 0, 1, *bytes(6)]))


def only(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """The environment names these proxies and no other ones."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "socks_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def through(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, url: str, *names: str) -> Reader:
    only(monkeypatch, dict.fromkeys(names or ("http_proxy", "https_proxy"), proxy.url))
    reader = Reader([url], lambda base, _: Request(base), back_off=(0.05, 0.1))
    reader.start()
    return reader


def frames(reader: Reader) -> list[bytes]:
    return [event.data for event in reader.dequeue(10, 1_000_000) if isinstance(event, Frame)]


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


@pytest.mark.parametrize("name", ["SOCKS_PROXY", "ALL_PROXY", "all_proxy"])
def test_socks_is_spoken(server: int, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    proxy = SocksProxy(server)
    reader = through(proxy, monkeypatch, "ws://feed.example:5555", name)
    try:
        assert await_value(lambda: frames(reader), "the frame", 10) == [b"a"]
        assert proxy.asked == ["feed.example:5555"]
    finally:
        reader.stop()
        proxy.close()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    with socket.socket() as unused:  # bound, not listening: nobody else gets the port
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        only(monkeypatch, {"HTTPS_PROXY": f"{scheme}://me:s3cret@127.0.0.1:{port}"})
        reader = Reader(["ws://feed.example:5555"], lambda base, _: Request(base), back_off=(0.05, 0.1))
        reader.start()
        try:
            named = f"(through the proxy {scheme}://127.0.0.1:{port})"
            await_value(lambda: named in caplog.text, "the proxy to be named", 10)
            assert "s3cret" not in caplog.text
        finally:
            reader.stop()


@pytest.mark.parametrize("url", ["ws://localhost:1", "ws://[::1]:1", "ws://simulator:1", "ws://s.ns.svc.cluster.local"])
def test_no_proxy_leads_to_this_machine_or_into_the_cluster(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY"), "http://proxy.example:3128")
    only(monkeypatch, proxies)
    assert websocket_proxy(url) is None
    assert websocket_proxy("wss://feed.example/stream") == "socks5h://proxy.example:3128"
    only(monkeypatch, {**proxies, "NO_PROXY": ".example"})
    assert websocket_proxy("wss://feed.example/stream") is None


@pytest.mark.parametrize("outside", [True, False])
def test_only_a_page_outside_is_asked_for_through_the_proxy(monkeypatch: pytest.MonkeyPatch, outside: bool) -> None:
    with PageServer("127.0.0.1", 0) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        only(monkeypatch, {"HTTP_PROXY": f"http://127.0.0.1:{page.server_port}" if outside else "http://127.0.0.1:9"})
        # The stub is the proxy: it serves the page for any host.
        host = "page.example" if outside else f"127.0.0.1:{page.server_port}"
        assert CachedCounters(f"http://{host}/coronavirus/").get() is not None
        page.shutdown()


def test_a_page_whose_proxy_does_not_answer_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        only(monkeypatch, {"HTTPS_PROXY": f"http://me:s3cret@127.0.0.1:{unused.getsockname()[1]}"})
        assert CachedCounters("https://page.example/coronavirus/").get() is None
    assert "Unable to connect to proxy" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_proxy_that_refuses_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    proxy = Proxy(None)
    reader = through(proxy, monkeypatch, "ws://feed.example:5555")
    try:
        await_value(lambda: "proxy" in caplog.text.lower(), "the failure to be logged", 10)
        assert "403" in caplog.text
    finally:
        reader.stop()
        proxy.close()
