"""Every value of the chart is described, in values.yaml, the schema and the README, with the same words."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jobs.settings import read_aggregator_settings, read_collector_settings
from local.settings import REPOSITORY
from simulator.twitter_stream_simulator import Settings
from simulator.watchdog.settings import NUMBERS
from tests.unit.chart.chart import CHART, described_values, ignored_values

VALUES = YAML(typ="safe").load(CHART / "values.yaml")
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DESCRIBED = described_values()
DEFAULT = re.compile(r"Default: (?P<number>[0-9]+(?:\.[0-9]+)?)\b")
ROW = re.compile(r"\| (?P<key>\S+) \| \w+ \| `(?P<default>.*?)` \| (?P<description>.*) \|")
FORMER = {
    "operator": "watchdog",
    "worldometers": "worldometersStub",
    "extraLabels": "commonLabels",
    "metrics.podMonitor": "podMonitor.enabled",
    "metrics.rules": "prometheusRule.enabled",
    "metrics.noPostsMinutes": "prometheusRule.noPostsMinutes",
    "metrics.dashboard": "grafanaDashboard.enabled",
    "uninstall.limitSeconds": "uninstall.timeoutSeconds",
    "kafka.external.publicCertificate": "kafka.external.tls.useSystemCAs",
}


def undescribed(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The paths of the values that have no description of their own and belong to no described value."""
    for key, value in values.items():
        path = f"{above}.{key}" if above else key
        if path in DESCRIBED or path in ignored_values():
            continue
        if isinstance(value, dict) and value:
            yield from undescribed(value, path)
        else:
            yield path


def properties(schema: Any, above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every property of a schema with its path, those within lists included; references are not followed."""
    for key, rule in schema.get("properties", {}).items():
        path = f"{above}.{key}" if above else key
        yield path, rule
        yield from properties(rule, path)
        yield from properties(rule.get("items", {}), f"{path}[]")


def setting_rules(component: str) -> Mapping[str, Mapping[str, Any]]:
    rules: Mapping[str, Mapping[str, Any]] = SCHEMA["properties"][component]["properties"]["settings"]["properties"]
    return rules


def defaults(component: str) -> dict[str, float]:
    """The numbers that the schema gives as a component's defaults."""
    found = ((name, DEFAULT.search(rule["description"])) for name, rule in setting_rules(component).items())
    return {name: json.loads(match["number"]) for name, match in found if match}


def test_every_value_is_described() -> None:
    assert list(undescribed(VALUES)) == []


def test_every_property_of_the_schema_is_described() -> None:
    schemas = {"": SCHEMA, **SCHEMA["definitions"]}
    missing = [
        f"{name}: {path}"
        for name, schema in schemas.items()
        for path, rule in properties(schema)
        if not rule.get("description")
    ]
    assert missing == []


def test_the_schema_and_the_values_have_the_same_descriptions() -> None:
    schema = {path: rule["description"] for path, rule in properties(SCHEMA)}
    assert {path: schema[path] for path in DESCRIBED if path in schema} == {
        path: text for path, text in DESCRIBED.items() if path in schema
    }
    # The rest is behind a reference, for example collector.jobManager.cpu.
    assert len(DESCRIBED.keys() & schema.keys()) > 60


def test_the_readme_has_every_described_value_with_its_default() -> None:
    lines = (CHART / "README.md").read_text().splitlines()
    rows = {match["key"]: match for match in map(ROW.fullmatch, lines) if match}
    assert list(rows) == list(DESCRIBED), "generate README.md with helm-docs"
    for path, row in rows.items():
        value: Any = VALUES
        for key in path.split("."):
            value = value[key]
        assert row["description"] == DESCRIBED[path], path
        assert json.loads(row["default"].replace("nil", "null")) == value, path


def test_the_readmes_text_is_the_templates() -> None:
    template, readme = ((CHART / name).read_text().split("\n") for name in ("README.md.gotmpl", "README.md"))
    assert [line for line in template if "{{ template" not in line and line not in readme] == []


def test_former_names_are_deprecated_and_documented() -> None:
    deprecated = {path: rule["description"] for path, rule in properties(SCHEMA) if rule.get("deprecated")}
    assert deprecated == {old: f"Renamed to {new}" for old, new in FORMER.items()}
    table, template = (REPOSITORY / "CHANGELOG.md").read_text(), (CHART / "templates" / "_renamed.tpl").read_text()
    for old, new in FORMER.items():
        assert f"| `{old}` | `{new}` |" in table
        assert f'"{old}" "{new}"' in template


@pytest.mark.parametrize(
    ("job", "read"), [("collector", read_collector_settings), ("aggregator", read_aggregator_settings)]
)
def test_the_schema_names_the_jobs_defaults(job: str, read: Any) -> None:
    numbers = defaults(job)
    assert numbers.keys() == {
        name for name, rule in setting_rules(job).items() if rule.get("type") in {"integer", "number"}
    }
    assert read({name: str(number) for name, number in numbers.items()}) == read({})


def test_the_schema_names_the_watchdogs_and_the_simulators_defaults() -> None:
    assert defaults("watchdog") == {name: default for name, (_, _, default) in NUMBERS.items()}
    simulator = {f"SIMULATOR_{name}".upper(): value for name, value in vars(Settings()).items()}
    assert defaults("simulator") == {name: simulator[name] for name in setting_rules("simulator")}


def test_every_example_is_rendered_by_the_tests_and_described() -> None:
    examples = sorted((CHART / "examples").iterdir())
    assert examples
    page = (REPOSITORY / "docs/getting-started/kubernetes.md").read_text()
    for example in examples:
        assert Path(CHART / "ci" / f"{example.stem}-values.yaml").resolve() == example.resolve()
        assert f"](../../helm/data-collection/examples/{example.name})" in page


def test_the_package_has_the_examples_and_no_values_of_the_tests() -> None:
    ignored = (CHART / ".helmignore").read_text().splitlines()
    assert "ci/" in ignored
    assert not any("examples" in line for line in ignored if not line.startswith("#"))
