"""The examples of the documentation: data, statements and chart values are the code's."""

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from local.settings import REPOSITORY
from tests.unit.docs import pages

SCHEMA: dict[str, Any] = json.loads((REPOSITORY / "helm/data-collection/values.schema.json").read_text())
SUB_CHARTS = {"flink-kubernetes-operator", "strimzi-kafka-operator"}
# It names the former values.
HISTORY = {REPOSITORY / "CHANGELOG.md"}
# Files, and metrics or labels of others: they look like values.
ENDINGS = {"crt", "json", "log", "md", "properties", "py", "sh", "sql", "tpl", "yaml", "yml"}


def is_value(path: str) -> bool:
    """Whether the chart takes a value of that name; what lies below a sub-chart is its own affair."""
    first, *rest = path.split(".")
    node: dict[str, Any] = SCHEMA["properties"].get(first, {"deprecated": True})
    if first in SUB_CHARTS:
        return True
    for name in rest:
        while "$ref" in node:
            node = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
        if node.get("type") == "object" and "properties" not in node:
            return True  # a map of the user's own names
        node = node.get("properties", {}).get(name, {"deprecated": True})
    return not node.get("deprecated", False)


def set_values(command: str) -> list[str]:
    """The names of the values that a Helm command sets."""
    words = shlex.split(command, comments=True)
    given = [words[number + 1] for number, word in enumerate(words[:-1]) if word == "--set"]
    parts = [part for each in given for part in re.split(r"(?<!\\),(?![^{]*\})", each)]
    return [re.sub(r"\[\d+\].*", "", part.partition("=")[0]) for part in parts]


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_json_can_be_read(page: Path) -> None:
    for block in re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        assert json.loads(block)


def test_the_table_of_the_documents_is_the_jobs() -> None:
    def columns(text: str) -> list[str]:
        return re.findall(r"`(\w+)` (\w+(?:<\w+>)?)", text.partition("WITH (")[0])

    page = (pages.REFERENCE / "data-formats.md").read_text()
    shown = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
    assert columns(shown) == columns((REPOSITORY / "jobs/sql/twitter_table.sql").read_text())


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_values_that_commands_set_exist(page: Path) -> None:
    lines = [line for block in pages.blocks(page) for line in pages.commands(block) if "--set " in line]
    assert [value for line in lines for value in set_values(line) if not is_value(value)] == []


@pytest.mark.parametrize("page", [page for page in pages.pages() if page not in HISTORY], ids=pages.relative)
def test_values_that_are_named_exist(page: Path) -> None:
    """What begins like a value of the chart is one."""
    named = {code.partition("=")[0].partition(":")[0] for code in pages.codes(page.read_text())}
    top = "|".join(map(re.escape, SCHEMA["properties"]))
    values = {name for name in named if re.fullmatch(rf"(?:{top})(?:\.[A-Za-z][\w-]*)+", name)}
    assert {name for name in values if name.rpartition(".")[2] not in ENDINGS and not is_value(name)} == set()


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_modules_that_commands_run_exist(page: Path) -> None:
    names = re.findall(r"\bpython(?:3)? -m ([\w.]+)", page.read_text())
    assert [name for name in names if importlib.util.find_spec(name) is None] == []
