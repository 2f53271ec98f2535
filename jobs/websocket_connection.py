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

# Plain names, because attribute access and hashing of enum members are slow.
TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
# Statuses with which a server may answer a request for a position that it does not have.
RESUME_REJECTED_STATUSES = {HTTPStatus.BAD_REQUEST, HTTPStatus.GONE, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
FATAL_STATUSES = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
MAX_WAIT = 300.0  # seconds; a server may ask for a day by mistake


class FrameConnection(ClientConnection):
    """A connection that passes each data frame to `receive`, together with its transport.

    `recv()` costs an asyncio future and a queue for each message and closes the connection at invalid UTF-8. Without
    decoding, it returns text and binary frames as the same type.

    opened: is called after the handshake, before the first frame.
    answered: is done when a frame arrived that `expect` recognizes; None without `expect`.
    """

    answered: asyncio.Future[None] | None = None

    def __init__(
        self,
        *args: Any,
        receive: Callable[[WireFrame, asyncio.Transport], None],
        opened: Callable[[], None],
        expect: Callable[[bytes], bool] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._opened = opened
        self._receive = receive if expect is None else self._watch(receive, expect)

    def _watch(
        self, receive: Callable[[WireFrame, asyncio.Transport], None], expect: Callable[[bytes], bool]
    ) -> Callable[[WireFrame, asyncio.Transport], None]:
        """`receive`, which completes `answered` with the expected frame, and then is replaced by the plain one."""
        answered = self.answered = asyncio.get_running_loop().create_future()

        def watching(frame: WireFrame, transport: asyncio.Transport) -> None:
            receive(frame, transport)
            if not answered.done() and expect(bytes(frame.data)):
                answered.set_result(None)
                self._receive = receive

        return watching

    def process_event(self, event: Any) -> None:
        if isinstance(event, WireFrame):
            opcode = event.opcode
            if opcode is TEXT or opcode is BINARY or opcode is CONTINUATION:
                self._receive(event, self.transport)
                return
        super().process_event(event)
        if isinstance(event, Response) and self.protocol.handshake_exc is None:
            self._opened()


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
