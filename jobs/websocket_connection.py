"""One WebSocket connection to a feed: its raw frames, and what the end of the connection means for the next attempt."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection
from websockets.datastructures import Headers
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.http11 import Response
from websockets.protocol import State

from jobs.websocket_frames import TEXT_MESSAGE, end_of_frame, text_messages

# Statuses with which a server may answer a request for a position that it does not have.
RESUME_REJECTED_STATUSES = {HTTPStatus.BAD_REQUEST, HTTPStatus.GONE, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
FATAL_STATUSES = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
MAX_WAIT = 300.0  # seconds; a server may ask for a day by mistake


class Hooks(NamedTuple):
    """What a connection calls with what it receives, in order. The transport is its own, for a pause.

    opened: after the handshake, before the first frame.
    messages: with text messages, each of one frame.
    frame: with any other data frame: binary, a large one, or a part of a message.
    """

    opened: Callable[[], None]
    messages: Callable[[list[bytes], asyncio.Transport], None]
    frame: Callable[[WireFrame, asyncio.Transport], None]


def _ignore(*_: object) -> None:
    pass


# For a request that only tests the handshake.
IGNORE = Hooks(_ignore, _ignore, _ignore)


class FrameConnection(ClientConnection):
    """A connection that passes on its data frames.

    `recv()` costs an asyncio future and a queue for each message and closes the connection at invalid UTF-8. And the
    parser of websockets takes most of the time of reading. So it gets the handshake and the unusual frames only, each
    completely: those of control, parts of messages, large and invalid ones.

    max_size: largest message in bytes.
    expect: recognizes the frame that completes `answered`.
    answered: is done when that frame has arrived; None without `expect`.
    """

    answered: asyncio.Future[None] | None = None

    def __init__(
        self, *args: Any, hooks: Hooks, max_size: int, expect: Callable[[bytes], bool] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._hooks = hooks
        self._max_size = max_size
        self._expect = expect
        if expect is not None:
            self.answered = asyncio.get_running_loop().create_future()
        # The newest bytes of the handshake, and the beginning of a frame that has not completely arrived.
        self._handshake = self._rest = b""
        self._in_message = False  # whether the next data frame continues a message

    def data_received(self, data: bytes) -> None:
        if self.state is State.CONNECTING:
            data = self._shake_hands(data)
        data, self._rest, at = self._rest + data, b"", 0
        while self.state is State.OPEN and at < len(data):
            if not self._in_message:
                messages, at = text_messages(data, at, self._max_size)
                if messages:
                    self._hooks.messages(messages, self.transport)
                    self._look_for_answer(messages)
            end = self._end_of_others(data, at)
            if end == at:
                self._rest = data[at:]
                return
            super().data_received(data[at:end])
            at = end
        if at < len(data):
            super().data_received(data[at:])

    def _shake_hands(self, data: bytes) -> bytes:
        """Pass on the answer to the handshake. Returns what is behind it: the first frames."""
        seen = self._handshake + data
        head = seen.find(b"\r\n\r\n")
        end = len(data) if head < 0 else head + 4 - len(self._handshake)
        self._handshake = seen[-3:]
        super().data_received(data[:end])
        if self.state is State.CONNECTING and end < len(data):  # the body of a refusal
            super().data_received(data[end:])
            return b""
        return data[end:]

    def _end_of_others(self, data: bytes, at: int) -> int:
        """The index behind the complete frames from `at` on, up to a text message in one frame."""
        while (end := end_of_frame(data, at, self._max_size)) is not None:
            opcode, is_last = data[at] & 0x0F, data[at] & 0x80
            if opcode < Opcode.CLOSE:
                self._in_message = not is_last
            at = end
            if not self._in_message and at < len(data) and data[at] == TEXT_MESSAGE:
                break
        return at

    def process_event(self, event: Any) -> None:
        if isinstance(event, WireFrame) and event.opcode < Opcode.CLOSE:
            self._hooks.frame(event, self.transport)
            self._look_for_answer([bytes(event.data)])
            return
        super().process_event(event)
        if isinstance(event, Response) and self.protocol.handshake_exc is None:
            self._hooks.opened()

    def _look_for_answer(self, messages: list[bytes]) -> None:
        if self.answered is not None and self._expect is not None and any(map(self._expect, messages)):
            self.answered.set_result(None)
            self._expect = None


class Purpose(Enum):
    """The purpose of a request.

    A gateway may answer 400 to every request. So a rejected position is given up only if the same server serves the
    request without it and then rejects it again.
    """

    RESUME = "resumes from the position"
    PROBE = "tests the handshake without the position"
    CONFIRM = "tries the position again"
    LIVE = "starts live, without the position"


class Ending(NamedTuple):
    """How an attempt ended.

    reason: one line for people.
    served: the handshake succeeded.
    refused: the server rejected the handshake, perhaps because of the position.
    too_old: the server says that the position is too old.
    fatal: the server will never serve this request, for example because of its token.
    silent: the server sent nothing for too long.
    planned: the client has closed the connection, and the next attempt needs no pause.
    wait: seconds that the server asks to wait.
    """

    reason: str
    served: bool = False
    refused: bool = False
    too_old: bool = False
    fatal: bool = False
    silent: bool = False
    planned: bool = False
    wait: float = 0.0


def purpose_after(purpose: Purpose, ending: Ending) -> Purpose:
    """The purpose of the next request. An ending that says nothing about the position starts the check again."""
    if ending.too_old:
        return Purpose.LIVE
    if purpose is Purpose.PROBE:
        return Purpose.CONFIRM if ending.served else Purpose.RESUME
    if not ending.refused:
        return Purpose.RESUME
    return Purpose.LIVE if purpose is Purpose.CONFIRM else Purpose.PROBE


class TooOld(NamedTuple):
    """An HTTP answer that says that the position is too old. contains: text that its body contains."""

    status: int
    contains: str = ""


def refusal(response: Response, resumed: bool, now: float, too_old: Sequence[TooOld] = ()) -> Ending:
    """The ending for an HTTP error in the handshake.

    resumed: the request had a position.
    now: seconds since 1970 UTC.
    too_old: the answers that say that the position is too old.
    """
    status = response.status_code
    reason = f"refused with HTTP {status}"
    body = bytes(response.body or b"").decode(errors="replace")
    if resumed and any(rule.status == status and rule.contains in body for rule in too_old):
        return Ending(f"{reason} {body}", too_old=True)
    if status in FATAL_STATUSES:
        return Ending(f"{reason} {body}", fatal=True)
    wait = retry_after(response.headers, now)
    if wait is not None:  # the server is busy: its answer says nothing about the position
        return Ending(f"{reason}, Retry-After {wait:.0f} s, {body}", wait=wait)
    return Ending(f"{reason} {body}", refused=resumed and status in RESUME_REJECTED_STATUSES)


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds of the `Retry-After` header, from 0 to MAX_WAIT; None without a valid header.

    now: seconds since 1970 UTC, for a header that holds a date.
    """
    for text in headers.get_all("Retry-After"):
        if text.isascii() and text.isdigit():
            return min(float(text), MAX_WAIT)
        # The parser raises any of these for a bad date.
        with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
            date = parsedate_to_datetime(text)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            return min(max(0.0, date.timestamp() - now), MAX_WAIT)
    return None
