"""The console's settings, from the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.addresses import HOST, PORT
from jobs.settings import AggregatorSettings, EnvReader, SettingError, read_aggregator_settings

URL = rf"https?://{HOST}(?::{PORT})?(?:/[^\s?#]*)?"


@dataclass(frozen=True)
class Settings:
    """The settings.

    host, port: where the console listens.
    allowed_hosts: names in the Host header that it answers; other names are refused, against DNS rebinding.
    collector_flink, aggregator_flink: addresses of Flink's REST API for each job.
    watchdog: address of the watchdog's metrics; None without a watchdog.
    events_topic: topic of what happens to the feed.
    aggregator: settings of the aggregator: Kafka, topics and MongoDB.
    """

    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    collector_flink: str
    aggregator_flink: str
    watchdog: str | None
    events_topic: str
    aggregator: AggregatorSettings


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises SettingError."""
    read = EnvReader(environment)
    aggregator = read_aggregator_settings(environment)
    flink = read.text("FLINK_URL", "http://localhost:8081", URL, "an http:// or https:// address")
    watchdog = environment.get("WATCHDOG_METRICS_URL") or None
    if watchdog is not None and not re.fullmatch(URL, watchdog):
        raise SettingError(f"WATCHDOG_METRICS_URL={watchdog!r}: an http:// or https:// address is allowed")
    hosts = read.text(
        "CONSOLE_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", r"[^\s]+", "names separated by commas, or *,"
    )
    return Settings(
        host=read.text("CONSOLE_HOST", "127.0.0.1", r"[0-9A-Za-z.:*-]+", "an IP address or a name"),
        port=read.integer("CONSOLE_PORT", 8090, 0, 65_535),
        allowed_hosts=tuple(hosts.split(",")),
        collector_flink=read.text("COLLECTOR_FLINK_URL", flink, URL, "an http:// or https:// address"),
        aggregator_flink=read.text("AGGREGATOR_FLINK_URL", flink, URL, "an http:// or https:// address"),
        watchdog=watchdog,
        events_topic=read.events_topic(aggregator.topic, aggregator.rejected_topic),
        aggregator=aggregator,
    )
