"""One WebSocket connection of a feed: its frames as they come, and what its end means."""

import asyncio
import contextlib
from collections.abc import Callable
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

# Looked up once: an enumeration's members are slow to get at, and to hash.
TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
# A server's possible answers to a request for a position that it does not have.
RESUME_REJECTED_STATUSES = {HTTPStatus.BAD_REQUEST, HTTPStatus.GONE, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
MAX_WAIT = 300.0  # seconds; a server may say a day by mistake


class FrameConnection(ClientConnection):
    """A connection whose data frames go straight to `receive`, with the transport that they came from.

    `recv()` would cost each message an asyncio future and a queue, would close the connection at invalid UTF-8, and
    gives text frames and binary ones as the same type once decoding is off.
    """

    def __init__(self, *args: Any, receive: Callable[[WireFrame, asyncio.Transport], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receive = receive

    def process_event(self, event: Any) -> None:
        if isinstance(event, WireFrame):
            opcode = event.opcode
            if opcode is TEXT or opcode is BINARY or opcode is CONTINUATION:
                self._receive(event, self.transport)
                return
        super().process_event(event)


class Step(Enum):
    """What a request is for.

    A gateway may answer 400 to whatever it is asked. So a refused position is given up only when the same server
    serves the request without it and then refuses it once more.
    """

    RESUME = "goes on after the position"
    PROBE = "asks without the position, for the handshake only"
    CONFIRM = "asks with the position once more"
    LIVE = "goes on without the position"


class Ending(NamedTuple):
    """How an attempt ended.

    served: the handshake was; refused: perhaps because of the position; wait: seconds that the server asks to wait.
    """

    reason: str
    served: bool = False
    refused: bool = False
    wait: float = 0.0


def step_after(step: Step, ending: Ending) -> Step:
    """What the next request is for; every outcome that says nothing about the position starts the check over."""
    if step is Step.PROBE:
        return Step.CONFIRM if ending.served else Step.RESUME
    if not ending.refused:
        return Step.RESUME
    return Step.LIVE if step is Step.CONFIRM else Step.PROBE


def refusal(response: Response, resumed: bool, now: float) -> Ending:
    """What this answer to a handshake means. resumed: a position was asked for; now: seconds since 1970 UTC."""
    reason = f"refused with HTTP {response.status_code}"
    body = bytes(response.body or b"").decode(errors="replace")
    wait = retry_after(response.headers, now)
    if wait is not None:  # a server that is busy says nothing about the position
        return Ending(f"{reason}, Retry-After {wait:.0f} s, {body}", wait=wait)
    return Ending(f"{reason} {body}", refused=resumed and response.status_code in RESUME_REJECTED_STATUSES)


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds that a refusal asks to wait, from 0 to MAX_WAIT; None when it asks for nothing that can be read.

    now: seconds since 1970 UTC, with which a date is compared.
    """
    for text in headers.get_all("Retry-After"):
        if text.isascii() and text.isdigit():
            return min(float(text), MAX_WAIT)
        # Which one the parser raises depends on what is wrong with the date.
        with contextlib.suppress(ValueError, TypeError, IndexError, OverflowError):
            date = parsedate_to_datetime(text)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            return min(max(0.0, date.timestamp() - now), MAX_WAIT)
    return None
