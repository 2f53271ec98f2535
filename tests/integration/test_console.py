"""The console beside the real stack: the page of a running pipeline, in a real browser."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
from kafka.admin import NewTopic
from playwright.sync_api import Browser, Page, expect

from local.broker import admin
from local.stack import Stack
from tests.support.browser import Visit, chromium
from tests.support.topics import topic

FIRST_DOCUMENT_SECONDS = 90
RED_SECONDS = 5
# A lost connection is a metric, which Flink passes on once a second and the console reads once a second: 1.8 to 2.4 s
# on a quiet machine (2026-11-27). On a loaded one each of these steps takes several times as long.
CUT_SECONDS = 20
NORMAL = re.compile("^(green|amber)$")
MAX_MEBIBYTES = 64


@dataclass
class Pipeline:
    """Both jobs with topics and a database of their own, and the console that shows them."""

    stack: Stack
    settings: dict[str, str]

    @property
    def url(self) -> str:
        return self.stack.settings.console_url

    def submit(self, job: str) -> str:
        return self.stack.submit(job, self.settings)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pipeline(stack: Stack) -> Iterator[Pipeline]:
    events = "console.events"
    with topic(stack.settings.kafka, "console") as posts, contextlib.closing(admin(stack.settings.kafka)) as client:
        client.create_topics([NewTopic(events, 1, 1)], wait_for_metadata=True)
        settings = {
            "KAFKA_TOPIC": posts.name,
            "KAFKA_REJECTED_TOPIC": posts.rejected_name,
            "KAFKA_EVENTS_TOPIC": events,
            "KAFKA_ID_PREFIX": "console",
            "MONGODB_DATABASE": "console",
            "CHECKPOINT_SECONDS": "2",
        }
        started = Pipeline(stack, settings)
        stack.start_console(settings)
        try:
            for job in ("collector_stream", "aggregator_stream"):
                started.submit(job)
            yield started
        finally:
            stack.console.stop()
            for identity in stack.jobs.values():
                if stack.flink.state(identity) == "RUNNING":
                    stack.flink.cancel(identity)


def await_normal(page: Page, seconds: float) -> None:
    expect(page.locator("#state-title")).to_have_attribute("data-level", NORMAL, timeout=seconds * 1000)


def test_the_page_shows_the_first_document(browser: Browser, pipeline: Pipeline) -> None:
    with Visit(browser, pipeline.url) as visit:
        first = visit.page.locator("#documents tbody tr").first
        expect(first).to_be_visible(timeout=FIRST_DOCUMENT_SECONDS * 1000)
        expect(visit.page.locator("#posts .text").first).to_be_visible()
        await_normal(visit.page, 30)
        expect(visit.page.locator("#state-title")).to_contain_text("Complete up to")


def test_it_turns_red_within_seconds_when_the_collector_ends_and_back(browser: Browser, pipeline: Pipeline) -> None:
    with Visit(browser, pipeline.url) as visit:
        await_normal(visit.page, 30)
        pipeline.stack.flink.cancel(pipeline.stack.jobs["collector_stream"])
        title = visit.page.locator("#state-title")
        expect(title).to_have_attribute("data-level", "red", timeout=RED_SECONDS * 1000)
        expect(title).to_contain_text("The collector is CANCEL")
        pipeline.submit("collector_stream")
        await_normal(visit.page, 60)


def test_a_lost_range_is_in_the_list(browser: Browser, pipeline: Pipeline) -> None:
    """Another seed is another numbering: how many posts of the former one are lost is unknown."""
    simulator = pipeline.stack.simulator
    before = simulator.environment
    with Visit(browser, pipeline.url) as visit:
        await_normal(visit.page, 30)
        try:
            simulator.stop()
            title = visit.page.locator("#state-title")
            expect(title).to_contain_text("The collector has no connection to the feed", timeout=CUT_SECONDS * 1000)
            expect(title).to_have_attribute("data-level", "red")
            simulator.environment = {**before, "SIMULATOR_SEED": "2"}
            simulator.start()
            lost = visit.page.locator("#ledger li.lost").first
            expect(lost).to_contain_text("LOST", timeout=60_000)
            expect(visit.page.locator("#state-title")).to_have_attribute("data-level", "amber", timeout=30_000)
        finally:
            simulator.stop()
            simulator.environment = before
            simulator.start()


def test_three_open_pages_cost_little_memory(browser: Browser, pipeline: Pipeline) -> None:
    with contextlib.ExitStack() as pages:
        for _ in range(3):
            page = pages.enter_context(Visit(browser, pipeline.url)).page
            expect(page.locator("#live")).to_have_text("live", timeout=20_000)
            page.wait_for_timeout(5_000)
        mebibytes = psutil.Process(pipeline.stack.console.pid).memory_info().rss / 1024**2
    assert mebibytes < MAX_MEBIBYTES


def test_the_page_shows_the_settings_of_the_jobs_and_versions(browser: Browser, pipeline: Pipeline) -> None:
    with Visit(browser, pipeline.url) as visit:
        operations = visit.page.locator("#operations")
        expect(operations).to_contain_text("version of Flink", timeout=30_000)
        for job, setting in (("collector_stream", "START_FROM"), ("aggregator_stream", "WINDOW_SECONDS")):
            visit.page.locator(f"#settings-{job} summary").click()
            expect(visit.page.locator(f"#settings-{job}")).to_contain_text(setting)
            expect(visit.page.locator(f"#settings-{job}")).to_contain_text("console.events" if job[0] == "c" else "20")
