"""`make soak MINUTES=30`: random faults, then an audit; memory and the size of Kafka's data are measured meanwhile.

Every 20 to 40 s the soak kills a part with SIGKILL and restarts it, or stops it for a time. It draws the faults from
SEED and prints them. Then the pipeline catches up, and runs for 13 minutes without faults, so that the memory of each
process can be measured. At the end the audit counts the posts. The JobManager has no faults: without high availability
it cannot recover the jobs. Settings: MINUTES, SEED, RATE, and the demo's STATE and ports.

Exit status:
0: no post is lost, duplicate or late, the audit balances, memory is flat, and no program ended by itself
1: one of these is not true, or the stack failed
2: a setting has a wrong value
130: after Ctrl-C

If the store is SecantusDB, not MongoDB, its memory is shown and does not count.
"""

import contextlib
import csv
import json
import logging
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, fields, replace
from datetime import UTC, datetime

from jobs.audit.__main__ import run as run_audit
from jobs.audit.kafka_reader import UnreachableError
from jobs.defaults import COLLECTION, DATABASE, REJECTED_TOPIC
from jobs.documents import iso
from jobs.settings import SettingError
from local.broker import read_topic
from local.demo import interrupt
from local.process import StackError, kill_leftovers, wait_until
from local.settings import read_settings
from local.stack import Stack
from tests.soak.faults import BROKER, PARTS, SIMULATOR, STORE, TASKMANAGER, WORKERS, Fault, schedule
from tests.soak.injection import Injection
from tests.soak.memory import Sample, cores, growth
from tests.soak.observation import JOBMANAGER, Observation
from tests.soak.settings import SoakSettings, read_soak_settings
from tests.soak.summary import MIN_SLOPE_SECONDS, Result, count_posts, lines
from tests.support.stored import newest_end

WINDOW_SECONDS = 5
MEASURE_SECONDS = 5.0
CATCH_UP_SECONDS = 600
# For so many seconds after its start, the memory of a process does not count. On a busy machine, all 17 TaskManagers of
# the soaks grew for seven minutes, to the same size, while their JVM compiled. Brokers grew for three minutes, Python
# workers for one.
WARM_UP = {TASKMANAGER: 420.0, JOBMANAGER: 180.0, BROKER: 180.0, STORE: 60.0, SIMULATOR: 30.0, WORKERS: 60.0}
# After the faults. It is long enough to measure each process, also one that the faults kill repeatedly.
FAULTLESS_SECONDS = max(WARM_UP.values()) + MIN_SLOPE_SECONDS + 60
# The JVM allocates its whole heap at the start. Otherwise its memory grows until it has used each page once.
PREALLOCATED_HEAP = "-XX:+AlwaysPreTouch"


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    logging.getLogger("kafka").addHandler(logging.NullHandler())
    logging.getLogger("kafka").propagate = False
    try:
        settings = read_soak_settings()
        local = replace(
            read_settings(), feed="simulator", mongodb_uri=None, rate=settings.rate, window_seconds=WINDOW_SECONDS
        )
    except SettingError as error:
        return fail(error, 2)
    try:
        with Stack(local) as stack, stopping():
            preallocate_heaps(stack)
            log(f"starting; SEED={settings.seed} repeats these faults; logs in {local.logs}")
            stack.start()
            result = soak(stack, settings)
    except KeyboardInterrupt:
        return 130
    except (StackError, UnreachableError) as error:
        return fail(error, 1)
    sys.stdout.write("".join(f"{line}\n" for line in lines(result)))
    return 1 if result.failures else 0


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    try:
        yield
    finally:
        # A second Ctrl-C would leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        log("stopping everything")


def preallocate_heaps(stack: Stack) -> None:
    flink, broker = stack.flink, stack.broker.program
    for program in (flink.jobmanager, flink.taskmanager):
        program.environment = {**program.environment, "JAVA_TOOL_OPTIONS": PREALLOCATED_HEAP}
    broker.environment = {**broker.environment, "JAVA_TOOL_OPTIONS": f"{PREALLOCATED_HEAP} -Xms512m"}  # its -Xmx


def soak(stack: Stack, settings: SoakSettings) -> Result:
    """Run the faults and the audit. Raises StackError and UnreachableError."""
    await_windows(stack, time.time())
    stop = threading.Event()
    injection = Injection(stack, stack.job_environment(), stop, log)
    observation = Observation(stack, time.time())
    faults = schedule(settings.seed, settings.minutes * 60)
    log(f"{len(faults)} faults within {settings.minutes} min")
    with ThreadPoolExecutor(len(PARTS)) as pool:
        try:
            futures = run_faults(pool, injection, observation, faults)
            faults_end = time.time()
            log("no more faults")
            catch_up(stack, injection, observation)
            caught_up = time.time() - faults_end
            log(f"caught up; {FAULTLESS_SECONDS:.0f} s without faults, for the memory")
            run_without_faults(injection, observation, FAULTLESS_SECONDS)
        except BaseException:
            stop.set()
            kill_leftovers(stack.settings.state)  # a fault may wait for one of these processes
            raise
        finally:
            write_samples(stack, observation.samples)
    done = Counter(
        f"{each.part} {each.action}" for each, future in zip(faults, futures, strict=True) if future.result()
    )
    log("counting")
    report = run_audit(stack.job_environment(), log)
    for line in report.lines:
        log(line)
    reasons = [json.loads(value)["reason"] for value in read_topic(stack.settings.kafka, REJECTED_TOPIC)]
    return Result(
        settings=settings,
        faults=dict(sorted(done.items())),
        skipped=len(faults) - done.total(),
        ended=injection.ended,
        catch_up=caught_up,
        posts=count_posts(report, reasons),
        dropped=observation.dropped,
        restarts_in_place=observation.restarts_in_place,
        orphaned_workers=observation.orphaned_workers,
        memory=growth(observation.samples, WARM_UP),
        stubs=() if stack.store.kind == "mongod" else (STORE,),
        kafka_mib=observation.kafka_mib,
        cores=cores(observation.samples),
    )


def run_faults(
    pool: ThreadPoolExecutor, injection: Injection, observation: Observation, faults: list[Fault]
) -> list[Future[bool]]:
    """Run all faults, and wait until every part runs again. The results: whether a fault was injected.

    Raises StackError.
    """
    futures: list[Future[bool]] = []
    began = time.time()
    due, next_measurement = list(faults), began
    while due or not all(future.done() for future in futures):
        if due and time.time() >= began + due[0].at:
            futures.append(pool.submit(injection.inject, due.pop(0)))
        if time.time() >= next_measurement:
            next_measurement = time.time() + MEASURE_SECONDS
            observation.measure(time.time())
            injection.restart_ended()
        for future in futures:
            if future.done():
                future.result()
        time.sleep(0.1)
    return futures


def catch_up(stack: Stack, injection: Injection, observation: Observation) -> None:
    """Wait until a window that began after now is in the collection. Raises StackError."""

    def measure() -> None:
        observation.measure(time.time())
        injection.restart_ended()

    await_windows(stack, time.time(), measure)


def run_without_faults(injection: Injection, observation: Observation, seconds: float) -> None:
    end = time.time() + seconds
    while time.time() < end:
        observation.measure(time.time())
        injection.restart_ended()
        time.sleep(MEASURE_SECONDS)


def await_windows(stack: Stack, since: float, measure: Callable[[], object] = lambda: None) -> None:
    """Wait until a window that began after `since`, Unix time, is in the collection. Raises StackError."""
    end = iso(int(since) + 2 * WINDOW_SECONDS)

    def arrived() -> bool:
        measure()
        return newest_end(stack.settings.store_uri, DATABASE, COLLECTION) >= end

    def pause(_: float) -> None:
        time.sleep(MEASURE_SECONDS)

    wait_until(arrived, f"a document of {end} or later", CATCH_UP_SECONDS, program=stack.flink.jobmanager, sleep=pause)


def write_samples(stack: Stack, samples: list[Sample]) -> None:
    """Write all samples to memory.csv, from which a slope can be computed again."""
    with (stack.settings.logs / "memory.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(field.name for field in fields(Sample))
        table.writerows(map(astuple, samples))


def log(line: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S}  {line}\n")
    sys.stdout.flush()


def fail(error: Exception, status: int) -> int:
    sys.stderr.write("".join(f"error: {line}\n" for line in str(error).splitlines()))
    return status


if __name__ == "__main__":
    sys.exit(main())
