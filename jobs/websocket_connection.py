"""One WebSocket connection of a feed: its frames as they come, what its end means, and what may be logged of it."""

import asyncio
import contextlib
import html
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, unquote_plus, urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.datastructures import Headers
from websockets.frames import DATA_OPCODES
from websockets.frames import Frame as WireFrame
from websockets.http11 import Response

# A server's possible answers to a request for a position that it does not have.
REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.GONE, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
MAX_WAIT = 300.0  # seconds; a server may say a day by mistake
# The query parameters that feeds.py sets or reads. The value of another one may be somebody's token.
HARMLESS = {"format", "since", "feed", "shard", "cursor", "wantedCollections"}
# The same for the parts of a path: some servers take their token there.
HARMLESS_PATH = {"", "api", "feed", "stream", "subscribe", "v1", "v2", "v3", "ws"}
HIDDEN = "***"
SHORTEST_SECRET = 4  # characters; to hide shorter ones makes a text unreadable, and they protect nothing
MAX_LOGGED = 300  # characters of a server's own text
URL = re.compile(r"(?:ws|http)s?://[^\s'\"<>]+", re.IGNORECASE)


class FrameConnection(ClientConnection):
    """A connection whose data frames go straight to `receive`, with the transport that they came from.

    `recv()` would cost each message an asyncio future and a queue, would close the connection at invalid UTF-8, and
    gives text frames and binary ones as the same type once decoding is off.
    """

    def __init__(self, *args: Any, receive: Callable[[WireFrame, asyncio.Transport], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receive = receive

    def process_event(self, event: Any) -> None:
        if isinstance(event, WireFrame) and event.opcode in DATA_OPCODES:
            self._receive(event, self.transport)
        else:
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
    return Ending(f"{reason} {body}", refused=resumed and response.status_code in REFUSALS)


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


def without_secrets(url: str) -> str:
    """The address as it may be logged.

    Without user and password, with only the query parameters and the parts of the path that are known to be harmless.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # no address
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    path = "/".join(part if part in HARMLESS_PATH else HIDDEN for part in parts.path.split("/"))
    shown = [f"{name}={value}" for name, value in parse_qsl(parts.query) if name in HARMLESS]
    return f"{parts.scheme}://{host}{path}{'?' if shown else ''}{'&'.join(shown)}"


def redacted(text: str, url: str) -> str:
    """A text that came of a connection to `url`, as it may be logged: one line, at most MAX_LOGGED characters.

    Servers quote in their answers what they were asked for. So the secrets of `url` are replaced, in the encodings in
    which they are likely to come back, and every address in the text is shown as by `without_secrets`.
    """
    try:
        secrets = _secrets(urlsplit(url))
    except ValueError:  # no address
        return HIDDEN
    line = " ".join(URL.sub(lambda found: without_secrets(found[0]), text).split())
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, HIDDEN)
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= MAX_LOGGED else line[:MAX_LOGGED] + "..."


def _secrets(parts: SplitResult) -> set[str]:
    """What must not be logged of an address, as it is written there and in other encodings."""
    login = parts.netloc.rpartition("@")[0]
    plain = unquote(login)
    basic = b64encode((plain if ":" in plain else f"{plain}:").encode()).decode()
    written = [*login.split(":", 1), basic if login else "", parts.fragment]
    written += [part for part in parts.path.split("/") if part not in HARMLESS_PATH]
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if unquote_plus(name) not in HARMLESS:
            written.append(value or name)
    decoded = {form for text in written for form in (text, unquote(text), unquote_plus(text))}
    encoded = {form for text in decoded for form in (quote(text, safe=""), html.escape(text))}
    return {text for text in decoded | encoded if len(text) >= SHORTEST_SECRET}
