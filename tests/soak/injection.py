"""Injects faults into the local stack, and ends them."""

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import psutil

from local.process import Program, StackError, wait_until
from local.stack import Stack
from tests.soak.faults import BROKER, COLLECTOR, PARTS, SIMULATOR, STOPPED, STORE, TASKMANAGER, WORKERS, Fault

JOB = "collector_stream"
RECOVERY_SECONDS = 600
WORKERS_SECONDS = 90
RETRY_SECONDS = 5.0
Log = Callable[[str], None]


class Injection:
    """Injects faults, at most one at a time into each part. The caller's threads run `inject`.

    environment: the collector's settings
    stopping: if it is set, the soak ends early, and each wait fails with StackError
    ended: how often a program ended by itself, by part
    """

    def __init__(self, stack: Stack, environment: Mapping[str, str], stopping: threading.Event, log: Log) -> None:
        self._stack = stack
        self._environment = environment
        self._stopping = stopping
        self._log = log
        self._locks = {part: threading.Lock() for part in PARTS}
        self.ended: Counter[str] = Counter()
        self.programs: dict[str, Program] = {
            TASKMANAGER: stack.flink.taskmanager,
            BROKER: stack.broker.program,
            SIMULATOR: stack.simulator,
            **({STORE: stack.store.program} if stack.store.program else {}),
        }

    def inject(self, fault: Fault) -> bool:
        """Inject a fault, and wait until the part runs again. False if no process was there to inject it into.

        Raises StackError.
        """
        with self._locks[fault.part]:
            if fault.part == COLLECTOR:
                self._log(str(fault))
                self._cancel_and_resubmit(fault)
            elif fault.part == WORKERS:
                return self._inject_into_workers(fault)
            else:
                self._restart_if_ended(fault.part)
                self._log(str(fault))
                self._inject_into_program(fault)
        return True

    def restart_ended(self) -> None:
        """Restart each program that ended by itself. Raises StackError if the JobManager ended."""
        jobmanager = self._stack.flink.jobmanager
        if not jobmanager.alive():
            raise StackError(f"the JobManager ended by itself, and the jobs with it (log: {jobmanager.log})")
        for part in self.programs:
            with self._if_free(part) as free:
                if free:
                    self._restart_if_ended(part)

    def _restart_if_ended(self, part: str) -> None:
        program = self.programs[part]
        if not program.alive():
            self._log(f"{part} ENDED BY ITSELF (log: {program.log}), restarted")
            program.start()
            self.ended[part] += 1

    @contextlib.contextmanager
    def _if_free(self, part: str) -> Iterator[bool]:
        free = self._locks[part].acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._locks[part].release()

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StackError("stopped")

    def _inject_into_program(self, fault: Fault) -> None:
        program = self.programs[fault.part]
        if fault.action == STOPPED:
            program.signal(signal.SIGSTOP)
            self._pause(fault.seconds)
            program.signal(signal.SIGCONT)
            return
        program.kill()
        self._pause(fault.seconds)
        program.start()
        if fault.part == BROKER:
            self._stack.broker.await_ready(RECOVERY_SECONDS)

    def _inject_into_workers(self, fault: Fault) -> bool:
        try:
            wait_until(lambda: bool(self._workers()), "Python workers", WORKERS_SECONDS, sleep=self._pause)
        except StackError:
            self._log(f"NOT DONE, since no Python worker runs: {fault}")
            return False
        self._log(str(fault))
        workers = self._workers()
        for worker in workers:
            with contextlib.suppress(psutil.Error):
                worker.suspend() if fault.action == STOPPED else worker.kill()
        self._pause(fault.seconds)
        if fault.action == STOPPED:
            for worker in workers:
                with contextlib.suppress(psutil.Error):
                    worker.resume()
        return bool(workers)

    def _workers(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.programs[TASKMANAGER].pid).children(recursive=True)
            return [each for each in children if "python" in each.name()]
        return []

    def _cancel_and_resubmit(self, fault: Fault) -> None:
        """Cancel the collector, then repeat the submission until it succeeds."""
        flink, jobs = self._stack.flink, self._stack.jobs
        flink.cancel(jobs[JOB])
        wait_until(lambda: flink.state(jobs[JOB]) == "CANCELED", "the collector's end", RECOVERY_SECONDS)
        self._pause(fault.seconds)
        while True:
            try:
                jobs[JOB] = flink.submit(f"jobs.{JOB}", self._environment)
            except StackError as error:
                self._log(f"submitting the collector failed, trying again: {error}")
                self._pause(RETRY_SECONDS)
            else:
                return
