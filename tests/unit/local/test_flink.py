"""The local Flink cluster's configuration, and the reason of a submission that failed."""

import re
from pathlib import Path

import pytest

from images.build import project_version
from jobs.worldometers import USER_AGENT
from local.flink import TASKMANAGER, Flink, classpath, failure_reason, flink_options
from local.settings import REPOSITORY, Ports, Settings

FAILURE = """\
Traceback (most recent call last):
  File "jobs/aggregator_stream.py", line 57, in main
py4j.protocol.Py4JJavaError: An error occurred while calling o9.executeSql.
: org.apache.flink.table.api.SqlParserException: SQL parse failed.
\tat org.apache.flink.X
Caused by: org.apache.calcite.SqlParseException: Encountered "bytes" at line 5
org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1
Caused by: java.lang.RuntimeException: Python process exits with code: 1
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FAILURE, 'org.apache.calcite.SqlParseException: Encountered "bytes" at line 5'),
        ("x\nSettingError: FEED='z': a or b is allowed\n\tat y", "SettingError: FEED='z': a or b is allowed"),
        ("something else\n", "something else"),
        ("", "no output"),
    ],
    ids=["deepest cause", "setting", "last line", "nothing"],
)
def test_the_reason_of_a_failed_submission_is_one_line(text: str, reason: str) -> None:
    assert failure_reason(text) == reason


def test_the_cluster_listens_on_the_loopback_interface_only() -> None:
    options = flink_options(Settings(ports=Ports(flink=18081)), Path("home"), 6, "--add-opens=x")
    assert options["rest.port"] == 18081
    assert options["env.java.opts.all"] == "--add-opens=x"
    for name in ("rest.bind-address", "jobmanager.bind-host", "taskmanager.bind-host"):
        assert options[name] == "127.0.0.1"


def test_flink_itself_comes_last_on_the_classpath(tmp_path: Path) -> None:
    for name in ("flink-dist-1.jar", "log4j.jar", "a.jar", "notes.txt"):
        (tmp_path / name).touch()
    assert classpath(tmp_path) == f"{tmp_path}/a.jar:{tmp_path}/log4j.jar:{tmp_path}/flink-dist-1.jar"


def test_the_jvm_of_the_taskmanager_has_the_memory_of_its_options() -> None:
    options = flink_options(Settings(), Path("home"), 6, "")
    sizes = [(name.removeprefix("taskmanager.memory."), str(value)) for name, value in options.items()]
    size = {name: int(value[:-1]) for name, value in sizes if re.fullmatch(r"\d+m", value)}
    assert f"-Xmx{size['framework.heap.size'] + size['task.heap.size']}m" in TASKMANAGER
    direct = size["framework.off-heap.size"] + size["task.off-heap.size"] + size["network.max"]
    assert f"-XX:MaxDirectMemorySize={direct}m" in TASKMANAGER


def test_no_line_is_logged_twice(tmp_path: Path) -> None:
    flink = Flink(Settings(state=tmp_path))
    flink.configure()
    configuration = (flink.home / "conf" / "log4j-console.properties").read_text()
    assert "ConsoleAppender" in configuration
    assert "appender.rolling" not in configuration
    assert "RollingFileAppender" not in configuration


@pytest.mark.parametrize("name", ["log4j.properties", "log4j-cli.properties", "log4j-console.properties"])
def test_no_environment_is_logged(name: str, tmp_path: Path) -> None:
    flink = Flink(Settings(state=tmp_path))
    flink.configure()
    lines = (flink.home / "conf" / name).read_text().splitlines()
    assert lines[-2:] == [
        "logger.pythonenv.name = org.apache.flink.client.python.PythonEnvUtils",
        "logger.pythonenv.level = WARN",
    ]


CHART = REPOSITORY / "helm" / "data-collection" / "templates" / "flink"
FLINK_VERSION = re.search(r"apache-flink==([0-9.]+)", (REPOSITORY / "pyproject.toml").read_text())


def test_the_chart_gives_flink_the_same_memory_and_buffers() -> None:
    """Options that shape memory and back-pressure stand in both places; these are the ones that must agree."""
    template = (CHART / "_configuration.tpl").read_text()
    charts = dict(re.findall(r"^(taskmanager\.\S+): \"?([^\"\s]+)\"?$", template, re.MULTILINE))
    local = flink_options(Settings(), Path("home"), 6, "")
    shared = {
        "taskmanager.memory.managed.size",
        "taskmanager.memory.network.min",
        "taskmanager.memory.network.max",
        "taskmanager.network.memory.floating-buffers-per-gate",
        "taskmanager.network.memory.max-buffers-per-channel",
    }
    assert {name: charts[name] for name in shared} == {name: str(local[name]) for name in shared}


def test_the_taskmanagers_jvm_has_the_sizes_of_its_options() -> None:
    options = flink_options(Settings(), Path("home"), 6, "")

    def mebibytes(*names: str) -> int:
        return sum(int(str(options[f"taskmanager.memory.{name}"]).removesuffix("m")) for name in names)

    off_heap = mebibytes("framework.off-heap.size", "task.off-heap.size", "network.max")
    assert f"-Xmx{mebibytes('framework.heap.size', 'task.heap.size')}m" in TASKMANAGER
    assert f"-XX:MaxDirectMemorySize={off_heap}m" in TASKMANAGER
    assert f"-XX:MaxMetaspaceSize={mebibytes('jvm-metaspace.size')}m" in TASKMANAGER


@pytest.mark.parametrize("file", [CHART / "_flinkdeployment.tpl", REPOSITORY / "dev/stubs/manifests/collector.yaml"])
def test_manifests_name_the_jar_of_the_pinned_flink(file: Path) -> None:
    assert FLINK_VERSION is not None
    assert set(re.findall(r"flink-python-([0-9.]+)\.jar", file.read_text())) == {FLINK_VERSION[1]}


def test_the_page_is_asked_with_the_projects_version() -> None:
    major, minor, _ = project_version().split(".")
    assert f"data-collection/{major}.{minor}" == USER_AGENT
