"""Where the aggregator begins to read the topic when it has no state of its own. No I/O."""

from typing import NamedTuple

from jobs.documents import unix
from jobs.event_time import MAX_AHEAD_MS
from jobs.settings import AggregatorSettings


class StartingPoint(NamedTuple):
    """options: of the tables that read the topic; begin_ms: posts with an older event time are passed over."""

    options: dict[str, str]
    begin_ms: int = 0


EARLIEST = StartingPoint({"scan.startup.mode": "earliest-offset"})


def starting_point(
    settings: AggregatorSettings, newest_end: str | None, newest_seconds: int | None, *, restored: bool
) -> StartingPoint:
    """Go on after the newest window that has a document, or where the user's REPLAY_FROM says.

    newest_end: end of that window, ISO 8601, None without one; newest_seconds: its length; restored: whether the job
    starts from a savepoint, in which case Flink reads on from the offsets in it.

    A job without state reads some windows before that one again: late posts are added to them, so all of their posts
    have to be there. A record's stamp in Kafka is at most MAX_AHEAD_MS older than its event time.
    """
    if settings.replay_from == "earliest":
        return EARLIEST
    if settings.replay_from:
        begin = unix(settings.replay_from) // settings.window_seconds * settings.window_seconds * 1000
        return StartingPoint(from_timestamp(begin - MAX_AHEAD_MS), begin)
    if newest_end is None:
        return EARLIEST
    end = unix(newest_end) * 1000
    again = (settings.allowed_lateness_seconds + settings.window_seconds) * 1000
    # Windows of another length have other keys: what is in a document already must not get into a second one.
    begin = 0 if restored or newest_seconds == settings.window_seconds else end
    return StartingPoint(from_timestamp(end - again - MAX_AHEAD_MS), begin)


def from_timestamp(milliseconds: int) -> dict[str, str]:
    return {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(max(0, milliseconds))}
