"""The chart's values are those of the programs: the same settings, the same limits, the same version."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from jsonschema import Draft7Validator
from ruamel.yaml import YAML

from deploy import feed_schema
from images.build import project_version
from jobs import addresses
from jobs.defaults import COLLECTION, DATABASE, EVENTS_TOPIC, REJECTED_TOPIC, TWEETS_PARTITIONS, TWEETS_TOPIC
from jobs.feeds.definition import PRESETS, check, validator
from jobs.feeds.definition import load as load_feed
from jobs.settings import SettingError, read_aggregator_settings, read_collector_settings
from local.broker import EVENTS_CONFIG
from local.settings import SIMULATED
from simulator.twitter_stream_simulator import LIMITS
from simulator.watchdog import settings as watchdog
from simulator.watchdog.settings import NUMBERS
from tests.unit.chart.chart import CHART

WHOLE_SCHEMA = json.loads((CHART / "values.schema.json").read_text())
SCHEMA, DEFINITIONS = WHOLE_SCHEMA["properties"], WHOLE_SCHEMA["definitions"]
READERS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "collector": read_collector_settings,
    "aggregator": read_aggregator_settings,
}
# What the chart sets from other values.
OWN = {"MONGODB_URI", "MONGODB_URI_FILE", "MONGODB_DATABASE", "MONGODB_COLLECTION"}
OWN |= {"WEBSOCKET_URL_FILE", "WEBSOCKET_CA_FILE", "WORLDOMETERS_URL_FILE", "MONGODB_CA_FILE"}
LARGEST_NUMBER = 2**53 - 1  # Helm's numbers are doubles, which hold no larger integer exactly


class Recorder(dict[str, str]):
    """An empty environment that records the names that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return default


def load(name: str) -> Any:
    return YAML(typ="safe").load(CHART / name)


def job_settings(job: str) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = SCHEMA[job]["properties"]["settings"]["properties"]
    return settings


def ranges() -> list[tuple[str, str, int, int]]:
    return [
        (job, name, rule["minimum"], rule["maximum"])
        for job in READERS
        for name, rule in job_settings(job).items()
        if rule.get("type") in {"integer", "number"}
    ]


@pytest.mark.parametrize("job", READERS)
def test_the_schema_lists_the_jobs_settings(job: str) -> None:
    environment = Recorder()
    READERS[job](environment)
    expected = {name for name in environment.asked - OWN if not name.startswith("KAFKA_")}
    assert set(job_settings(job)) == expected


@pytest.mark.parametrize(("job", "name", "low", "high"), ranges())
def test_the_schema_has_the_jobs_limits(job: str, name: str, low: int, high: int) -> None:
    READERS[job]({name: str(low)})
    READERS[job]({name: str(high)})
    for value in (low - 1, high + 1):
        with pytest.raises(SettingError):
            READERS[job]({name: str(value)})


def test_the_schema_takes_the_addresses_and_names_that_the_jobs_take() -> None:
    topic = SCHEMA["kafka"]["properties"]["topics"]["properties"]["tweets"]["$ref"].rpartition("/")[2]
    named = (
        DEFINITIONS[topic]["properties"]["name"],
        *(SCHEMA["mongodb"]["properties"][n] for n in ("database", "collection")),
    )
    assert [(rule["pattern"], rule["not"]["pattern"]) for rule in named] == [
        (f"^{addresses.TOPIC.pattern}$", f"^({addresses.TOPIC.forbidden})$"),
        (f"^{addresses.DATABASE.pattern}$", f"^({addresses.DATABASE.forbidden})$"),
        (f"^{addresses.COLLECTION.pattern}$", f"^({addresses.COLLECTION.forbidden})$"),
    ]
    url = addresses.URL
    assert job_settings("collector")["WEBSOCKET_URL"]["pattern"] == f"^wss?://{url}( *, *wss?://{url})*$"
    assert job_settings("aggregator")["WORLDOMETERS_URL"]["pattern"] == f"^https?://{url}$"
    servers = SCHEMA["kafka"]["properties"]["external"]["properties"]["bootstrapServers"]["pattern"]
    assert servers == f"^({addresses.SERVERS})?$"
    assert watchdog.SERVERS == addresses.SERVERS


def test_the_schema_has_the_watchdogs_settings_and_limits() -> None:
    rules = job_settings("watchdog")
    assert {name: (rule["minimum"], rule["maximum"]) for name, rule in rules.items()} == {
        name: (least, most) for name, (least, most, _) in NUMBERS.items()
    }


def test_the_schema_has_the_simulators_settings_and_limits() -> None:
    settings = SCHEMA["simulator"]["properties"]["settings"]["properties"]
    assert set(settings) == {f"SIMULATOR_{name.upper()}" for name in LIMITS} - {"SIMULATOR_PORT"}
    for name, (_, low, high) in LIMITS.items():
        rule = settings.get(f"SIMULATOR_{name.upper()}", {"minimum": low, "maximum": high})
        assert (rule["minimum"], rule["maximum"]) == (low, min(high, LARGEST_NUMBER)), name


def test_the_chart_has_the_projects_version() -> None:
    chart = load("Chart.yaml")
    assert chart["version"] == chart["appVersion"] == project_version()


def test_the_charts_names_are_the_jobs() -> None:
    values = load("values.yaml")
    topics = values["kafka"]["topics"]
    assert topics["tweets"]["name"] == TWEETS_TOPIC
    assert topics["tweets"]["partitions"] == TWEETS_PARTITIONS
    assert topics["rejected"]["name"] == REJECTED_TOPIC
    assert topics["events"]["name"] == EVENTS_TOPIC
    assert topics["events"]["config"]["retention.ms"] == int(EVENTS_CONFIG["retention.ms"])
    assert values["mongodb"]["database"] == DATABASE
    assert values["mongodb"]["collection"] == COLLECTION


def test_the_lock_is_of_the_charts_dependencies() -> None:
    """As Helm computes it (internal/resolver, HashReq)."""
    lock = load("Chart.lock")
    locked = [{key: each[key] for key in ("name", "version", "repository")} for each in lock["dependencies"]]
    wanted = [
        {key: each[key] for key in ("name", "version", "repository", "condition")}
        for each in load("Chart.yaml")["dependencies"]
    ]
    data = json.dumps([wanted, locked], separators=(",", ":")).encode()
    assert lock["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_the_chart_has_the_schema_and_the_presets_of_the_jobs() -> None:
    assert (CHART / "values.schema.json").read_text() == feed_schema.values_schema(WHOLE_SCHEMA), "run make manifests"
    assert (CHART / "files" / "presets.json").read_text() == feed_schema.presets(), "run make manifests"


CHART_FEED = Draft7Validator({"$ref": "#/definitions/feed", "definitions": DEFINITIONS})
TEXT = {"name": "mine", "post": {"text": "text"}}
CONDITIONS = {
    "a path": ({"path": "type", "equals": "post"}, True),
    "a frame": ({"frame": "pong"}, True),
    "nothing": ({"equals": "post"}, False),
    "an unknown key": ({"path": "type", "is": "post"}, False),
    "a key of errors": ({"path": "type", "means": "fatal"}, False),
    "a wrong type": ({"path": 1}, False),
}


@pytest.mark.parametrize(("condition", "allowed"), CONDITIONS.values(), ids=CONDITIONS)
def test_both_schemas_take_the_same_conditions(condition: dict[str, Any], allowed: bool) -> None:
    feed = {**TEXT, "frames": {"keep": [condition]}}
    assert CHART_FEED.is_valid(feed) is allowed
    assert validator().is_valid(feed) is allowed


def test_both_schemas_know_what_an_error_means() -> None:
    for means, allowed in (("fatal", True), ("retry", False)):
        feed = {**TEXT, "frames": {"error": [{"path": "error", "means": means}]}}
        assert (CHART_FEED.is_valid(feed), validator().is_valid(feed)) == (allowed, allowed)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_chart_takes_each_preset_as_a_mapping(preset: str) -> None:
    feed = vars(load_feed(preset))
    CHART_FEED.validate({key: value for key, value in feed.items() if value or key == "post"})


def test_the_chart_and_the_demo_agree_on_what_the_simulator_serves() -> None:
    template = (CHART / "templates" / "collector" / "_settings.tpl").read_text()
    assert f"(list {' '.join(json.dumps(name) for name in SIMULATED)})" in template


def test_the_examples_name_feeds_that_the_collector_takes() -> None:
    assert load("examples/jetstream.yaml")["collector"]["feed"] in PRESETS
    check(load("examples/own-feed.yaml")["collector"]["feed"])
