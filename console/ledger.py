"""What happened to each feed in the last day: periods for a bar, and entries for a list. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from console.observations import FeedEvent

DAY_SECONDS = 86_400.0
# What the feed is in after an event; events that are not here change nothing.
AFTER: Mapping[str, str] = {
    "started": "reconnecting",
    "connected": "connected",
    "resumed": "connected",
    "disconnected": "reconnecting",
    "silent": "reconnecting",
    "refused": "refused",
    "stopped": "refused",
}
LISTED = ("lost", "refused", "silent", "stopped", "clamped", "disconnected", "resumed", "connected", "started")
ENTRIES = 100


@dataclass(frozen=True)
class Period:
    """A period of one state. begin, width: shares of the day, from 0 to 1."""

    state: str
    begin: float
    width: float


@dataclass(frozen=True)
class Entry:
    """A line of the list."""

    at: float
    what: str
    text: str


@dataclass(frozen=True)
class Ledger:
    """The day of one feed. losses: the moments of gaps as shares of the day. entries: newest first."""

    source: str
    periods: Sequence[Period]
    losses: Sequence[float]
    entries: Sequence[Entry] = field(default_factory=tuple)


def ledger_of(events: Iterable[FeedEvent], now: float) -> list[Ledger]:
    """One ledger for each feed. events: oldest first."""
    feeds: dict[str, list[FeedEvent]] = {}
    for event in events:
        feeds.setdefault(event.source, []).append(event)
    return [Ledger(source, *of_feed(found, now)) for source, found in sorted(feeds.items())]


def of_feed(events: Sequence[FeedEvent], now: float) -> tuple[list[Period], list[float], list[Entry]]:
    start = now - DAY_SECONDS

    def share(at: float) -> float:
        return min(1.0, max(0.0, (at - start) / DAY_SECONDS))

    periods: list[Period] = []
    state, since = "", 0.0
    for event in events:
        after = AFTER.get(event.what)
        if after is None or after == state:
            continue
        if state and event.at > since:
            periods.append(Period(state, share(since), share(event.at) - share(since)))
        state, since = after, event.at
    if state:
        periods.append(Period(state, share(since), 1.0 - share(since)))
    losses = [share(event.at) for event in events if event.what == "lost"]
    entries = [Entry(event.at, event.what, describe(event)) for event in events if event.what in LISTED]
    return periods, losses, entries[::-1][:ENTRIES]


def describe(event: FeedEvent) -> str:
    details = event.details
    if event.what == "lost":
        where = f"positions {details.get('first')} to {details.get('last')}" if details.get("last") else "unknown size"
        of = f" of {details['numbering']}" if details.get("numbering") else ""
        count = f", {details['lost']} lost" if details.get("lost") else ""
        return f"{where}{of}{count}: {details.get('why', '')}"
    if event.what == "clamped":
        return f"{details.get('posts', '?')} posts had a wrong time, which the time of arrival replaces"
    texts = [event.server, details.get("reason", ""), details.get("guarantee", "")]
    if details.get("position"):
        texts.append(f"from position {details['position']}")
    return " · ".join(text for text in texts if text)
