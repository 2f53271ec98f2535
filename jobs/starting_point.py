"""Where an aggregator without state starts to read the topic. No I/O."""

from typing import NamedTuple

from jobs.documents import unix
from jobs.event_time import MAX_AHEAD_MS
from jobs.settings import AggregatorSettings


class StartingPoint(NamedTuple):
    """Where to start reading.

    options: options of the tables that read the topic.
    begin_ms: posts with an older event time are skipped; ms since 1970 UTC.
    """

    options: dict[str, str]
    begin_ms: int = 0


EARLIEST = StartingPoint({"scan.startup.mode": "earliest-offset"})


def starting_point(
    settings: AggregatorSettings, newest_end: str | None, newest_seconds: int | None, *, restored: bool
) -> StartingPoint:
    """Resume after the newest window that has a document, or at the user's REPLAY_FROM.

    newest_end: end of that window, ISO 8601; None without one.
    newest_seconds: its length in seconds.
    restored: whether the job starts from a savepoint. Then Flink resumes from the offsets in it.

    A job without state also reads the windows before that one again that may still get late posts, because it needs all
    of their posts. A record's stamp in Kafka is at most MAX_AHEAD_MS older than its event time.
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
    # Windows of another length have other keys. A post that is in a document must not get into a second one.
    begin = 0 if restored or newest_seconds == settings.window_seconds else end
    return StartingPoint(from_timestamp(end - again - MAX_AHEAD_MS), begin)


def from_timestamp(milliseconds: int) -> dict[str, str]:
    return {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(max(0, milliseconds))}
