"""A thread that keeps one WebSocket connection of a feed and fills a bounded buffer with its frames."""

import asyncio
import contextlib
import functools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import DATA_OPCODES, CloseCode, Opcode
from websockets.frames import Frame as WireFrame

from jobs.collection import Frame

log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
PING_SECONDS = 1.0
PONG_SECONDS = 15.0
# As websockets' own limit: the protocol layer limits a message's bytes, but not how many empty parts it has.
MAX_FRAGMENTS = 4_096
# The server's answers to a request that asks for a position it does not have.
# The parameters of feeds.py; another one may be somebody's token.
HARMLESS = {"format", "since", "shard", "cursor", "wantedCollections"}
REFUSALS_IN_A_ROW = 3  # one may come from a proxy
REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.GONE, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}


class Asked:
    """The feed is asked to go on after the position; what follows is its answer."""


class Refused:
    """The server refused the position that it was asked to go on after."""


@dataclass(frozen=True)
class TooLarge:
    """The next message is larger than the client's limit, `limit` bytes, or has too many fragments."""

    limit: int


Event = Frame | Asked | Refused | TooLarge


class Reader:
    """Reads frames into a buffer of at most `capacity` events: when it is full, the socket is not read.

    urls: the servers of the feed, asked in turn when one fails.
    address: gives a server's address, with the position to go on after; called once the buffer is handled.
    capacity: of the buffer, in frames; max_frame: largest frame in bytes; back_off: first and largest pause in s.
    """

    def __init__(
        self,
        urls: Sequence[str],
        address: Callable[[str], str],
        *,
        capacity: int = 20_000,
        max_frame: int = 262_144,
        back_off: tuple[float, float] = (0.2, 10.0),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._urls = urls
        self._address = address
        self._capacity = capacity
        self._max_frame = max_frame
        self._back_off = back_off
        self._jitter = jitter
        self._events: deque[Event] = deque()
        # Each is written by one thread only; when they are equal, everything that came is in effect.
        self._put = self._taken = self._handled = 0
        self._fragments: list[WireFrame] = []
        self._refusals = 0
        self._stopping = threading.Event()
        self._paused: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._main, name="websocket-reader", daemon=True)
        self.connected = False
        self.connects = 0
        # Monotonic time up to which the server is known to have sent everything it had.
        self.alive_until = time.monotonic()
        self.connected_at: float | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 5) -> None:
        """Close the connection properly and end the thread."""
        self._stopping.set()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(seconds)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def take(self, most: int) -> list[Event]:
        """Up to `most` events, oldest first; call `handled` when what they say is in effect."""
        events = self._events
        taken = [events.popleft() for _ in range(min(most, len(events)))]
        self._taken += len(taken)
        if self._paused is not None and len(events) < self._capacity // 2 and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop ends with the connection
                self._loop.call_soon_threadsafe(self._resume)
        return taken

    def handled(self) -> None:
        """Everything taken so far is in effect, the position included."""
        self._handled = self._taken

    def pending(self) -> bool:
        """Whether something came that is not yet in effect."""
        return self._handled != self._put

    def receive(self, frame: WireFrame, transport: asyncio.Transport) -> None:
        """Append a data frame, and stop reading the socket while the buffer is full; on the reader's thread."""
        if frame.fin and frame.opcode is not Opcode.CONT:
            self._append(Frame(bytes(frame.data), frame.opcode is Opcode.TEXT, int(time.time() * 1000)))
        else:
            # The protocol layer has checked the order of the fragments and the size of the whole message.
            if frame.opcode is not Opcode.CONT:
                self._fragments = []
            if len(self._fragments) <= MAX_FRAGMENTS:
                self._fragments.append(frame)
            if frame.fin:
                self._append(self._assembled(self._fragments))
                self._fragments = []
        if len(self._events) >= self._capacity and self._paused is None:
            transport.pause_reading()
            self._paused = transport

    def _assembled(self, fragments: list[WireFrame]) -> Event:
        if len(fragments) > MAX_FRAGMENTS:
            return TooLarge(self._max_frame)
        data = b"".join(bytes(fragment.data) for fragment in fragments)
        return Frame(data, fragments[0].opcode is Opcode.TEXT, int(time.time() * 1000))

    def _append(self, event: Event) -> None:
        self._put += 1
        self._events.append(event)

    def _resume(self) -> None:
        if self._paused is not None:
            transport, self._paused = self._paused, None
            if not transport.is_closing():
                transport.resume_reading()

    def _main(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by `stop`
                asyncio.run(self._run())
        except Exception:
            # The job's timer sees that the thread is gone and fails, so that Flink restarts it.
            log.exception("the WebSocket reader died")
            raise

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        pause = self._back_off[0]
        while not self._stopping.is_set():
            # Only when all that came is handled is the position to go on from known.
            if self.pending():
                await asyncio.sleep(0.01)
                continue
            url = self._urls[self.connects % len(self._urls)]
            self.connected_at = None
            reason = await self._read(url)
            if self._stopping.is_set():
                return
            self.connects += 1
            # A connection that held was no failure: the next attempt comes soon again.
            held = self.connected_at is not None and time.monotonic() - self.connected_at > self._back_off[1]
            pause = self._back_off[0] if held else pause
            seconds = pause * (0.5 + self._jitter())
            log.warning("feed %s: %s; the next attempt comes in %.1f s", without_secrets(url), reason, seconds)
            await self._sleep(seconds)
            pause = min(pause * 2, self._back_off[1])

    async def _read(self, url: str) -> str:
        """Read one connection until it ends; returns why it ended."""
        address = self._address(url)
        self._append(Asked())
        try:
            async with connect(
                address,
                create_connection=cast(Any, functools.partial(FrameConnection, reader=self)),
                compression=None,
                max_size=self._max_frame,
                open_timeout=OPEN_SECONDS,
                ping_interval=None,
                close_timeout=2,
            ) as connection:
                self.connected_at = time.monotonic()
                self.connected = True
                self._refusals = 0
                log.info("feed %s: connected", without_secrets(address))
                return await self._keep(connection)
        except InvalidStatus as error:
            self._refusals = self._refusals + 1 if error.response.status_code in REFUSALS else 0
            if self._refusals == REFUSALS_IN_A_ROW:
                self._refusals = 0
                self._append(Refused())
            body = bytes(error.response.body or b"")[:200].decode(errors="replace").strip()
            return f"refused with HTTP {error.response.status_code} {body}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
            self._refusals = 0
            return f"{type(error).__name__}: {error}".replace(address, without_secrets(address))
        finally:
            self.connected = False
            self._paused = None

    async def _keep(self, connection: ClientConnection) -> str:
        """Ping the server each second, since a frozen one looks like a quiet one; returns why the connection ended."""
        try:
            while not self._stopping.is_set():
                sent = time.monotonic()
                pong = await connection.ping()
                while True:
                    frames = self._put
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PONG_SECONDS):
                            await asyncio.shield(pong)
                        break
                    if connection.protocol.close_sent is not None:  # the peer does not end it
                        connection.transport.abort()
                        await connection.wait_closed()
                    elif self._paused is None and self._put == frames:
                        connection.transport.abort()
                        return f"no answer to a ping within {PONG_SECONDS:g} s"
                # Frames come in order: all that the server sent before the pong is in the buffer.
                self.alive_until = sent
                await self._sleep(PING_SECONDS)
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG and not error.rcvd_then_sent:
                self._append(TooLarge(self._max_frame))
                return f"a frame is larger than {self._max_frame} bytes and is skipped"
            return f"closed: {error}"
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping.is_set() or task is None:
                raise
            task.uncancel()
        return "stopped"

    async def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.1))


class FrameConnection(ClientConnection):
    """A connection whose data frames go straight into the reader's buffer.

    `recv()` would cost each message an asyncio future and a queue, would close the connection at invalid UTF-8, and
    would not tell text frames from binary ones once decoding is off.
    """

    def __init__(self, *args: Any, reader: Reader, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader = reader

    def process_event(self, event: Any) -> None:
        if isinstance(event, WireFrame) and event.opcode in DATA_OPCODES:
            self._reader.receive(event, self.transport)
        else:
            super().process_event(event)


def without_secrets(url: str) -> str:
    """The address as it may be logged: no user, no password, and only parameters that are known to be harmless."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    shown = [f"{name}={value}" for name, value in parse_qsl(parts.query) if name in HARMLESS]
    return f"{parts.scheme}://{host}{parts.path}{'?' if shown else ''}{'&'.join(shown)}"
