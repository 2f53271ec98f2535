"""Both jobs during outages of the feed, of Kafka and of the jobs. No post is late, lost or duplicate.

The tests share one pipeline and run in order. After each test, the audit of all posts since the pipeline began
balances. The tests sleep, because the length of an outage is what they test.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka.admin import NewPartitions

from jobs.defaults import DATABASE, TWEETS_PARTITIONS
from jobs.documents import iso
from local.broker import admin, read_topic
from local.settings import REPOSITORY
from local.stack import JOBS, Stack
from tests.integration.conftest import RATE, WINDOW_SECONDS
from tests.support.dropped import assert_nothing_was_dropped
from tests.support.stored import newest_end
from tests.support.topics import Topic, topic
from tests.support.waiting import await_value

FAST = 5 * RATE
COLLECTION = "outages"
# Longer than the time after which the collector closes a connection without messages, and than the request timeout of
# Kafka's clients.
LONG_SECONDS = 40


@dataclass
class Pipeline:
    """The running jobs on topics and a collection of their own."""

    stack: Stack
    topic: Topic
    parallelism: int = 1
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        names = {"KAFKA_TOPIC": self.topic.name, "KAFKA_REJECTED_TOPIC": self.topic.rejected_name}
        return {**names, "MONGODB_COLLECTION": COLLECTION, **self.settings}

    def submit(self, job: str) -> None:
        parallelism = self.parallelism if job == "collector_stream" else 1
        self.stack.submit(job, self.environment, parallelism)

    def cancel(self, job: str) -> None:
        identity = self.stack.jobs[job]
        self.stack.flink.cancel(identity)
        await_value(lambda: self.stack.flink.state(identity) == "CANCELED", f"{job} to be cancelled", 60)

    def set_rate(self, rate: float) -> None:
        simulator = self.stack.simulator
        simulator.stop()
        simulator.environment = {**simulator.environment, "SIMULATOR_RATE": str(rate)}
        simulator.start()

    def await_new_window(self, seconds: float = 120) -> None:
        """Wait until a window that begins after now has a document. Then all earlier posts are read."""
        end = iso(int(time.time()) + 2 * WINDOW_SECONDS)
        uri = self.stack.settings.store_uri
        await_value(lambda: newest_end(uri, DATABASE, COLLECTION) >= end, f"a document of {end} or later", seconds)

    def audit(self) -> str:
        """The output of the audit. Fails unless it balances."""
        result = subprocess.run(
            [sys.executable, "-m", "jobs.audit"],
            cwd=REPOSITORY,
            env={**self.stack.job_environment(), **self.environment, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def rejections(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in read_topic(self.stack.settings.kafka, self.topic.rejected_name)]

    def assert_nothing_is_missing(self, gaps: int = 0) -> None:
        """Assert that every post is in a document. gaps: how many gaps of the feed are expected."""
        self.await_new_window()
        text = self.audit()
        reasons = Counter(each["reason"].partition(":")[0] for each in self.rejections())
        assert reasons == ({"lost": gaps} if gaps else {}), text
        assert_nothing_was_dropped(self.stack)


@pytest.fixture(scope="module")
def pipeline(stack: Stack) -> Iterator[Pipeline]:
    with topic(stack.settings.kafka, "outages") as records:
        running = Pipeline(stack, records)
        with ThreadPoolExecutor() as pool:
            list(pool.map(running.submit, JOBS))
        yield running
        for job in JOBS:
            running.cancel(job)
        running.set_rate(RATE)


def test_the_audit_balances(pipeline: Pipeline) -> None:
    pipeline.assert_nothing_is_missing()


def test_after_a_changed_rate_the_simulator_sends_only_new_posts(pipeline: Pipeline) -> None:
    before = {post["id"] for post in pipeline.topic.posts()}
    changed_at = time.time()
    pipeline.set_rate(FAST)
    pipeline.assert_nothing_is_missing(gaps=1)
    fresh = [post for post in pipeline.topic.posts() if post["id"] not in before]
    numberings = {post["id"].split("-")[1] for post in fresh if post["timestamp"] > changed_at * 1000 + 1000}
    assert len(numberings) == 1
    assert min(post["timestamp"] for post in fresh) > (changed_at - 10) * 1000, "there are old posts"


def pause_simulator(pipeline: Pipeline, seconds: float) -> None:
    simulator = pipeline.stack.simulator
    simulator.signal(signal.SIGSTOP)
    time.sleep(seconds)
    simulator.signal(signal.SIGCONT)


def kill_simulator(pipeline: Pipeline, seconds: float) -> None:
    pipeline.stack.simulator.kill()
    time.sleep(seconds)
    pipeline.stack.simulator.start()


def kill_broker(pipeline: Pipeline, seconds: float) -> None:
    pipeline.stack.broker.program.kill()
    time.sleep(seconds)
    pipeline.stack.broker.start()
    pipeline.stack.broker.await_ready()


def kill_taskmanager(pipeline: Pipeline, seconds: float) -> None:
    pipeline.stack.flink.taskmanager.kill()
    time.sleep(seconds)
    pipeline.stack.flink.taskmanager.start()


OUTAGES: dict[str, Callable[[Pipeline], None]] = {
    "feed for a second": lambda pipeline: pause_simulator(pipeline, 1),
    "feed, killed, for 12 s": lambda pipeline: kill_simulator(pipeline, 12),
    "feed, stopped, for longer than its limit": lambda pipeline: pause_simulator(pipeline, LONG_SECONDS),
    "broker for longer than a client waits": lambda pipeline: kill_broker(pipeline, LONG_SECONDS),
    "both jobs": lambda pipeline: kill_taskmanager(pipeline, LONG_SECONDS),
}


@pytest.mark.parametrize("part", OUTAGES)
def test_no_post_is_late_after_an_outage(pipeline: Pipeline, part: str) -> None:
    OUTAGES[part](pipeline)
    pipeline.assert_nothing_is_missing(gaps=1)


def test_a_collector_without_state_resumes_at_the_end_of_the_topic(pipeline: Pipeline) -> None:
    pipeline.cancel("collector_stream")
    time.sleep(WINDOW_SECONDS)
    pipeline.submit("collector_stream")
    pipeline.assert_nothing_is_missing(gaps=1)


def test_jobs_that_are_submitted_while_kafka_is_down_start_when_it_is_up(pipeline: Pipeline) -> None:
    stack = pipeline.stack
    logs = [stack.settings.logs / f"submit-{job}.log" for job in JOBS]
    for job, log in zip(JOBS, logs, strict=True):
        pipeline.cancel(job)
        log.unlink()
    stack.broker.program.kill()

    def both_wait() -> bool:
        return all(log.is_file() and "waiting for Kafka" in log.read_text() for log in logs)

    with ThreadPoolExecutor() as pool:
        submitted = [pool.submit(pipeline.submit, job) for job in JOBS]
        await_value(both_wait, "both jobs to log that they wait for Kafka", 90)
        stack.broker.start()
        for each in submitted:
            each.result(120)
    pipeline.assert_nothing_is_missing(gaps=1)


def test_no_post_is_late_after_partitions_are_added(pipeline: Pipeline) -> None:
    added_at = time.time() * 1000
    with contextlib.closing(admin(pipeline.stack.settings.kafka)) as client:
        client.create_partitions({pipeline.topic.name: NewPartitions(2 * TWEETS_PARTITIONS)})
    for partition in range(TWEETS_PARTITIONS, 2 * TWEETS_PARTITIONS):
        first = pipeline.topic.await_heartbeat(partition, 60)
        assert first.timestamp - added_at < 10_000, f"the first heartbeat in partition {partition}"
    pipeline.assert_nothing_is_missing(gaps=1)


def test_no_post_is_late_while_one_shard_is_behind(pipeline: Pipeline) -> None:
    pipeline.cancel("collector_stream")
    pipeline.parallelism = 2
    pipeline.submit("collector_stream")
    kill_simulator(pipeline, 10)
    pipeline.assert_nothing_is_missing(gaps=1)


def test_the_audit_reports_lost_posts(pipeline: Pipeline) -> None:
    """The change of the rate left a gap."""
    assert re.search("LOST|lost", pipeline.audit())
