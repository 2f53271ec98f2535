"""Runs the console: `python -m console`, with the aggregator's environment. See settings.py.

Exit status: 0 after SIGTERM or SIGINT, 1 if it cannot listen, 2 for a wrong setting.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping

import uvicorn

from console.poller import Poller, Source
from console.server import application
from console.settings import Settings, read_settings
from console.sources.flink import FlinkJob
from console.sources.kafka import KafkaTopics
from console.sources.mongodb import MongoDocuments
from console.sources.watchdog import WatchdogMetrics
from console.view import AGGREGATOR, COLLECTOR, DOCUMENTS, TOPICS, WATCHDOG, Board, View, build
from jobs.settings import SettingError


def sources_of(settings: Settings) -> dict[str, Source]:
    sources: dict[str, Source] = {
        COLLECTOR: FlinkJob(settings.collector_flink, "collector_stream"),
        AGGREGATOR: FlinkJob(settings.aggregator_flink, "aggregator_stream"),
        TOPICS: KafkaTopics(settings.aggregator, settings.events_topic),
        DOCUMENTS: MongoDocuments(settings.aggregator),
    }
    if settings.watchdog is not None:
        sources[WATCHDOG] = WatchdogMetrics(settings.watchdog)
    return sources


def shown_settings(settings: Settings) -> list[tuple[str, str]]:
    """The settings for the page. None of them is or holds a secret."""
    aggregator = settings.aggregator
    return [
        ("topics", ", ".join((aggregator.topic, aggregator.rejected_topic, settings.events_topic))),
        ("collection", f"{aggregator.database}.{aggregator.collection}"),
        ("window", f"{aggregator.window_seconds} s"),
        ("late posts are taken for", f"{aggregator.allowed_lateness_seconds} s"),
        ("counters are read every", f"{aggregator.refresh_seconds} s"),
        ("Kafka's protocol", aggregator.security.protocol),
    ]


def main(environment: Mapping[str, str] = os.environ) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("kafka", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # poller.py logs each source that does not answer
    try:
        settings = read_settings(environment)
    except SettingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    poller = Poller(sources_of(settings))
    board = Board(settings.aggregator.window_seconds, shown_settings(settings))

    def view() -> View:
        return build(poller.answers(), board, time.time())

    poller.start()
    try:
        uvicorn.run(
            application(view, settings.allowed_hosts),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=64,
            timeout_graceful_shutdown=1,
        )
    finally:
        poller.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
