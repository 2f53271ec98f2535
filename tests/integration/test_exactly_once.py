"""Both jobs while a part of the stack is killed with SIGKILL in the middle of a window. No post is lost or duplicate.

The tests share one pipeline and run in order. Each test checks all posts since the pipeline began. No test kills the
JobManager: it recovers the jobs only with high availability, which tests/e2e/test_chart.py tests on Kubernetes.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import pytest
from pymongo.errors import PyMongoError

from jobs.defaults import COLLECTION, DATABASE, REJECTED_TOPIC, TWEETS_TOPIC
from jobs.documents import iso
from local.broker import read_topic
from local.process import Program
from local.stack import JOBS, Stack
from tests.integration.conftest import RATE, WINDOW_SECONDS
from tests.support.counting import SimulatorFeed, numbers
from tests.support.stored import documents, records
from tests.support.waiting import await_value

RECOVERY_SECONDS = 90
FEED = SimulatorFeed(RATE, WINDOW_SECONDS)


@dataclass
class Pipeline:
    """The running jobs on the stack."""

    stack: Stack

    def documents_end(self) -> str:
        """The end of the last window before the first one without a document, ISO 8601; "" while the store is down."""
        try:
            return FEED.end_of_complete_windows(documents(self.stack.settings.store_uri, DATABASE, COLLECTION))
        except PyMongoError:
            return ""

    def await_window_after(self, moment: float, what: str, seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until a window that began after `moment` (Unix time) and all windows before it have documents."""
        end = iso(moment + 2 * WINDOW_SECONDS)
        await_value(lambda: self.documents_end() >= end, f"a document of {end} or later ({what})", seconds)

    def assert_exactly_once(self, final: int | None = None) -> None:
        """Assert that topic and documents have each post once. final: the last number that the simulator sends."""
        settings = self.stack.settings
        stored = documents(settings.store_uri, DATABASE, COLLECTION)
        found = numbers(records(settings.kafka, TWEETS_TOPIC))
        contents = {end: [chunk["content"] for chunk in chunks] for end, chunks in stored.items()}
        FEED.assert_exactly_once(found, contents, final)
        assert len(stored) >= 2
        assert read_topic(settings.kafka, REJECTED_TOPIC) == []


@pytest.fixture(scope="module")
def pipeline(stack: Stack) -> Iterator[Pipeline]:
    pipeline = Pipeline(stack)
    with ThreadPoolExecutor() as pool:
        list(pool.map(stack.submit, JOBS))
    simulator = stack.simulator.environment
    yield pipeline
    for identity in stack.jobs.values():
        stack.flink.cancel(identity)
    if stack.simulator.environment is not simulator:  # a test has changed it
        stack.simulator.stop()
        stack.simulator.environment = simulator
        stack.simulator.start()


def test_every_post_of_the_feed_is_in_one_document(pipeline: Pipeline) -> None:
    pipeline.await_window_after(time.time(), "the first windows")
    pipeline.assert_exactly_once()


def kill_workers(stack: Stack) -> None:
    workers = [
        process
        for process in psutil.Process(stack.flink.taskmanager.pid).children(recursive=True)
        if "python" in process.name()
    ]
    assert workers
    for worker in workers:
        worker.kill()


def kill_and_start(program: Program) -> None:
    program.kill()
    program.start()


FAULTS: dict[str, Callable[[Stack], None]] = {
    "Python workers": kill_workers,
    "TaskManager": lambda stack: kill_and_start(stack.flink.taskmanager),
    "broker": lambda stack: kill_and_start(stack.broker.program),
    "document store": lambda stack: kill_and_start(stack.store.program or pytest.fail("the user runs the store")),
    "simulator": lambda stack: kill_and_start(stack.simulator),
}


@pytest.mark.parametrize("part", FAULTS)
def test_no_post_is_lost_or_duplicate_after_a_kill(pipeline: Pipeline, part: str) -> None:
    # In the middle of a window, some of its posts are in Flink's state.
    await_value(lambda: abs(time.time() % WINDOW_SECONDS - WINDOW_SECONDS / 2) < 0.5, "the middle of a window", 10)
    killed_at = time.time()
    FAULTS[part](pipeline.stack)
    pipeline.await_window_after(killed_at, f"after the kill of the {part}")
    pipeline.assert_exactly_once()


def test_the_last_window_closes_within_seconds_after_the_last_post(pipeline: Pipeline) -> None:
    stack = pipeline.stack
    last = FEED.schedule.newest(time.time()) + 300
    stack.simulator.stop()
    stack.simulator.environment = {**stack.simulator.environment, "SIMULATOR_STOP_AFTER": str(last)}
    stack.simulator.start()
    window_end = FEED.schedule.timestamp_ms(last) // 1000 // WINDOW_SECONDS * WINDOW_SECONDS + WINDOW_SECONDS
    await_value(lambda: pipeline.documents_end() >= iso(window_end), "the last window", window_end - time.time() + 15)
    delay = time.time() - window_end
    pipeline.assert_exactly_once(final=last)
    assert numbers(records(stack.settings.kafka, TWEETS_TOPIC))[-1] == last
    assert delay < 12, f"the window closed {delay:.1f} s after its end"


def test_the_sql_client_shows_the_documents(pipeline: Pipeline, sql: Callable[[str], str]) -> None:
    stored = documents(pipeline.stack.settings.store_uri, DATABASE, COLLECTION)
    shown = sql(
        "SELECT `timestamp`, CARDINALITY(content) AS posts, total_cases_count > 0 AS enriched FROM twitter_table"
    )
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines() if line.startswith("| 2")
    ]
    assert sorted(rows) == sorted([end, str(len(chunks[0]["content"])), "TRUE"] for end, chunks in stored.items())
