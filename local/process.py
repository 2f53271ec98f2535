"""Child processes of the stack: starts, stops and kills them, and kills what an earlier, killed stack has left."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from local.settings import SECRETS

# Every process of a stack inherits this variable; its value is the stack's state folder. By it, the next start finds
# all processes that a killed stack has left, workers and grandchildren included, without a list on disk.
OWNER = "LOCAL_STACK_OWNER"


class StackError(RuntimeError):
    """A part of the stack did not start or died. The text is for the user."""


@dataclass
class Program:
    """One program of the stack."""

    name: str  # in messages
    command: Sequence[str | Path]
    log: Path  # gets its output
    environment: Mapping[str, str] = field(default_factory=dict)  # in addition to the inherited one
    owner: Path = Path()  # state folder of the stack
    process: subprocess.Popen[bytes] | None = None  # since the first start

    def start(self) -> None:
        """Start it in its own session: Ctrl-C reaches only the stack, which then stops its programs in order.

        Raises StackError.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = owned_environment(self.owner, self.environment)
        try:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [str(part) for part in self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise StackError(f"{self.name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        if self.process is None:
            raise StackError(f"{self.name} was never started")
        return self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program's own process."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program's own process with SIGKILL and wait until it is gone. Its children keep running."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self, seconds: float = 10) -> None:
        """Stop it with SIGTERM, and after `seconds` with SIGKILL. Its children in the same process group end, too."""
        if self.process is None:
            return
        if self.alive():
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def owned_environment(owner: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that belongs to the stack with this state folder."""
    return {**inherited_environment(), **(extra or {}), OWNER: str(owner)}


def inherited_environment() -> dict[str, str]:
    """The environment of this process without the variables that may hold secrets."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def wait_until(
    ready: Callable[[], bool],
    what: str,
    seconds: float,
    *,
    program: Program | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until `ready()` is true. Raises StackError after `seconds`, or as soon as `program` has ended."""
    end = clock() + seconds
    while not ready():
        log = f" (log: {program.log})" if program else ""
        if program is not None and not program.alive():
            raise StackError(f"{program.name} ended while the stack awaited {what}{log}")
        if clock() >= end:
            raise StackError(f"{what} did not happen within {seconds:g} s{log}")
        sleep(0.1)


def owned_processes(owner: Path) -> list[psutil.Process]:
    """The running processes of a stack with this state folder, without the calling process."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(OWNER) == str(owner):
                found.append(process)
    return found


def kill_leftovers(owner: Path, seconds: float = 10) -> int:
    """Kill all processes that an earlier stack with this state folder has left; returns their number."""
    leftovers = owned_processes(owner)
    for process in leftovers:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(leftovers, timeout=seconds)
    return len(leftovers)
