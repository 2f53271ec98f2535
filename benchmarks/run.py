"""The stack of a run, with the header before the cases and the summary after them."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

from benchmarks.bench import Bench
from benchmarks.machine import BUSY_SHARE, adopt_orphans, header
from jobs.settings import SettingError
from local.demo import interrupt
from local.process import StackError
from local.settings import read_settings
from local.stack import Stack
from local.store import client

WATCHED_SECONDS = 2.0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_header() -> None:
    for line in header():
        say(line)


def status_of(work: Callable[[], None]) -> int:
    """Do the work of a benchmark's program. Returns its exit status: 0, 1 with a reason, or 130 after Ctrl-C.

    SIGTERM and SIGHUP are as Ctrl-C: nothing may be left running.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        work()
    except KeyboardInterrupt:
        return 130
    except (StackError, SettingError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


@contextlib.contextmanager
def session(rounds: int, simulator: Mapping[str, str]) -> Iterator[Bench]:
    """The stack without jobs. rounds: counted ones; simulator: further settings of the simulator. Raises StackError."""
    began = time.monotonic()
    adopt_orphans()
    with Stack(read_settings()) as stack:
        bench = Bench(stack, rounds, say)
        warn_if_busy(bench)
        stack.simulator.environment = {**stack.simulator.environment, **simulator}
        say("starting Kafka, Flink, the store and the simulator ...")
        stack.start(jobs=())
        say(versions(stack))
        yield bench
    say("\n== summary ==")
    for line in bench.results:
        say(line)
    if bench.busy:
        say(f"\nWARNING: {busy(bench)}. Measure again on a quiet machine.")
    say(f"total time {(time.monotonic() - began) / 60:.1f} min")


def warn_if_busy(bench: Bench) -> None:
    """Print a warning when others use the machine before anything of ours runs."""
    bench.watch.others()
    time.sleep(WATCHED_SECONDS)
    others = bench.watch.others()
    if others > BUSY_SHARE:
        say(f"WARNING: others take {others:.0%} of the cores. The rates will be too low.")


def busy(bench: Bench) -> str:
    return f"others took more than {BUSY_SHARE:.0%} of the cores in {bench.busy} of {bench.counted} measurements"


def versions(stack: Stack) -> str:
    """The versions of Kafka and of the store."""
    jar = next((stack.settings.jars / "kafka").glob("kafka_2.*.jar"), None)
    kafka = jar.stem.rpartition("-")[2] if jar else "of an unknown version"
    if stack.store.kind == "SecantusDB":
        return f"Kafka {kafka}, SecantusDB {version('secantusdb')}"
    with client(stack.settings.store_uri) as connection:
        return f"Kafka {kafka}, MongoDB {connection.server_info()['version']}"
