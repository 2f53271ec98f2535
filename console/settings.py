"""The console's settings, from the environment."""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.addresses import HOST, PORT
from jobs.settings import AggregatorSettings, EnvReader, SettingError, read_aggregator_settings

URL_ALLOWED = "an http:// or https:// address"
OBJECT = "[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?"  # the name of an object in Kubernetes
URL = rf"https?://{HOST}(?::{PORT})?(?:/[^\s?#]*)?"


@dataclass(frozen=True)
class Settings:
    """The settings.

    host, port: where the console listens.
    allowed_hosts: names in the Host header that it answers; other names are refused, against DNS rebinding.
    collector_flink, aggregator_flink: addresses of Flink's REST API for each job.
    collector_page, aggregator_page: addresses of Flink's pages for a browser; "" if a browser cannot reach them.
    watchdog: address of the watchdog's metrics; None without a watchdog.
    events_topic: topic of what happens to the feed.
    namespace: the namespace of the release in Kubernetes; "" outside of a cluster.
    events_of: objects whose names begin with it belong to the release, and their events are shown; "": no events.
    versions: (name, version) of what runs.
    aggregator: settings of the aggregator: Kafka, topics and MongoDB.
    """

    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    collector_flink: str
    aggregator_flink: str
    collector_page: str
    aggregator_page: str
    watchdog: str | None
    events_topic: str
    namespace: str
    events_of: str
    versions: tuple[tuple[str, str], ...]
    aggregator: AggregatorSettings


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises SettingError."""
    read = EnvReader(environment)
    aggregator = read_aggregator_settings(environment)
    flink = read.text("FLINK_URL", "http://localhost:8081", URL, URL_ALLOWED)
    watchdog = environment.get("WATCHDOG_METRICS_URL") or None
    if watchdog is not None and not re.fullmatch(URL, watchdog):
        raise SettingError(f"WATCHDOG_METRICS_URL={watchdog!r}: {URL_ALLOWED} is allowed")
    collector_flink = read.text("COLLECTOR_FLINK_URL", flink, URL, URL_ALLOWED)
    aggregator_flink = read.text("AGGREGATOR_FLINK_URL", flink, URL, URL_ALLOWED)
    namespace = read.text("KUBERNETES_NAMESPACE", "", rf"|{OBJECT}", "the name of a namespace")
    # A Service's name is of no use to a browser.
    pages = ("", "") if namespace else (collector_flink, aggregator_flink)
    hosts = read.text(
        "CONSOLE_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", r"[^\s]+", "names separated by commas, or *,"
    )
    return Settings(
        host=read.text("CONSOLE_HOST", "127.0.0.1", r"[0-9A-Za-z.:*-]+", "an IP address or a name"),
        port=read.integer("CONSOLE_PORT", 8090, 0, 65_535),
        allowed_hosts=tuple(hosts.split(",")),
        collector_flink=collector_flink,
        aggregator_flink=aggregator_flink,
        collector_page=read.text("COLLECTOR_FLINK_PAGE", pages[0], f"|{URL}", URL_ALLOWED),
        aggregator_page=read.text("AGGREGATOR_FLINK_PAGE", pages[1], f"|{URL}", URL_ALLOWED),
        watchdog=watchdog,
        events_topic=read.events_topic(aggregator.topic, aggregator.rejected_topic),
        namespace=namespace,
        events_of=read.text("KUBERNETES_EVENTS_OF", "", rf"|{OBJECT}", "the beginning of the objects' names"),
        versions=versions_of(environment),
        aggregator=aggregator,
    )


def versions_of(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Versions of the console, of the chart if there is one, and of Python."""
    named = (("Data Collection", "DATA_COLLECTION_VERSION"), ("chart", "CHART_VERSION"))
    known = [(name, environment[variable]) for name, variable in named if environment.get(variable)]
    return (*known, ("Python", platform.python_version()))
