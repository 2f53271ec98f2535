"""What the reader passes on besides frames, and what it needs to know of a feed. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass

from jobs.records import Frame
from jobs.websocket_connection import TooOld


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


@dataclass(frozen=True)
class Connected:
    """The handshake succeeded. server: its URL for people. at: ms since 1970 UTC."""

    server: str
    at: int


@dataclass(frozen=True)
class Disconnected:
    """An attempt ended.

    what: `disconnected`, `silent`, or `refused` for an attempt that never connected.
    """

    what: str
    server: str
    reason: str
    at: int


Event = Frame | Subscribed | ResumeRejected | TooLarge | Connected | Disconnected


@dataclass(frozen=True)
class Protocol:
    """What a feed needs besides the exchange of frames.

    expect: recognizes the frame that must arrive within `within` seconds after the handshake; None: none must.
    pings: whether the client sends protocol pings.
    every: seconds between two messages of `Request.ping`.
    max_age: seconds after which the client closes the connection; None: never.
    too_old: HTTP answers that say that the position is too old.
    client_certificate: PEM file with the client's certificate and private key.
    """

    expect: Callable[[bytes], bool] | None = None
    within: float = 10.0
    pings: bool = True
    every: float = 20.0
    max_age: float | None = None
    too_old: tuple[TooOld, ...] = ()
    client_certificate: str | None = None


NOTHING_SPECIAL = Protocol()
