"""A WebSocket server in its own thread. Each connection runs a script that may violate the protocol."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol


class Peer:
    """The server's end of one connection, for scripts and, once they have run, for tests.

    number: of the connection, from 0; path: that was asked for; asked_at, pinged_at, ended_at: monotonic times;
    sent: frames that were written; messages: texts that the client sent; close_code: of the client's close frame;
    answers: whether what the protocol has to say (pong, close) is sent; before_pong: runs before each answer to a ping.
    """

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.path = ""
        self.headers: dict[str, str] = {}
        self.asked_at = 0.0
        self.ended_at: float | None = None
        self.pinged_at: list[float] = []
        self.sent = 0
        self.close_code: int | None = None
        self.answers = True
        self.before_pong: Callable[[], Awaitable[None]] | None = None
        self.messages: list[str] = []
        self.errors: list[BaseException] = []
        self._reader = reader
        self._writer = writer
        self._protocol = ServerProtocol()
        self._request: asyncio.Future[Request] = asyncio.get_running_loop().create_future()

    async def run(self, script: "Script") -> None:
        """Run the script, until the client has gone."""
        acting = asyncio.create_task(self._act(script))
        try:
            await self._listen()
        except ConnectionError:
            pass  # the client has gone without a closing handshake
        finally:
            acting.cancel()
            self.abort()
            self.ended_at = time.monotonic()

    async def _act(self, script: "Script") -> None:
        try:
            await self._request
            await script(self)
        except ConnectionError:
            pass  # the client has gone, which ends `run`
        except Exception as error:  # noqa: BLE001 - for the test, which fails with it
            self.errors.append(error)

    async def accept(self, *items: str | bytes | Frame) -> None:
        """Open the connection, and send these frames together with the handshake."""
        self._protocol.send_response(self._protocol.accept(await self._request))
        self.write(b"".join([*self._protocol.data_to_send(), *map(wire, items)]))
        await self._writer.drain()

    async def refuse(self, status: int, body: str = "no\n", headers: Mapping[str, str] | None = None) -> None:
        response = self._protocol.reject(status, body)
        response.headers.update(headers or {})
        self._protocol.send_response(response)
        self._flush()
        await self._writer.drain()

    async def send(self, *items: str | bytes | Frame) -> None:
        """Send text (str), binary (bytes) and other frames; waits while the client does not read."""
        for item in items:
            if self._protocol.state is not State.OPEN:
                raise ConnectionError("the client closes")
            self.write(wire(item))
            await self._writer.drain()
            self.sent += 1

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def close(self, code: int) -> None:
        """Start the closing handshake; the client's answer ends the connection."""
        self._protocol.send_close(code)
        self._flush()
        await self._writer.drain()

    def hang_up(self) -> None:
        """End the stream after the sent data, without a closing handshake."""
        self.answers = False
        self._writer.write_eof()

    def abort(self) -> None:
        if not self._writer.is_closing():
            self._writer.transport.abort()

    async def freeze(self) -> None:
        """Keep the socket open, and neither read nor answer from now on."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        self.answers = False
        await asyncio.Event().wait()

    async def _listen(self) -> None:
        while data := await self._reader.read(65_536):
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    self.path, self.headers = event.path, dict(event.headers.raw_items())
                    self.asked_at = time.monotonic()
                    self._request.set_result(event)
                elif isinstance(event, Frame) and event.opcode is Opcode.PING:
                    self.pinged_at.append(time.monotonic())
                    if self.before_pong is not None:
                        await self.before_pong()
                elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    self.messages.append(bytes(event.data).decode())
                elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                    self.close_code = Close.parse(event.data).code
            if self.answers:
                self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.write(data)
            else:
                self._writer.write_eof()


Script = Callable[[Peer], Awaitable[None]]


class HostileServer:
    """Listens on a free port while the context is entered; `peers` are its connections, oldest first."""

    def __init__(self, script: Script) -> None:
        self.peers: list[Peer] = []
        self._script = script
        self._socket = socket.create_server(("127.0.0.1", 0))
        # Small buffers, so that a client that does not read soon blocks the server.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.url = f"ws://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="hostile-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        """Break all connections, and raise what a script raised."""
        with contextlib.suppress(RuntimeError):  # it was stopped by the test
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()
        for error in [error for peer in self.peers for error in peer.errors]:
            raise error

    def call(self, function: Callable[[], object]) -> None:
        """Run this on the server's thread."""
        self._loop.call_soon_threadsafe(function)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(len(self.peers), reader, writer)
            self.peers.append(peer)
            task = asyncio.create_task(peer.run(self._script))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        async with await asyncio.start_server(connected, sock=self._socket):
            self._ready.set()
            await self._stop.wait()
        # Ending the loop cancels the connections, which aborts them.


def wire(item: str | bytes | Frame) -> bytes:
    """An item as the server sends it."""
    if isinstance(item, str):
        item = Frame(Opcode.TEXT, item.encode())
    elif isinstance(item, bytes):
        item = Frame(Opcode.BINARY, item)
    return item.serialize(mask=False)


def in_turn(*scripts: Script) -> Script:
    """The n-th connection runs the n-th script. Connections after the last script run the last script."""

    async def script(peer: Peer) -> None:
        await scripts[min(peer.number, len(scripts) - 1)](peer)

    return script


async def quiet(peer: Peer) -> None:
    """Accept, answer pings, and send nothing."""
    await peer.accept()


async def mute(peer: Peer) -> None:  # noqa: ARG001
    """Never answer the request."""
    await asyncio.Event().wait()


async def frozen(peer: Peer) -> None:
    """Accept, and then neither read nor answer."""
    await peer.accept()
    await peer.freeze()


def refusing(status: int, body: str = "no\n", **headers: str) -> Script:
    """Refuse the request. headers: with underscores for hyphens, such as Retry_After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def script(peer: Peer) -> None:
        await peer.refuse(status, body, named)

    return script


def sending(*items: str | bytes | Frame) -> Script:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*items)

    return script


def closing(code: int, *items: str | bytes | Frame) -> Script:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*items)
        await peer.close(code)

    return script
