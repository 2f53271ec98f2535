"""Each command of the documentation: it runs here, or the list below says why it does not."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from ruamel.yaml import YAML

from local.settings import REPOSITORY
from tests.unit.docs import pages
from tests.unit.docs.test_docs import ROOMS
from tests.unit.docs.test_examples import is_value


def run(command: Sequence[str]) -> str:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60).stdout


def make(command: str) -> None:
    """What make would do: its targets exist, and the reference has the variables that are given."""
    _, *words = shlex.split(command)
    assert run(("make", "--dry-run", *words))
    given = {word.partition("=")[0] for word in words if "=" in word}
    described = {code.partition("=")[0] for code in pages.codes((pages.REFERENCE / "make-targets.md").read_text())}
    assert given <= described


def python(command: str) -> None:
    assert run((sys.executable, *shlex.split(command)[1:])).strip()


def pytest_finds_the_tests(command: str) -> None:
    python(f"{command} --collect-only --quiet")


RUN: Mapping[str, Callable[[str], None]] = {
    r"make (?!.*\$\()": make,
    r"\.venv/bin/python -c .*post_text": python,
    r"\.venv/bin/python -m pytest tests/unit/": pytest_finds_the_tests,
}
NOT_RUN = {
    # tests/e2e/test_documented_values.py renders what these set.
    r"helm (install|upgrade) ": "needs a cluster",
    r"--set ": "belongs to `helm install`, which needs a cluster",
    r"helm (test|uninstall|get values) ": "needs a release",
    r"helm (dependency build|show crds) ": "downloads the operators' charts",
    r"kubectl ": "needs a cluster",
    r"export KUBECONFIG=": "is for the kubectl of the next line",
    r"\.venv/bin/python -m (tests\.e2e$|pytest .*tests/e2e/)": "needs a cluster",
    r"dev/cluster/build\.sh ": "downloads and builds for minutes",
    r"kind create cluster ": "needs Docker",
    r"skaffold dev": "needs a cluster",
    r"curl .*http://localhost": "needs a simulator or a stub that runs",
    r"\.venv/bin/python -c .*read_topic": "needs a Kafka that runs",
    r"uv |make .*\$\(uv ": "downloads a Python",
}
COMMANDS = [
    pytest.param(command, id=f"{pages.relative(page)}: {command}")
    for page in pages.pages()
    for block in pages.blocks(page)
    for command in pages.commands(block)
]


def rules(command: str) -> list[str]:
    return [pattern for pattern in (*RUN, *NOT_RUN) if re.match(pattern, command)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_or_has_a_reason(command: str) -> None:
    (rule,) = rules(command)
    subprocess.run(["bash", "-n"], input=command, text=True, check=True, timeout=10)
    named = re.findall(rf"(?<![\w/.])(?:{ROOMS})/[\w./-]+", command)
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
    if rule in RUN:
        RUN[rule](command)


def test_each_rule_is_for_some_command() -> None:
    commands = [str(parameter.values[0]) for parameter in COMMANDS]
    assert {rule for command in commands for rule in rules(command)} == {*RUN, *NOT_RUN}


@pytest.mark.parametrize(
    ("page", "block"),
    [(page, block) for page in pages.pages() for block in pages.blocks(page) if pages.VALUES.match(block)],
)
def test_a_block_of_values_is_the_charts(page: Any, block: str) -> None:
    values: dict[str, dict[str, Any]] = YAML(typ="safe").load(block)
    names = [f"{component}.{name}" for component, below in values.items() for name in below]
    assert [name for name in names if not is_value(name)] == [], page


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_a_fenced_block_is_data_or_a_drawing(page: Any) -> None:
    """Commands are indented, where the tests above look for them."""
    for block in pages.FENCE.findall(page.read_text()):
        assert re.match(r"```(json|sql|yaml)\n", block) or "─" in block
