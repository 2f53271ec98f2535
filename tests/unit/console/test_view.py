"""What the page says about the pipeline."""

from typing import Any

import pytest

from console.observations import Answer, ClusterEvent, ClusterEvents, Documents, Watchdog
from console.view import AMBER, GREEN, RED, Board, Box, View, build
from tests.unit.console import examples
from tests.unit.console.examples import NOW, aggregator, answers, collector


def test_all_is_well() -> None:
    view = build(answers(), Board(20), NOW)
    assert (view.level, list(view.findings)) == (GREEN, [])
    assert view.sentence == "Complete up to 17:46:20 UTC, nothing lost since the start, 2 s behind"


@pytest.mark.parametrize(
    ("watermark", "sentence"),
    [
        (NOW - 20, "Complete up to 17:46:20"),
        (NOW - 20.001, "Complete up to 17:46:20"),
        (NOW - 20.002, "Complete up to 17:46:00"),
        (NOW - 60, "Newest document 17:46:20"),
        (None, "Newest document 17:46:20"),
    ],
)
def test_a_window_is_complete_when_every_task_is_done_with_it(watermark: float | None, sentence: str) -> None:
    """Even if one of several tasks has written its document of the window."""
    newest = examples.documents("2026-11-18T17:46:20Z").newest + examples.documents("2026-11-18T17:46:00Z").newest
    shown = answers(aggregator=aggregator(watermark=watermark), documents=Documents(newest, 0.004))
    assert build(shown, Board(20), NOW).sentence.startswith(sentence)


def test_before_the_first_answer_nothing_is_claimed() -> None:
    silent = {name: Answer() for name in answers()}
    view = build(silent, Board(20), NOW)
    assert (view.level, view.sentence) == (AMBER, "No document yet")


@pytest.mark.parametrize(
    ("changed", "level", "sentence"),
    [
        (
            {"collector": collector(state="FAILED", failure="IOException: no")},
            RED,
            "The collector is FAILED: IOException: no",
        ),
        ({"aggregator": aggregator(state="RESTARTING")}, RED, "The aggregator is RESTARTING"),
        ({"collector": collector(state="ABSENT", metrics={})}, RED, "The collector is ABSENT"),
        ({"collector": collector(metrics={"collector_connected": 0.0})}, RED, "no connection to the feed"),
        ({"collector": collector(metrics={"collector_refused": 1.0})}, RED, "refuses the collector for good"),
        ({"topics": Answer(examples.topics(), NOW - 9, "KafkaError", NOW - 8)}, RED, "Kafka does not answer since"),
        ({"documents": Answer(None, 0, "AutoReconnect", NOW - 8)}, RED, "MongoDB does not answer since"),
        ({"topics": Answer(examples.topics(), NOW - 2, "KafkaError", NOW - 1)}, GREEN, "Complete up to"),
        (
            {"collector": collector(metrics={"collector_gaps": 1.0, "collector_lost": 7.0})},
            AMBER,
            "7 lost in 1 gap since",
        ),
        ({"collector": collector(metrics={"collector_seconds_behind": 90.0})}, AMBER, "90 s behind"),
        ({"collector": collector(failed_at=NOW - 5, failure="Killed")}, AMBER, "The collector restarted at"),
        ({"aggregator": aggregator(back_pressure=0.8)}, AMBER, "The aggregator waits 80% of the time"),
        ({"aggregator": aggregator(metrics={"enrichment_age_seconds": -1.0})}, AMBER, "was not read yet"),
        ({"aggregator": aggregator(metrics={"enrichment_age_seconds": 9_000.0})}, AMBER, "The counters are 2.5 h old"),
        ({"documents": examples.documents("2026-11-18T17:40:00Z")}, AMBER, "The newest document is 400 s old"),
        ({"documents": Documents((), 0.1)}, GREEN, "No document yet"),
    ],
)
def test_each_fault_has_its_level_and_its_reason(changed: dict[str, Any], level: str, sentence: str) -> None:
    view = build(answers(**changed), Board(20), NOW)
    assert view.level == level
    assert sentence in view.sentence


def test_a_part_that_does_not_answer_says_so_and_the_others_go_on() -> None:
    view = build(answers(topics=Answer(examples.topics(), NOW - 9, "KafkaError", NOW - 8)), Board(20), NOW)
    stale = {box.title: box.stale for box in view.boxes if box.stale}
    assert list(stale) == ["Topic tweets"]
    assert stale["Topic tweets"].startswith("no answer since ")
    assert view.documents


def test_rates_are_those_of_the_last_seconds() -> None:
    board = Board(20)
    for second in range(4):
        job = collector(metrics={"collector_posts": second * 250.0})
        # Whenever the page is built, what counts is the time of the answer.
        for later in (0.0, 0.3, 0.9):
            view = build(answers(collector=Answer(job, NOW + second)), board, NOW + second + later)
            assert collector_box(view).rate == ("250 posts/s" if second else "rate unknown")
    assert collector_box(view).points[-1] == 250.0


def test_the_rate_of_a_source_that_does_not_answer_is_unknown() -> None:
    board, job = Board(20), collector()
    for second in range(2):
        build(answers(collector=Answer(job, NOW + second)), board, NOW + second)
    view = build(answers(collector=Answer(job, NOW + 1, "ReadTimeout", NOW + 2)), board, NOW + 3)
    assert collector_box(view).rate == "rate unknown"


def collector_box(view: View) -> Box:
    return next(box for box in view.boxes if box.title == "Collector")


def test_the_watchdog_is_shown_where_there_is_one() -> None:
    counts = Watchdog({"unready": 2}, {"silent, held by budget": 1})
    facts = dict(build(answers(watchdog=counts), Board(20), NOW).operations)
    assert facts["watchdog: restarts of the simulator"] == "2 (unready)"
    assert facts["watchdog: restarts held back"] == "1 (silent, held by budget)"


def test_warnings_of_kubernetes_are_shown_inside_a_cluster_only() -> None:
    assert build(answers(), Board(20), NOW).warnings is None
    warning = ClusterEvent(NOW - 5, "BackOff", "Pod demo", "failed", 2)
    assert build(answers(cluster=ClusterEvents((warning,))), Board(20), NOW).warnings == (warning,)


def test_an_api_server_that_does_not_answer_is_no_fault_of_the_pipeline() -> None:
    view = build(answers(cluster=Answer(None, 0, "ConnectionError", NOW - 8)), Board(20), NOW)
    assert (view.level, view.warnings) == (AMBER, ())
    assert "The Kubernetes API does not answer since" in view.sentence


def test_flinks_pages_are_a_link_or_the_command_that_makes_them_reachable() -> None:
    board = Board(20, commands={"collector": "kubectl port-forward one", "aggregator": "kubectl port-forward two"})
    view = build(answers(collector=collector(url="http://flink/#/job")), board, NOW)
    boxes = {box.title: box for box in view.boxes}
    assert boxes["Collector"].link == "http://flink/#/job"
    assert (boxes["Aggregator"].link, boxes["Aggregator"].command) == ("", "kubectl port-forward two")


def test_versions_and_the_settings_of_the_jobs_are_shown() -> None:
    job = collector(settings={"START_FROM": "topic", "BUFFER_FRAMES": "500"}, flink_version="1.20.5")
    view = build(answers(collector=job), Board(20, [("Python", "3.11.2")]), NOW)
    assert view.versions == [("Python", "3.11.2"), ("Flink", "1.20.5")]
    assert view.settings == {"collector_stream": [("BUFFER_FRAMES", "500"), ("START_FROM", "topic")]}
