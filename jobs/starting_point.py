"""Where an aggregator without state starts to read the topic. No I/O."""

from typing import NamedTuple

from jobs.documents import unix
from jobs.event_time import MAX_AHEAD_MS
from jobs.layouts import Newest, Window
from jobs.settings import AggregatorSettings, SettingError


class StartingPoint(NamedTuple):
    """Where to start reading.

    options: options of the tables that read the topic.
    begin_ms: posts with an older event time are skipped; ms since 1970 UTC.
    """

    options: dict[str, str]
    begin_ms: int = 0


EARLIEST = StartingPoint({"scan.startup.mode": "earliest-offset"})


def rebuilt_from(settings: AggregatorSettings, newest: Newest | None) -> int:
    """From which event time a job without state builds windows again; ms since 1970 UTC, 0: all that there is.

    Without REPLAY_FROM these are the windows that a task may not have written, and the ones before them that may still
    get late posts. newest: the newest window that has a document; None without one.
    """
    if settings.replay_from and settings.replay_from != "earliest":
        return unix(settings.replay_from) // settings.window_seconds * settings.window_seconds * 1000
    if settings.replay_from or newest is None:
        return 0
    return (unix(newest.reached) - settings.allowed_lateness_seconds - settings.window_seconds) * 1000


def starting_point(
    settings: AggregatorSettings, newest: Newest | None, other: Window | None, *, restored: bool
) -> StartingPoint:
    """Resume after the newest window that has a document, or at the user's REPLAY_FROM.

    newest: that window; None without one.
    other: the newest window since `rebuilt_from` with documents of another layout; None without one. They have other
        keys. A post that is in one of them must not get into a second document.
    restored: whether the job starts from a savepoint. Then Flink resumes from the offsets in it.

    A record's stamp in Kafka is at most MAX_AHEAD_MS older than its event time. Raises SettingError for a replay of
    windows of another layout.
    """
    begin = rebuilt_from(settings, newest)
    if settings.replay_from and other is not None and not restored:
        seconds, buckets = other.layout
        raise SettingError(
            f"REPLAY_FROM={settings.replay_from}: the window that ends at {other.end} was written with "
            f"WINDOW_SECONDS={seconds} and WINDOW_BUCKETS={buckets}: these values, a later time, or a collection "
            "without these documents are allowed"
        )
    skipped = 0 if restored or other is None else unix(other.end) * 1000
    if not begin:
        return EARLIEST._replace(begin_ms=skipped)
    if settings.replay_from:
        return StartingPoint(from_timestamp(begin - MAX_AHEAD_MS), begin)
    return StartingPoint(from_timestamp(begin - MAX_AHEAD_MS), skipped)


def from_timestamp(milliseconds: int) -> dict[str, str]:
    return {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(max(0, milliseconds))}
