"""What the console reads from Flink's REST API."""

from typing import Any

import pytest

from console.sources.flink import FlinkJob

ANSWERS: dict[str, Any] = {
    "/jobs/overview": {
        "jobs": [
            {"jid": "old", "name": "collector_stream", "state": "CANCELED", "start-time": 2_000},
            {"jid": "new", "name": "collector_stream", "state": "RUNNING", "start-time": 1_000},
            {"jid": "other", "name": "aggregator_stream", "state": "RUNNING", "start-time": 3_000},
        ]
    },
    "/jobs/new": {"vertices": [{"id": "v"}]},
    "/jobs/new/checkpoints": {
        "latest": {"completed": {"latest_ack_timestamp": 5_000, "end_to_end_duration": 250, "state_size": 1_024}},
        "counts": {"failed": 2},
    },
    "/jobs/new/exceptions?maxExceptions=1": {
        "exceptionHistory": {"entries": [{"exceptionName": "a.b.Killed", "timestamp": 4_000}]}
    },
    "/jobs/new/metrics?get=numRestarts": [{"id": "numRestarts", "value": "3"}],
    "/jobs/new/config": {"execution-config": {"user-config": {"START_FROM": "topic"}}},
    "/config": {"flink-version": "1.20.5"},
}
METRICS = {
    "0.collect.shard.0.collector_connected": "1",
    "1.collect.shard.1.collector_connected": "0",
    "0.collect.shard.0.collector_posts": "10",
    "1.collect.shard.1.collector_posts": "5",
    "0.collect.shard.0.collector_seconds_behind": "2",
    "1.collect.shard.1.collector_seconds_behind": "60",
    "0.backPressuredTimeMsPerSecond": "700",
    "0.currentInputWatermark": "-9223372036854775808",
    "1.currentInputWatermark": "9000",
    "0.numRecordsIn": "99",
}


def answer(path: str) -> Any:
    base = "/jobs/new/vertices/v/metrics"
    if path == base:
        return [{"id": name} for name in METRICS]
    if path.startswith(f"{base}?get="):
        return [{"id": name, "value": METRICS[name]} for name in path.partition("=")[2].split(",")]
    return ANSWERS[path]


def test_the_running_job_is_read_with_the_worst_of_its_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FlinkJob("http://flink:8081/", "collector_stream", "http://localhost:8081/")
    monkeypatch.setattr(source, "_get", answer)
    job = source.read()
    assert (job.state, job.started_at, job.restarts, job.failure, job.failed_at) == ("RUNNING", 1, 3, "Killed", 4)
    assert job.metrics == {"collector_connected": 0, "collector_posts": 15, "collector_seconds_behind": 60}
    assert (job.back_pressure, job.watermark, job.failed_checkpoints) == (0.7, 9, 2)
    assert job.checkpoint is not None
    assert (job.checkpoint.at, job.checkpoint.seconds, job.checkpoint.bytes) == (5, 0.25, 1_024)
    assert job.url == "http://localhost:8081/#/job/running/new/overview"
    assert (job.settings, job.flink_version) == ({"START_FROM": "topic"}, "1.20.5")


def test_a_job_that_was_never_submitted_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FlinkJob("http://flink:8081", "collector_stream", "")
    monkeypatch.setattr(source, "_get", lambda _: {"jobs": []})
    assert source.read().state == "ABSENT"
