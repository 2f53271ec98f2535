"""Answers of sources for the tests of the console."""

from collections.abc import Mapping
from typing import Any

from console.observations import Answer, Checkpoint, Document, Documents, FeedEvent, Job, Post, RejectedGroup, Topics
from console.view import AGGREGATOR, COLLECTOR, DOCUMENTS, TOPICS

NOW = 1_795_024_000.0  # 2026-11-18T17:46:40Z
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> & <script>document.title='owned'</script>"
COUNTERS = {"total_cases_count": 1_000, "total_deaths_count": 10, "active_cases_count": None}


def collector(**changes: Any) -> Job:
    metrics = {
        "collector_connected": 1.0,
        "collector_posts": 5_000.0,
        "collector_seconds_behind": 2.0,
        "collector_gaps": 0.0,
        "collector_lost": 0.0,
        "collector_rejected": 0.0,
        "collector_overlap": 0.0,
        "collector_reconnects": 1.0,
        "collector_silences": 0.0,
        "collector_refused": 0.0,
        **changes.pop("metrics", {}),
    }
    standard = {"state": "RUNNING", "started_at": NOW - 600, "checkpoint": Checkpoint(NOW - 1, 0.2, 2_048)}
    return Job(name="collector_stream", **{**standard, **changes}, metrics=metrics)


def aggregator(**changes: Any) -> Job:
    metrics = {"documents_written": 30.0, "enrichment_age_seconds": 20.0, **changes.pop("metrics", {})}
    standard = {"state": "RUNNING", "started_at": NOW - 600, "watermark": NOW - 3}
    return Job(name="aggregator_stream", **{**standard, **changes}, metrics=metrics)


def topics(**changes: Any) -> Topics:
    posts = (
        Post("simulator-a-2", HOSTILE, NOW - 1, "simulator", "a/2"),
        Post("simulator-a-1", "a calm post", NOW - 2, "simulator", "a/1", "a #calm post"),
    )
    standard = {"records": 6_000, "lag": 12, "posts": posts}
    return Topics(**{**standard, **changes})


def documents(end: str = "2026-11-18T17:46:20Z") -> Documents:
    return Documents((Document(end, 400, COUNTERS, '{"hash": "..."}'),), 0.004)


def answers(at: float = NOW, **values: Any) -> Mapping[str, Answer]:
    """Answers of all sources at this time; a value replaces that of its source, an Answer the whole."""
    standard = {COLLECTOR: collector(), AGGREGATOR: aggregator(), TOPICS: topics(), DOCUMENTS: documents()}
    found = {**standard, **values}
    return {name: value if isinstance(value, Answer) else Answer(value, at) for name, value in found.items()}


def lost(at: float, **details: str) -> FeedEvent:
    found = {"first": "5", "last": "9", "lost": "5", "why": "gone", **details}
    return FeedEvent("lost", at, "simulator", "ws://feed", found, f"0/{at:.0f}", '{"event": "lost", "first": 5}')


REJECTED = RejectedGroup("bad_text", HOSTILE, 3, NOW - 60, NOW - 5, HOSTILE, True)
