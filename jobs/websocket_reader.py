"""A thread that keeps one WebSocket connection to a feed open and fills a bounded buffer with its frames."""

import asyncio
import contextlib
import functools
import logging
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.frames import Frame as WireFrame

from jobs.feed_processor import Frame
from jobs.proxies import websocket_proxy
from jobs.redaction import redact_text, redact_url
from jobs.websocket_connection import CONTINUATION, TEXT, Ending, FrameConnection, Step, refusal, step_after

log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
PING_SECONDS = 1.0
PONG_TIMEOUT_SECONDS = 15.0
# Fragments of one message. websockets limits the bytes of a message, but not the number of its empty fragments.
MAX_FRAGMENTS = 4_096
# Memory of a buffered event, or of a fragment, in addition to its data: the Python objects.
OVERHEAD_BYTES = 256


@dataclass(frozen=True)
class Subscribed:
    """A request was sent; the events behind this one are its answer. resumed: the request had a position."""

    resumed: bool


@dataclass(frozen=True)
class ResumeRejected:
    """The server rejects the position, but serves the same request without it. The next request has no position."""


@dataclass(frozen=True)
class TooLarge:
    """The next message is larger than the client's limit of `limit` bytes, or has more than MAX_FRAGMENTS fragments."""

    limit: int


Event = Frame | Subscribed | ResumeRejected | TooLarge


class Reader:
    """Reads frames into a bounded buffer. While the buffer is full the socket is not read, until half is dequeued.

    The buffer is full with `capacity` events, or with `max_bytes` including the fragments of an unfinished message.
    A full buffer still takes the rest of the last read of the socket, at most 256 KiB.

    urls: the servers of the feed. When one fails, the next one is tried.
    build_url: returns the URL to request; arguments: the server's URL, and whether to request the position. It is
        called when everything dequeued is acked. A request has a position if its URL differs from the one without.
    capacity: frames in the buffer.
    max_bytes: bytes in the buffer, including OVERHEAD_BYTES for each frame.
    max_frame: largest frame in bytes.
    back_off: first and largest pause between two attempts in seconds.
    jitter: returns random numbers from 0 to 1, for the pauses.
    max_silence: after so many seconds without a frame the connection is closed although the server answers pings.
        None: never.
    clock: returns seconds since 1970 UTC.
    ca_file: PEM file with the CA of the servers' certificates, read for each attempt. None: the system trust store.
    """

    def __init__(
        self,
        urls: Sequence[str],
        build_url: Callable[[str, bool], str],
        *,
        capacity: int = 20_000,
        max_bytes: int = 67_108_864,
        max_frame: int = 262_144,
        back_off: tuple[float, float] = (0.2, 10.0),
        jitter: Callable[[], float] = random.random,
        max_silence: float | None = None,
        clock: Callable[[], float] = time.time,
        ca_file: str | None = None,
    ) -> None:
        self._urls = urls
        self._build_url = build_url
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._max_frame = max_frame
        self._back_off = back_off
        self._jitter = jitter
        self._max_silence = max_silence
        self._clock = clock
        self._ca_file = ca_file
        # Each event with the value that `_enqueued` had after it.
        self._events: deque[tuple[int, Event]] = deque()
        # In bytes since the start. Each is written by one thread only; when they are equal, everything is in effect.
        self._enqueued = self._dequeued = self._acked = 0
        self._fragments: list[WireFrame] = []
        self._fragment_bytes = 0
        self._step = Step.RESUME
        # Index of the next server, and for each server the monotonic time before which it wants no request.
        self._turn = 0
        self._free_at = [0.0] * len(urls)
        self._stopping = threading.Event()
        self._paused: asyncio.Transport | None = None
        self._pauses = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._main, name="websocket-reader", daemon=True)
        self.connected = False
        # Attempts that have ended, and those that ended because of `max_silence`.
        self.connects = 0
        self.silences = 0
        # Monotonic time: the server has sent everything that it had until then.
        self.caught_up_at = time.monotonic()
        self.connected_at: float | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 5) -> None:
        """Close the connection with a handshake and end the thread."""
        self._stopping.set()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(seconds)

    def alive(self) -> bool:
        return self._thread.is_alive()

    def dequeue(self, most: int, most_bytes: int) -> list[Event]:
        """Return up to `most` events, oldest first. Call `ack` when they are processed.

        The event with which the result reaches `most_bytes` (counted as in the buffer) is the last one.
        """
        events, taken = self._events, []
        position = self._dequeued
        end = position + most_bytes
        for _ in range(min(most, len(events))):
            position, event = events.popleft()
            taken.append(event)
            if position >= end:
                break
        self._dequeued = position
        if self._paused is not None and self._half_empty() and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop ends with the connection
                self._loop.call_soon_threadsafe(self._resume)
        return taken

    def _half_empty(self) -> bool:
        # Fragments do not count: they may fill more than half, and only more reads complete the message.
        return len(self._events) < self._capacity // 2 and self._enqueued - self._dequeued < self._max_bytes // 2

    def ack(self) -> None:
        """Everything dequeued so far is processed, including the position."""
        self._acked = self._dequeued

    def has_unacked(self) -> bool:
        """Whether an event was received that is not yet acked."""
        return self._acked != self._enqueued

    def _receive(self, frame: WireFrame, transport: asyncio.Transport) -> None:
        """Append a data frame, and pause the socket when the buffer is full. Runs in the reader's thread."""
        opcode = frame.opcode
        if frame.fin and opcode is not CONTINUATION:
            data = bytes(frame.data)
            # The same as `_append`, without a call for each frame.
            put = self._enqueued = self._enqueued + len(data) + OVERHEAD_BYTES
            self._events.append((put, Frame(data, opcode is TEXT, int(self._clock() * 1000))))
        else:
            self._receive_part(frame)
            put = self._enqueued
        if (
            put - self._dequeued + self._fragment_bytes >= self._max_bytes or len(self._events) >= self._capacity
        ) and self._paused is None:
            transport.pause_reading()
            self._paused = transport

    def _receive_part(self, frame: WireFrame) -> None:
        # The protocol layer has checked the order of the fragments and the size of the whole message.
        if frame.opcode is not CONTINUATION:
            self._drop_parts()
        if len(self._fragments) <= MAX_FRAGMENTS:
            self._fragments.append(frame)
            self._fragment_bytes += len(frame.data) + OVERHEAD_BYTES
        if frame.fin:
            event = self._assemble(self._fragments)
            self._drop_parts()
            self._append(event, len(event.data) if isinstance(event, Frame) else 0)

    def _drop_parts(self) -> None:
        self._fragments = []
        self._fragment_bytes = 0

    def _assemble(self, fragments: list[WireFrame]) -> Event:
        if len(fragments) > MAX_FRAGMENTS:
            return TooLarge(self._max_frame)
        data = b"".join(bytes(fragment.data) for fragment in fragments)
        return Frame(data, fragments[0].opcode is TEXT, int(self._clock() * 1000))

    def _append(self, event: Event, size: int = 0) -> None:
        self._enqueued += size + OVERHEAD_BYTES
        self._events.append((self._enqueued, event))

    def _resume(self) -> None:
        if self._paused is not None:
            transport, self._paused = self._paused, None
            self._pauses += 1
            if not transport.is_closing():
                transport.resume_reading()

    def _main(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by `stop`
                asyncio.run(self._run())
        except Exception:
            # The job's timer sees that the thread has ended, and fails. Then Flink restarts the job.
            log.exception("the WebSocket reader died")
            raise

    async def _run(self) -> None:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        pause = self._back_off[0]
        while not self._stopping.is_set():
            # The position to resume from is known only when every event is acked.
            if self.has_unacked():
                await asyncio.sleep(0.01)
                continue
            url = self._urls[self._turn]
            self.connected_at = None
            ending = await self._attempt(url)
            if self._stopping.is_set():
                return
            self.connects += 1
            # A connection that lasted resets the back-off.
            held = self.connected_at is not None and time.monotonic() - self.connected_at > self._back_off[1]
            pause = self._back_off[0] if held else pause
            self._plan(ending)
            seconds = max(pause * (0.5 + self._jitter()), self._free_at[self._turn] - time.monotonic())
            shown = redact_url(url), redact_text(ending.reason, url), seconds, self._step.value
            log.warning("feed %s: %s; the next attempt comes in %.1f s and %s", *shown)
            await self._sleep(seconds)
            pause = min(pause * 2, self._back_off[1])

    def _plan(self, ending: Ending) -> None:
        """Choose the step and the server of the next attempt."""
        self._step = step_after(self._step, ending)
        if self._step is Step.LIVE:
            self._append(ResumeRejected())
        now = time.monotonic()
        self._free_at[self._turn] = now + ending.wait
        if self._step is Step.RESUME:  # the other steps need the same server again
            in_turn = [(self._turn + number) % len(self._urls) for number in range(1, len(self._urls) + 1)]
            # The next server that accepts a request now, or else the one that accepts one first.
            self._turn = min(in_turn, key=lambda number: max(now, self._free_at[number]))

    async def _attempt(self, url: str) -> Ending:
        """Connect once and read until the connection ends. Returns why it ended."""
        without = self._build_url(url, False)
        address = without if self._step in (Step.PROBE, Step.LIVE) else self._build_url(url, True)
        probe = self._step is Step.PROBE
        if not probe:
            self._append(Subscribed(resumed=address != without))
        through = ""
        try:
            proxy = websocket_proxy(address)
            through = f" (through the proxy {redact_url(proxy)})" if proxy else ""
            async with self._connect(address, proxy, _ignore if probe else self._receive) as connection:
                if probe:
                    return Ending("the server serves the request without the position", served=True)
                self.connected_at = time.monotonic()
                self.connected = True
                log.info("feed %s: connected%s", redact_url(address), through)
                return Ending(await self._keepalive(connection), served=True)
        except InvalidStatus as error:
            return refusal(error.response, address != without, self._clock())
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
            return Ending(f"{type(error).__name__}: {error}{through}")
        finally:
            self.connected = False
            self._paused = None
            self._drop_parts()

    def _connect(
        self, address: str, proxy: str | None, receive: Callable[[WireFrame, asyncio.Transport], None]
    ) -> connect:
        # For wss:// without an SSL context, websockets makes one with the system trust store.
        own = self._ca_file is not None and address.startswith("wss://")
        options: dict[str, Any] = {"ssl": ssl.create_default_context(cafile=self._ca_file)} if own else {}
        return connect(
            address,
            proxy=proxy,
            create_connection=cast(Any, functools.partial(FrameConnection, receive=receive)),
            compression=None,
            max_size=self._max_frame,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,
            close_timeout=2,
            **options,
        )

    async def _keepalive(self, connection: ClientConnection) -> str:
        """Ping the server every second: a frozen server looks like a quiet one. Returns why the connection ended."""
        heard, heard_at = self._heard(), time.monotonic()
        try:
            while not self._stopping.is_set():
                sent = time.monotonic()
                if not await self._await_pong(connection, await connection.ping()):
                    return f"no answer to a ping within {PONG_TIMEOUT_SECONDS:g} s"
                # Frames arrive in order: everything that the server sent before the pong is in the buffer.
                self.caught_up_at = sent
                if self._paused is not None or heard != self._heard():
                    heard, heard_at = self._heard(), time.monotonic()
                elif self._max_silence is not None and sent - heard_at >= self._max_silence:
                    self.silences += 1
                    return f"no frame for {self._max_silence:g} s although it answers pings"
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

    async def _await_pong(self, connection: ClientConnection, pong: Awaitable[float]) -> bool:
        """Wait for the pong. False: it did not arrive in time, although data could arrive and none did.

        The wait starts again while data arrives, and while the full buffer keeps the pong from being read.
        """
        while True:
            heard = self._heard()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PONG_TIMEOUT_SECONDS):
                    await asyncio.shield(pong)
                return True
            if connection.protocol.close_sent is not None:  # the peer does not close the connection
                connection.transport.abort()
                await connection.wait_closed()
            elif self._paused is None and heard == self._heard():
                connection.transport.abort()
                return False

    def _heard(self) -> tuple[int, int, int]:
        """A value that changes when data arrives, and when reading was paused because the buffer was full."""
        return self._enqueued, len(self._fragments), self._pauses

    async def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.1))


def _ignore(frame: WireFrame, transport: asyncio.Transport) -> None:
    """Drop the frames of a request that only tests the handshake."""
