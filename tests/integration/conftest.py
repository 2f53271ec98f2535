"""One stack for the integration tests: Kafka, Flink, the document store, the simulator and the Worldometers stub.

`make test` runs them in two processes, each with a stack of its own: most tests wait more than they compute.
"""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.settings import REPOSITORY, Ports, Settings
from local.stack import Stack

RATE = 100.0
WINDOW_SECONDS = 5


def free_ports() -> Ports:
    """Free ports, all different. So the tests can run beside a demo."""
    with ExitStack() as sockets:
        ports = []
        for _ in vars(Ports()):
            probe = sockets.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    return Ports(*ports)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    state = Path(os.environ.get("STATE") or REPOSITORY / ".state") / f"tests{worker}"
    settings = Settings(state=state, ports=free_ports(), rate=RATE, window_seconds=WINDOW_SECONDS)
    with Stack(settings) as stack:
        stack.start(jobs=())
        yield stack


@pytest.fixture
def sql(stack: Stack) -> Callable[[str], str]:
    """Runs `make sql_client SQL=...` against the stack and returns its output."""

    def run(query: str) -> str:
        result = subprocess.run(
            ["make", "--silent", "sql_client"],
            cwd=REPOSITORY,
            env={**os.environ, **variables(stack.settings), "SQL": query},
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def variables(settings: Settings) -> dict[str, str]:
    """The environment variables of these settings."""
    ports = {f"{name.upper()}_PORT": str(port) for name, port in vars(settings.ports).items()}
    return {"STATE": str(settings.state), **ports}
