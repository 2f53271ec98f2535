"""The settings that the local stack passes to the jobs, and which folder it accepts as its own."""

import stat
from pathlib import Path

import pytest

from jobs.settings import read_aggregator_settings
from local.process import StackError
from local.settings import Settings
from local.stack import Stack, claim_state_folder, write_secret
from tests.integration.conftest import free_ports

URI = "mongodb://me:s3cret@host"


def test_the_jobs_get_the_stores_address_by_file(tmp_path: Path) -> None:
    stack = Stack(Settings(state=tmp_path, mongodb_uri=URI))
    file = stack.settings.store_uri_file
    file.parent.mkdir()
    write_secret(file, URI)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    environment = stack.job_environment()
    assert "s3cret" not in str(environment)
    assert read_aggregator_settings(environment).mongodb_uri.read() == URI


def test_the_demo_collects_what_the_simulator_has_sent_since_the_start(tmp_path: Path) -> None:
    stack = Stack(Settings(state=tmp_path))
    assert stack.job_environment()["WEBSOCKET_URL"] == "ws://127.0.0.1:5555"
    stack.since = 41
    assert stack.job_environment()["WEBSOCKET_URL"] == "ws://127.0.0.1:5555/?since=41"


@pytest.mark.parametrize("name", ["run", "jars", "lock"])
def test_a_state_folder_with_files_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / name / "thesis.tex" if name != "lock" else tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("years of work")
    with pytest.raises(StackError, match=rf"STATE='{tmp_path}' holds '{name}', which this stack did not make"):
        Stack(Settings(state=tmp_path, ports=free_ports())).__enter__()
    assert theirs.read_text() == "years of work"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_state_folder_is_taken_when_nothing_in_it_would_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    claim_state_folder(tmp_path)
    (tmp_path / "run").mkdir()
    claim_state_folder(tmp_path)  # its own by now
    assert (tmp_path / "notes.txt").read_text() == "mine"
