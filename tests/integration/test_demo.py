"""`make demo` as a user runs it. It ends by itself and leaves no process, also after it was killed."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from local.process import kill_leftovers, owned_processes
from local.settings import REPOSITORY, Settings
from tests.integration.conftest import free_ports, variables
from tests.support.waiting import await_value

SECONDS = 240
# There is no proxy at this address. make must not use it for the servers of this machine.
PROXIES = {
    **dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "example.org"),
}


def demo(settings: Settings, **extra: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **variables(settings), "WINDOW_SECONDS": "2", **extra}
    # A shell starts background processes with SIGINT ignored, and the demo would inherit this.
    return subprocess.Popen(
        ["env", "--default-signal=INT", "make", "--silent", "demo"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_it_ends_the_processes_of_a_killed_demo_shows_documents_and_leaves_no_process(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, ports=free_ports())
    killed = demo(settings)
    await_value(lambda: len(owned_processes(tmp_path)) >= 3, "some parts to run", 60)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=20)
    left = {process.pid for process in owned_processes(tmp_path)}
    assert left, "the killed demo left no process, so the test shows nothing"
    try:
        output, _ = (second := demo(settings, DOCUMENTS="2", **PROXIES)).communicate(timeout=SECONDS)
        assert second.returncode == 0, output
        assert output.count(" posts  cases ") == 2, output
        assert owned_processes(tmp_path) == []
    finally:
        kill_leftovers(tmp_path)


@pytest.mark.parametrize("parts", [1, 3, 5])
def test_ctrl_c_stops_every_process(tmp_path: Path, parts: int) -> None:
    running = demo(Settings(state=tmp_path, ports=free_ports()))
    try:
        await_value(lambda: len(owned_processes(tmp_path)) >= parts, f"{parts} processes to run", 60)
        os.killpg(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=30)
        assert "stopping everything" in output
        assert running.returncode != 0
        assert owned_processes(tmp_path) == []
    finally:
        kill_leftovers(tmp_path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"FEED": "twitter"}, "error: FEED='twitter': 'twitter' is neither an absolute path nor one of "),
        ({"KAFKA_PORT": "0"}, "error: KAFKA_PORT='0': a whole number from 1 to 65535 is allowed"),
        ({"PATH": "/bin"}, "error: java is not on PATH: install a JDK 17"),
    ],
    ids=["feed", "port", "no java"],
)
def test_an_error_is_printed_before_any_process_starts(tmp_path: Path, extra: dict[str, str], message: str) -> None:
    if extra.get("PATH"):
        # The programs that the Makefile needs, without java.
        for name in ("make", "sh", "sed", "env"):
            (tmp_path / name).symlink_to(f"/usr/bin/{name}")
        extra = {"PATH": str(tmp_path)}
    output, _ = (process := demo(Settings(state=tmp_path / "state", ports=free_ports()), **extra)).communicate(
        timeout=60
    )
    assert process.returncode != 0
    assert message in output
    assert owned_processes(tmp_path / "state") == []
