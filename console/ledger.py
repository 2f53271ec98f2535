"""What happened to each feed in the last day: periods for a bar, and incidents with the records behind them. Pure."""

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
    "silent": "silent",
    "refused": "refused",
    "stopped": "refused",
}
# The incident that such an event begins, where its name is another one.
KINDS: Mapping[str, str] = {"disconnected": "reconnecting", "stopped": "refused", "resumed": "replayed"}
# The state of the feed during an incident; a loss is a moment, and changes none.
STATES: Mapping[str, str] = {KINDS.get(what, what): state for what, state in AFTER.items()}
WORSE = ("connected", "reconnecting", "silent", "refused")
INCIDENTS = 30  # of each feed, the newest
RECORDS = 12  # behind an incident
PERIODS = 100  # in a bar: more are narrower than a line
# A gap is reported with the first post after an outage, so the records of the outage are behind it.
NEAR_SECONDS = 60.0


@dataclass(frozen=True)
class Period:
    """A period of one state. begin, width: shares of the day, from 0 to 1. incident: its id."""

    state: str
    begin: float
    width: float
    incident: str = ""


@dataclass(frozen=True)
class Mark:
    """A moment in the bar. kind: lost or replayed. at: share of the day. incident: its id."""

    kind: str
    at: float
    incident: str


@dataclass
class Incident:
    """Something that happened.

    id: unique on the page. kind: lost, reconnecting, replayed, refused, silent, started, connected or clamped.
    at, until: the range of time; until is None while it lasts, and equals `at` for a moment.
    facts: (label, value), for a loss with the range of positions.
    records: the records of the topic of events behind it, oldest first, at most RECORDS.
    """

    id: str
    kind: str
    at: float
    until: float | None
    text: str
    facts: Sequence[tuple[str, str]] = ()
    records: list[FeedEvent] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """How long it lasted; None for a moment, or while it lasts."""
        return self.until - self.at if self.until is not None and self.until > self.at else None

    def add(self, event: FeedEvent) -> None:
        """Add a record; of many, the first ones and the newest are kept."""
        self.records.append(event)
        if len(self.records) > RECORDS:
            del self.records[RECORDS // 2]


@dataclass(frozen=True)
class Ledger:
    """The day of one feed. incidents: newest first, at most INCIDENTS. losses: how many the whole day has."""

    source: str
    periods: Sequence[Period]
    marks: Sequence[Mark]
    incidents: Sequence[Incident]
    losses: int


def ledger_of(events: Iterable[FeedEvent], now: float) -> list[Ledger]:
    """One ledger for each feed. events: oldest first."""
    feeds: dict[str, list[FeedEvent]] = {}
    for event in events:
        feeds.setdefault(event.source, []).append(event)
    return [of_feed(source, found, now) for source, found in sorted(feeds.items())]


def of_feed(source: str, events: Sequence[FeedEvent], now: float) -> Ledger:
    def share(at: float) -> float:
        return min(1.0, max(0.0, (at - now + DAY_SECONDS) / DAY_SECONDS))

    happened = incidents(events)
    shown = happened[-INCIDENTS:]
    listed = {incident.id for incident in shown}
    periods = [
        Period(
            STATES[incident.kind],
            share(incident.at),
            share(now if incident.until is None else incident.until) - share(incident.at),
            incident.id if incident.id in listed else "",
        )
        for incident in happened
        if incident.kind in STATES and incident.until != incident.at
    ]
    marks = [
        Mark(incident.kind, share(incident.at), incident.id if incident.id in listed else "")
        for incident in happened
        if incident.kind in ("lost", "replayed")
    ]
    losses = sum(incident.kind == "lost" for incident in happened)
    return Ledger(source, joined(periods), marks[-PERIODS:], shown[::-1], losses)


def incidents(events: Sequence[FeedEvent]) -> list[Incident]:
    """The incidents, oldest first. A period has the event that begins it, those within it, and the one that ends it."""
    found: list[Incident] = []
    current: Incident | None = None  # the period that lasts
    state = ""
    outage: list[FeedEvent] = []  # since the feed was last connected
    for number, event in enumerate(events):
        after = AFTER.get(event.what)
        kind = KINDS.get(event.what, event.what)
        if after is None:
            incident = Incident(identity(event, number), kind, event.at, event.at, describe(event), facts(event))
            near = [each for each in outage if event.at - outage[-1].at <= NEAR_SECONDS] if kind == "lost" else []
            for each in (*near, event):
                incident.add(each)
            found.append(incident)
            continue
        if after == state and after != "connected" and current is not None:
            current.add(event)
        else:
            if current is not None:
                current.until = event.at
                if state != "connected":
                    current.add(event)
            if state in ("", "connected") and after != "connected":
                outage = []
            away = event.at - outage[0].at if outage else None
            begun = Incident(identity(event, number), kind, event.at, None, describe(event), facts(event, away))
            for each in (*outage, event) if kind == "replayed" else (event,):
                begun.add(each)
            found.append(begun)
            current, state = begun, after
        outage.append(event)
        del outage[:-RECORDS]
    return found


def identity(event: FeedEvent, number: int) -> str:
    """An id of HTML for the record."""
    return f"incident-{event.place.replace('/', '-') or number}"


def joined(periods: Sequence[Period]) -> list[Period]:
    """At most PERIODS: where there are more, the shortest ones are joined with the one before. The worse state counts.

    Of a loss nothing is hidden: it has a mark of its own.
    """
    if len(periods) <= PERIODS:
        return list(periods)
    short = 1 / PERIODS
    found: list[Period] = []
    for period in periods:
        last = found[-1] if found else None
        if last is not None and last.width < short:
            worse = max(last, period, key=lambda each: WORSE.index(each.state))
            width = period.begin + period.width - last.begin
            found[-1] = Period(worse.state, last.begin, width, worse.incident)
        else:
            found.append(period)
    return found


def describe(event: FeedEvent) -> str:
    """The event in one line."""
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


# The details with numbers, and their labels.
NAMED = (
    ("numbering", "numbering"),
    ("first", "first position"),
    ("last", "last position"),
    ("lost", "posts or units lost"),
    ("rejected", "numbers of it with a rejection of their own"),
    ("seconds", "the feed's time within it, in seconds"),
    ("position", "from position"),
    ("posts", "posts"),
)


def facts(event: FeedEvent, away: float | None = None) -> list[tuple[str, str]]:
    """The range of positions and its size. away: seconds without a connection before the event."""
    known = [(label, event.details[name]) for name, label in NAMED if event.details.get(name)]
    if event.what == "resumed" and away is not None:
        known.append(("without a connection before", f"{away:,.0f} s"))
    return known
