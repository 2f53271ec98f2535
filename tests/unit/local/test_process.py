"""Child processes: started, stopped with their children, and killed when their stack was killed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.process import Program, StackError, kill_leftovers, owned_environment, owned_processes, wait_until
from tests.support.waiting import await_value

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); {SLEEPER}"


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    kill_leftovers(tmp_path)


def program(owner: Path, code: str) -> Program:
    started = Program("part", [sys.executable, "-c", code], owner / "part.log", owner=owner)
    started.start()
    await_value(lambda: "up" in started.log.read_text(), "the program to run", 20)
    return started


@pytest.mark.parametrize("code", [SLEEPER, STUBBORN, PARENT], ids=["plain", "ignores SIGTERM", "has a child"])
def test_stop_leaves_nothing_of_it(owner: Path, code: str) -> None:
    started = program(owner, code)
    assert started.alive()
    started.stop(seconds=0.5)
    assert not started.alive()
    await_value(lambda: not owned_processes(owner), "all of it to be gone", 5)


def test_kill_ends_only_the_program_itself(owner: Path) -> None:
    started = program(owner, PARENT)
    await_value(lambda: len(owned_processes(owner)) == 2, "the child", 10)
    started.kill()
    assert [process.pid for process in owned_processes(owner)] != [started.pid]
    assert len(owned_processes(owner)) == 1


def test_leftovers_are_the_processes_of_another_stack_of_the_same_folder_only(owner: Path, tmp_path: Path) -> None:
    left, other = program(owner, PARENT), program(tmp_path / "other", SLEEPER)
    assert kill_leftovers(owner) == 2
    assert not psutil.pid_exists(left.pid) or not left.alive()
    assert other.alive()
    other.stop()


def test_it_runs_in_a_session_of_its_own_where_no_ctrl_c_reaches_it(owner: Path) -> None:
    started = program(owner, SLEEPER)
    assert os.getsid(started.pid) == started.pid != os.getsid(0)


def test_a_program_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"part cannot be started: .*no-such-program"):
        Program("part", ["no-such-program"], tmp_path / "log").start()


def test_waiting_ends_with_what_was_awaited() -> None:
    moments = iter(range(100))
    with pytest.raises(StackError, match="the moon did not happen within 3 s"):
        wait_until(lambda: False, "the moon", 3, clock=lambda: next(moments), sleep=lambda _: None)


def test_waiting_ends_at_once_when_the_program_has_ended(owner: Path) -> None:
    started = program(owner, "print('up', flush=True)")
    await_value(lambda: not started.alive(), "its end", 10)
    with pytest.raises(StackError, match=r"part ended while the stack awaited an answer \(log: .*part\.log\)"):
        wait_until(lambda: False, "an answer", 600, program=started)


def test_no_program_inherits_a_secret(owner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://me:s3cret@host")
    monkeypatch.setenv("WEBSOCKET_URL_FILE", "/some/file")
    monkeypatch.setenv("MAKEFLAGS", " -- MONGODB_URI=mongodb://me:s3cret@host")
    monkeypatch.setenv("OTHER", "stays")
    environment = owned_environment(owner, {"MONGODB_URI_FILE": "/file"})
    assert {"OTHER", "MONGODB_URI_FILE"} < set(environment)
    assert not {"MONGODB_URI", "WEBSOCKET_URL_FILE"} & set(environment)
    assert "s3cret" not in str(environment)
