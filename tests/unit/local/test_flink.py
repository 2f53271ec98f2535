"""The local Flink cluster's configuration, and what is said of a submission that failed."""

from pathlib import Path

import pytest

from local.flink import Flink, failure_reason, flink_options
from local.settings import Ports, Settings

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


@pytest.mark.parametrize("name", ["log4j.properties", "log4j-cli.properties", "log4j-console.properties"])
def test_no_environment_is_logged(name: str, tmp_path: Path) -> None:
    flink = Flink(Settings(state=tmp_path))
    flink.configure()
    lines = (flink.home / "conf" / name).read_text().splitlines()
    assert lines[-2:] == [
        "logger.pythonenv.name = org.apache.flink.client.python.PythonEnvUtils",
        "logger.pythonenv.level = WARN",
    ]
