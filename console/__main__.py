"""Runs the console: `python -m console`, with the aggregator's environment. See settings.py.

Exit status: 0 after SIGTERM or SIGINT, 1 if it cannot listen, 2 for a wrong setting.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import uvicorn

from console.poller import Poller, Source
from console.server import application
from console.settings import Settings, read_settings
from console.sources.flink import FlinkJob
from console.sources.kafka import KafkaTopics
from console.sources.kubernetes import ReleaseEvents
from console.sources.mongodb import MongoDocuments
from console.sources.watchdog import WatchdogMetrics
from console.view import AGGREGATOR, CLUSTER, COLLECTOR, DOCUMENTS, TOPICS, WATCHDOG, Board, View, build
from jobs.settings import SettingError

# Seconds between two readings. A post or a document is on the page within a second.
INTERVALS = {TOPICS: 0.5, DOCUMENTS: 0.3, WATCHDOG: 5.0, CLUSTER: 5.0}


def sources_of(settings: Settings) -> dict[str, Source]:
    sources: dict[str, Source] = {
        COLLECTOR: FlinkJob(settings.collector_flink, "collector_stream", settings.collector_page),
        AGGREGATOR: FlinkJob(settings.aggregator_flink, "aggregator_stream", settings.aggregator_page),
        TOPICS: KafkaTopics(settings.aggregator, settings.events_topic),
        DOCUMENTS: MongoDocuments(settings.aggregator),
    }
    if settings.watchdog is not None:
        sources[WATCHDOG] = WatchdogMetrics(settings.watchdog)
    if settings.namespace and settings.events_of:
        sources[CLUSTER] = ReleaseEvents(settings.namespace, settings.events_of)
    return sources


def commands_of(settings: Settings) -> dict[str, str]:
    """By source: the command that makes Flink's pages reachable, where a browser cannot reach them."""
    if not settings.namespace:
        return {}
    forward = f"kubectl port-forward --namespace {settings.namespace} service"
    services = {COLLECTOR: (settings.collector_flink, 8081), AGGREGATOR: (settings.aggregator_flink, 8082)}
    return {
        name: f"{forward}/{urlsplit(url).hostname} {port}:{urlsplit(url).port or 80}"
        for name, (url, port) in services.items()
    }


def main(environment: Mapping[str, str] = os.environ) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("kafka", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # poller.py logs each source that does not answer
    try:
        settings = read_settings(environment)
    except SettingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    poller = Poller(sources_of(settings), intervals=INTERVALS)
    board = Board(settings.aggregator.window_seconds, settings.versions, commands_of(settings))

    def view() -> View:
        return build(poller.answers(), board, time.time())

    poller.start()
    try:
        uvicorn.run(
            application(view, settings.allowed_hosts, lambda: poller.version, poller.look),
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
