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
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode, Opcode
from websockets.frames import Frame as WireFrame

from jobs.feeds.request import Request
from jobs.proxies import websocket_proxy
from jobs.records import Frame
from jobs.redaction import redact_text, redact_url
from jobs.websocket_connection import IGNORE, Ending, FrameConnection, Hooks, Purpose, purpose_after, refusal
from jobs.websocket_events import (
    NOTHING_SPECIAL,
    Connected,
    Disconnected,
    Event,
    Protocol,
    ResumeRejected,
    Subscribed,
    TooLarge,
)

log = logging.getLogger(__name__)

OPEN_SECONDS = 10.0
PING_SECONDS = 1.0
PONG_TIMEOUT_SECONDS = 15.0
# How often a server that refuses for good is named in the log, and the request is compared with the refused one.
REFUSED_SECONDS = 60.0
# Fragments of one message. websockets limits the bytes of a message, but not the number of its empty fragments.
MAX_FRAGMENTS = 4_096
# Memory of a buffered event, and of a fragment, in addition to its data: the Python objects.
OVERHEAD_BYTES = 160
FRAGMENT_OVERHEAD_BYTES = 256


class Liveness:
    """When the connection began, when a ping message was sent, and what was heard last (see Reader._heard)."""

    def __init__(self, now: float, heard: tuple[int, int, int]) -> None:
        self.began = self.pinged_at = self.heard_at = now
        self.heard = heard


class Reader:
    """Reads frames into a bounded buffer. While the buffer is full the socket is not read, until half is dequeued.

    The buffer is full with `capacity` events, or with `max_bytes` including the fragments of an unfinished message.
    A full buffer still takes the rest of the last read of the socket, at most 256 KiB.

    urls: the servers of the feed. When one fails, the next one is tried.
    build_request: arguments are the server's URL, and whether to request the position. It is called when everything
        dequeued is acked. A request has a position if it differs from the one without. An error that it raises ends
        the attempt.
    capacity: frames in the buffer.
    max_bytes: bytes in the buffer, including OVERHEAD_BYTES for each frame.
    max_frame: largest frame in bytes.
    back_off: first and largest pause between two attempts in seconds.
    jitter: returns random numbers from 0 to 1, for the pauses.
    max_silence: after so many seconds without a frame the connection is closed although the server answers pings.
        None: never.
    clock: returns seconds since 1970 UTC.
    ca_file: PEM file with the CA of the servers' certificates, read for each attempt. None: the system trust store.
    protocol: what this feed needs besides.
    """

    def __init__(
        self,
        urls: Sequence[str],
        build_request: Callable[[str, bool], Request],
        *,
        capacity: int = 20_000,
        max_bytes: int = 67_108_864,
        max_frame: int = 262_144,
        back_off: tuple[float, float] = (0.2, 10.0),
        jitter: Callable[[], float] = random.random,
        max_silence: float | None = None,
        clock: Callable[[], float] = time.time,
        ca_file: str | None = None,
        protocol: Protocol = NOTHING_SPECIAL,
    ) -> None:
        self._urls = urls
        self._build_request = build_request
        self._protocol = protocol
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._max_frame = max_frame
        self._back_off = back_off
        self._jitter = jitter
        self._max_silence = max_silence
        self._clock = clock
        self._ca_file = ca_file
        self._events: deque[Event] = deque()
        # In bytes since the start. Each is written by one thread only; when they are equal, everything is processed.
        self._enqueued = self._dequeued = self._acked = 0
        self._fragments: list[WireFrame] = []
        self._fragment_bytes = 0
        self._purpose = Purpose.RESUME
        # Index of the next server, and for each server the monotonic time before which it wants no request.
        self._turn = 0
        self._free_at = [0.0] * len(urls)
        # For each server that refuses for good: the refused request. `_verdict`: the end that `fail` wants.
        self._refused: dict[int, Request | None] = {}
        self._verdict: Ending | None = None
        self._stopped_for: str | None = None
        self._shown: tuple[str, float] = ("", 0.0)
        # The secrets of the latest request.
        self._secrets: tuple[str, ...] = ()
        self._stopping = threading.Event()
        # An Event per frame would cost too much: it is set only while `wait` waits.
        self._awaited = False
        self._arrived = threading.Event()
        self._paused: asyncio.Transport | None = None
        self._pauses = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._main, name="websocket-reader", daemon=True)
        self.connected = False
        # Attempts that have ended, and those that ended because of `max_silence`.
        self.connects = 0
        self.silences = 0
        # Whether the reader has given up: every server refuses for good, or `stop_asking` was called.
        self.refused = False
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

    def fail(self, means: str, reason: str) -> None:
        """End the connection because of a frame with which the server reports an error. means: see schema.json."""
        self._verdict = Ending(reason, served=True, too_old=means == "too_old", fatal=means == "fatal")

    def stop_asking(self, reason: str) -> None:
        """End the connection, and make no further one."""
        self._stopped_for = reason
        self._verdict = Ending(reason, served=True, fatal=True)

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
            event = events.popleft()
            taken.append(event)
            # The same as `size_of`, without a call for each event.
            position += OVERHEAD_BYTES + (len(event.data) if type(event) is Frame else 0)
            if position >= end:
                break
        self._dequeued = position
        if self._paused is not None and self._half_empty() and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop ends with the connection
                self._loop.call_soon_threadsafe(self._resume)
        return taken

    def wait(self, seconds: float) -> None:
        """Wait until there is something to dequeue, at most so long."""
        self._arrived.clear()
        self._awaited = True
        # In this order: what arrives from here on sets the event.
        if not self._events:
            self._arrived.wait(seconds)
        self._awaited = False

    def _half_empty(self) -> bool:
        # Fragments do not count: they may fill more than half, and only more reads complete the message.
        return len(self._events) < self._capacity // 2 and self._enqueued - self._dequeued < self._max_bytes // 2

    def ack(self) -> None:
        """Everything dequeued so far is processed, including the position."""
        self._acked = self._dequeued

    def has_unacked(self) -> bool:
        """Whether an event was received that is not yet acked."""
        return self._acked != self._enqueued

    def _receive(self, messages: list[bytes], transport: asyncio.Transport) -> None:
        """Append messages, and pause the socket when the buffer is full. Runs in the reader's thread."""
        received = int(self._clock() * 1000)
        self._enqueued += sum(map(len, messages)) + OVERHEAD_BYTES * len(messages)
        self._events.extend([Frame(data, True, received) for data in messages])
        self._wake()
        self._pause_if_full(transport)

    def _receive_frame(self, frame: WireFrame, transport: asyncio.Transport) -> None:
        """The same for a single frame."""
        if frame.fin and frame.opcode is not Opcode.CONT:
            self._append(Frame(bytes(frame.data), frame.opcode is Opcode.TEXT, int(self._clock() * 1000)))
        else:
            self._receive_part(frame)
        self._pause_if_full(transport)

    def _wake(self) -> None:
        """End a `wait`."""
        if self._awaited:
            self._arrived.set()

    def _pause_if_full(self, transport: asyncio.Transport) -> None:
        held = self._enqueued - self._dequeued + self._fragment_bytes
        if self._paused is None and (held >= self._max_bytes or len(self._events) >= self._capacity):
            transport.pause_reading()
            self._paused = transport

    def _receive_part(self, frame: WireFrame) -> None:
        # The protocol layer has checked the order of the fragments and the size of the whole message.
        if frame.opcode is not Opcode.CONT:
            self._drop_parts()
        if len(self._fragments) <= MAX_FRAGMENTS:
            self._fragments.append(frame)
            self._fragment_bytes += len(frame.data) + FRAGMENT_OVERHEAD_BYTES
        if frame.fin:
            event = self._assemble(self._fragments)
            self._drop_parts()
            self._append(event)

    def _drop_parts(self) -> None:
        self._fragments = []
        self._fragment_bytes = 0

    def _assemble(self, fragments: list[WireFrame]) -> Event:
        if len(fragments) > MAX_FRAGMENTS:
            return TooLarge(self._max_frame)
        data = b"".join(bytes(fragment.data) for fragment in fragments)
        return Frame(data, fragments[0].opcode is Opcode.TEXT, int(self._clock() * 1000))

    def _append(self, event: Event) -> None:
        self._enqueued += size_of(event)
        self._events.append(event)
        self._wake()

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
            self._verdict = None
            ending = await self._attempt(url)
            self.connects += not self._stopping.is_set()
            # A connection that lasted resets the back-off.
            held = self.connected_at is not None and time.monotonic() - self.connected_at > self._back_off[1]
            # The last frames may report an error, and then `fail` says what the ending means.
            while self.connected_at is not None and self.has_unacked() and not self._stopping.is_set():
                await asyncio.sleep(0.01)
            if self._stopping.is_set():
                return
            ending = self._verdict or ending
            pause = self._back_off[0] if held else pause
            self._report(url, ending)
            self._plan(ending)
            if len(self._refused) == len(self._urls) or self._stopped_for is not None:
                await self._stay_refused(url, ending)
                continue
            seconds = 0.0 if ending.planned else pause * (0.5 + self._jitter())
            seconds = max(seconds, self._free_at[self._turn] - time.monotonic())
            shown = redact_url(url), redact_text(ending.reason, url, self._secrets), seconds, self._purpose.value
            log.warning("feed %s: %s; the next attempt comes in %.1f s and %s", *shown)
            await self._sleep(seconds)
            pause = min(pause * 2, self._back_off[1])

    def _report(self, url: str, ending: Ending) -> None:
        """Append the end of the attempt. Attempts that fail in the same way are reported once a minute."""
        reason, now = redact_text(ending.reason, url, self._secrets), time.monotonic()
        if self.connected_at is None:
            if (shown := self._shown)[0] == reason and now - shown[1] < REFUSED_SECONDS:
                return
            self._shown = reason, now
        what = "refused" if self.connected_at is None or ending.fatal else "disconnected"
        what = "silent" if ending.silent else what
        self._append(Disconnected(what, redact_url(url), reason, int(self._clock() * 1000)))

    def _plan(self, ending: Ending) -> None:
        """Choose the purpose and the server of the next attempt."""
        self._purpose = purpose_after(self._purpose, ending)
        if self._purpose is Purpose.LIVE:
            self._append(ResumeRejected())
        now = time.monotonic()
        self._free_at[self._turn] = now + ending.wait
        self._forget_changed_requests()
        if ending.fatal:
            self._refused[self._turn] = self._request(self._turn)
        if self._purpose is Purpose.RESUME:  # the other purposes need the same server again
            in_turn = [(self._turn + number) % len(self._urls) for number in range(1, len(self._urls) + 1)]
            # The next server that accepts a request now, or else the one that accepts one first.
            asked = [number for number in in_turn if number not in self._refused] or in_turn
            self._turn = min(asked, key=lambda number: max(now, self._free_at[number]))

    async def _stay_refused(self, url: str, ending: Ending) -> None:
        """Make no request until one differs from the refused one, because the file of a secret has changed."""
        self.refused = True
        while not self._stopping.is_set():
            reason = redact_text(self._stopped_for or ending.reason, url, self._secrets)
            log.error("feed %s: %s; no further request is made", redact_url(url), reason)
            await self._sleep(REFUSED_SECONDS)
            self._forget_changed_requests()
            if self._stopped_for is None and len(self._refused) < len(self._urls):
                self._turn = next(number for number in range(len(self._urls)) if number not in self._refused)
                self.refused = False
                return

    def _forget_changed_requests(self) -> None:
        """Ask a server again whose refused request would be another one now."""
        self._refused = {at: request for at, request in self._refused.items() if self._request(at) == request}

    def _request(self, turn: int) -> Request | None:
        """The live request to that server; None if it cannot be built."""
        with contextlib.suppress(Exception):
            return self._build_request(self._urls[turn], False)
        return None

    async def _attempt(self, url: str) -> Ending:
        """Connect once and read until the connection ends. Returns why it ended."""
        through, resumed = "", False
        probe = self._purpose is Purpose.PROBE
        try:
            without = self._build_request(url, False)
            request = without if self._purpose in (Purpose.PROBE, Purpose.LIVE) else self._build_request(url, True)
            resumed = request != without
            self._secrets = request.secrets
            if not probe:
                self._append(Subscribed(resumed))
            proxy = request.proxy or websocket_proxy(request.url)
            through = f" (through the proxy {redact_url(proxy, request.secrets)})" if proxy else ""
            hooks = Hooks(functools.partial(self._opened, request, through), self._receive, self._receive_frame)
            async with self._connect(request, proxy, IGNORE if probe else hooks) as connection:
                if probe:
                    return Ending("the server serves the request without the position", served=True)
                return await self._exchange(connection, request)
        except InvalidStatus as error:
            return refusal(error.response, resumed, self._clock(), self._protocol.too_old)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may work
            return Ending(f"{type(error).__name__}: {error}{through}")
        finally:
            self.connected = False
            self._paused = None
            self._drop_parts()

    def _opened(self, request: Request, through: str) -> None:
        """The handshake succeeded, and no frame has been received yet."""
        shown = redact_url(request.url, request.secrets)
        self.connected_at = time.monotonic()
        self.connected = True
        self._append(Connected(shown, int(self._clock() * 1000)))
        log.info("feed %s: connected%s", shown, through)

    async def _exchange(self, connection: ClientConnection, request: Request) -> Ending:
        """Open the subscription, and read until the connection ends."""
        for message in request.messages:
            await connection.send(message)
        return await self._await_answer(connection) or await self._keepalive(connection, request)

    async def _await_answer(self, connection: ClientConnection) -> Ending | None:
        """Wait for the frame of `open.expect`. Returns why the connection must end, if it must."""
        answered, within = cast(FrameConnection, connection).answered, self._protocol.within
        end = time.monotonic() + within
        while answered is not None and not answered.done() and connection.close_code is None:
            if self._verdict is not None:
                return self._verdict
            if time.monotonic() >= end:
                return Ending(f"the expected answer did not come within {within:g} s", served=True)
            await asyncio.wait({answered}, timeout=0.1)
        return None

    def _connect(self, request: Request, proxy: str | None, hooks: Hooks) -> connect:
        create = functools.partial(
            FrameConnection,
            hooks=hooks,
            max_size=self._max_frame,
            expect=None if hooks is IGNORE else self._protocol.expect,
        )
        # For wss:// without an SSL context, websockets makes one with the system trust store.
        certificate = self._protocol.client_certificate
        own = (self._ca_file is not None or certificate is not None) and request.url.startswith("wss://")
        options: dict[str, Any] = {"ssl": ssl.create_default_context(cafile=self._ca_file)} if own else {}
        if own and certificate is not None:
            options["ssl"].load_cert_chain(certificate)
        return connect(
            request.url,
            additional_headers=request.headers or None,
            subprotocols=cast(Any, request.subprotocols) or None,
            proxy=proxy,
            create_connection=cast(Any, create),
            compression=None,
            max_size=self._max_frame,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,
            close_timeout=2,
            **options,
        )

    async def _keepalive(self, connection: ClientConnection, request: Request) -> Ending:
        """Check the connection every second. Returns why it ended."""
        liveness = Liveness(time.monotonic(), self._heard())
        try:
            while not self._stopping.is_set():
                ending = self._verdict or await self._check(connection, request, liveness)
                if ending is not None:
                    return ending
                await self._sleep(PING_SECONDS)
        except ConnectionClosed as error:
            if self._verdict is not None:
                return self._verdict
            if error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG and not error.rcvd_then_sent:
                self._append(TooLarge(self._max_frame))
                return Ending(f"a frame is larger than {self._max_frame} bytes and is skipped", served=True)
            return Ending(f"closed: {error}", served=True)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping.is_set() or task is None:
                raise
            task.uncancel()
        return Ending("stopped", served=True)

    async def _check(self, connection: ClientConnection, request: Request, liveness: Liveness) -> Ending | None:
        """Ping the server: a frozen server looks like a quiet one. Returns why the connection must end, if it must."""
        protocol, now = self._protocol, time.monotonic()
        if protocol.max_age is not None and now - liveness.began >= protocol.max_age:
            return Ending(f"planned: the connection is {protocol.max_age:g} s old", served=True, planned=True)
        if protocol.pings:
            if not await self._await_pong(connection, await connection.ping()):
                return Ending(f"no answer to a ping within {PONG_TIMEOUT_SECONDS:g} s", served=True)
            # Frames arrive in order: everything that the server sent before the pong is in the buffer.
            self.caught_up_at = now
        elif connection.close_code is not None:  # nothing else would notice it before the next message
            raise connection.protocol.close_exc
        if request.ping is not None and now - liveness.pinged_at >= protocol.every:
            await connection.send(request.ping)
            liveness.pinged_at = now
        if self._paused is not None or liveness.heard != self._heard():
            liveness.heard, liveness.heard_at = self._heard(), time.monotonic()
            if not protocol.pings:
                self.caught_up_at = now
            return None
        silence = now - liveness.heard_at
        if request.ping is not None and silence >= protocol.every + PONG_TIMEOUT_SECONDS:
            return Ending(f"no answer to a ping message within {PONG_TIMEOUT_SECONDS:g} s", served=True)
        if self._max_silence is not None and silence >= self._max_silence:
            self.silences += 1
            although = " although it answers pings" if protocol.pings else ""
            return Ending(f"no frame for {self._max_silence:g} s{although}", served=True, silent=True)
        return None

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
        """Sleep; shorter if the reader is stopped, or if the connection is to end."""
        end = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := end - time.monotonic()) > 0:
            if self._verdict is not None and self.connected:
                return
            await asyncio.sleep(min(left, 0.1))


def size_of(event: Event) -> int:
    """Its bytes in the buffer."""
    return OVERHEAD_BYTES + (len(event.data) if isinstance(event, Frame) else 0)
