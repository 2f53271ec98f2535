"""The whole stack: starts its parts in parallel where they do not depend on each other, stops them in order."""

import contextlib
import fcntl
import functools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import requests

from images.build import project_version
from local import preflight
from local.broker import Broker, create_topics
from local.flink import Flink
from local.jars import fetch_jars
from local.process import Program, StackError, kill_leftovers, wait_until
from local.settings import REPOSITORY, Settings
from local.store import Store

JOBS = ("collector_stream", "aggregator_stream")
POLL_SECONDS = 0.2
# What the stack replaces in its state folder. The file MARK says that the folder is the stack's.
REPLACED = ("run", "jars", "lock")
MARK = ".data-collection"


@dataclass
class Step:
    """One step of the start."""

    name: str
    state: str = "waiting"  # then running, then done or failed
    began: float = 0.0  # of time.monotonic(); 0: not yet
    ended: float = 0.0  # of time.monotonic(); 0: not yet

    @property
    def seconds(self) -> float:
        """How long the step took, or has taken so far."""
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0


class Stack:
    """The local stack, as a context manager: leaving the context stops everything that the stack has started."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.broker = Broker(settings)
        self.store = Store(settings)
        self.flink = Flink(settings)
        self.simulator = self._python("simulator", "simulator.twitter_stream_simulator")
        self.worldometers = self._python("worldometers", "simulator.worldometers_stub")
        # As in its image: one arena for all threads takes 3 MB less.
        self.console = self._python("console", "console", MALLOC_ARENA_MAX="1")
        self.steps: list[Step] = []
        self.jobs: dict[str, str] = {}
        self.since: int | None = None  # number of the post after which the collector begins; None: live
        self._stopping = threading.Event()
        self._exit = contextlib.ExitStack()

    def _python(self, name: str, module: str, **more: str) -> Program:
        settings = self.settings
        environment = {
            "PYTHONPATH": str(REPOSITORY),
            "SIMULATOR_PORT": str(settings.ports.simulator),
            "SIMULATOR_RATE": str(settings.rate),
            "WORLDOMETERS_PORT": str(settings.ports.worldometers),
            **more,
        }
        command = [sys.executable, "-m", module]
        return Program(name, command, settings.logs / f"{name}.log", environment, settings.state)

    def __enter__(self) -> "Stack":
        """Lock the state folder, kill what an earlier stack has left, and check the preconditions of a start.

        Raises StackError.
        """
        claim_state_folder(self.settings.state)
        self._exit.enter_context(state_lock(self.settings))
        kill_leftovers(self.settings.state)
        preflight.check(self.settings)
        shutil.rmtree(self.settings.run, ignore_errors=True)
        self.settings.logs.mkdir(parents=True)
        write_secret(self.settings.store_uri_file, self.settings.store_uri)
        self.settings.feed_file.write_text(self.settings.feed)
        return self

    def __exit__(self, *_: object) -> None:
        # Clients before servers: then no client tries to reconnect during the stop.
        with ThreadPoolExecutor() as pool:
            for stop in (
                self.flink.stop,
                *(p.stop for p in (self.console, self.simulator, self.worldometers, *self._stores())),
            ):
                pool.submit(stop)
        kill_leftovers(self.settings.state)
        self._exit.close()

    def _stores(self) -> list[Program]:
        return [self.broker.program, *([self.store.program] if self.store.program else [])]

    def programs(self) -> list[Program]:
        """The programs that can be restarted when they die. The JobManager cannot: the jobs are lost with it."""
        feed = [self.simulator] if self.settings.simulated else []
        console = [self.console] if self.console.process is not None else []
        return [*self._stores(), *feed, self.worldometers, self.flink.taskmanager, *console]

    def start(self, jobs: Sequence[str] = JOBS, *, demo: bool = False) -> None:
        """Start all parts and submit the jobs; `steps` shows the progress. Raises StackError.

        The jobs are submitted while Flink starts: submitting takes longer.

        demo: start the console as well, and collect what the simulator has sent since its start. Then the first window
            has ended when the jobs run, and need not be awaited.
        """
        tasks: list[tuple[str, Callable[[], object], list[str]]] = [
            ("Kafka's jars", self._fetch_kafka, []),
            ("jars of Flink's connectors", self._fetch_connectors, []),
            (f"document store ({self.store.kind})", self._start_store, []),
            ("Worldometers stub", self._start_worldometers, []),
            ("Kafka broker and topics", self._start_kafka, ["Kafka's jars"]),
            ("Flink cluster", self._start_flink, ["jars of Flink's connectors"]),
        ]
        before_jobs = ["jars of Flink's connectors"]
        if self.settings.simulated:
            tasks.insert(0, ("simulator", functools.partial(self._start_simulator, replay=demo), []))
            before_jobs.append("simulator")
        if demo:
            tasks.insert(0, ("console", self.start_console, []))
        tasks += [(f"job {job}", functools.partial(self.submit, job), before_jobs) for job in jobs]
        self.steps = [Step(name) for name, _, _ in tasks]
        steps = {step.name: step for step in self.steps}
        futures: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(max_workers=len(tasks)) as pool:
            for name, work, needs in tasks:
                futures[name] = pool.submit(self._run_step, steps[name], work, [futures[need] for need in needs])
            left = set(futures.values())
            try:
                while left:
                    done, left = wait(left, timeout=POLL_SECONDS, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    if self._stopping.is_set():
                        raise StackError("stopped")
            except BaseException:
                self.abort()
                # The steps fail once their programs are gone; until then they may start further ones.
                while left:
                    kill_leftovers(self.settings.state)
                    _, left = wait(left, timeout=POLL_SECONDS)
                raise

    def abort(self) -> None:
        """Make a `start` in another thread fail soon: it starts no more programs and ends those that it has started."""
        self._stopping.set()

    def _run_step(self, step: Step, work: Callable[[], object], needs: list[Future[None]]) -> None:
        """Run a step once the steps that it needs are done. Raises the error of a needed step that has failed."""
        for need in needs:
            need.result()
        if self._stopping.is_set():
            raise StackError("stopped")
        step.began, step.state = time.monotonic(), "running"
        try:
            work()
        except BaseException:
            step.state = "failed"
            raise
        else:
            step.state = "done"
        finally:
            step.ended = time.monotonic()

    def _fetch_kafka(self) -> None:
        jars, logs, state = self.settings.jars, self.settings.logs, self.settings.state
        fetch_jars(REPOSITORY / "local" / "pom.xml", jars / "kafka", logs / "maven-kafka.log", state)

    def _fetch_connectors(self) -> None:
        jars, logs, state = self.settings.jars, self.settings.logs, self.settings.state
        fetch_jars(REPOSITORY / "jobs" / "pom.xml", jars / "flink", logs / "maven-flink.log", state)
        self.flink.configure()

    def _start_kafka(self) -> None:
        self.broker.format()
        self.broker.start()
        self.broker.await_ready()
        create_topics(self.broker.bootstrap)

    def _start_store(self) -> None:
        self.store.start()
        self.store.await_ready()

    def _start_flink(self) -> None:
        self.flink.start()
        self.flink.await_ready()

    def _start_simulator(self, *, replay: bool) -> None:
        self.simulator.start()
        self.await_health(self.simulator, self.settings.ports.simulator)
        if replay and self.settings.definition.resume:  # without positions, each new connection would get them again
            self.since = requests.get(health_url(self.settings.ports.simulator), timeout=5).json()["newest"]

    def _start_worldometers(self) -> None:
        self.worldometers.start()
        self.await_health(self.worldometers, self.settings.ports.worldometers)

    def start_console(self, environment: Mapping[str, str] = {}) -> None:
        """Start the console and wait until it answers. environment: settings that replace those of the jobs."""
        settings = self.settings
        own = {
            "CONSOLE_PORT": str(settings.ports.console),
            "FLINK_URL": settings.flink_url,
            "DATA_COLLECTION_VERSION": project_version(),
        }
        self.console.environment = {**self.console.environment, **self.job_environment(), **environment, **own}
        self.console.start()
        self.await_health(self.console, settings.ports.console)

    def await_health(self, program: Program, port: int, seconds: float = 30) -> None:
        """Wait until a program answers at its port. Raises StackError."""
        url = health_url(port)
        wait_until(lambda: answers(url), f"{url} to answer", seconds, program=program)

    def submit(
        self,
        job: str,
        environment: Mapping[str, str] | None = None,
        parallelism: int = 1,
        savepoint: str | None = None,
    ) -> str:
        """Submit a job and wait until all its tasks run; returns its id. Raises StackError.

        environment: settings that replace those of `job_environment`
        """
        settings = {**self.job_environment(), **(environment or {})}
        identity = self.flink.submit(f"jobs.{job}", settings, parallelism, savepoint)
        wait_until(lambda: self.flink.all_running(identity), f"{job} to run", 120, program=self.flink.jobmanager)
        self.jobs[job] = identity
        return identity

    def job_environment(self) -> dict[str, str]:
        """The settings of both jobs."""
        settings = self.settings
        since = "" if self.since is None else f"/?since={self.since}"
        return {
            "FEED": settings.feed,
            **({"WEBSOCKET_URL": settings.simulator_url + since} if settings.simulated else {}),
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka,
            "MONGODB_URI_FILE": str(settings.store_uri_file),
            "WORLDOMETERS_URL": settings.worldometers_url,
            "WINDOW_SECONDS": str(settings.window_seconds),
            "PLANNED_POSTS_PER_SECOND": str(settings.planned_posts_per_second),
        }


def write_secret(path: Path, text: str) -> None:
    """Write a file that only this user can read."""
    path.touch(mode=0o600)
    path.write_text(text)


def health_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/healthz"


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def claim_state_folder(state: Path) -> None:
    """Create the state folder and mark it as the stack's, since the stack replaces files in it.

    Raises StackError when it would replace files that no stack has written.
    """
    mark = state / MARK
    others = [name for name in REPLACED if (state / name).exists()]
    if others and not mark.exists() and not state.is_relative_to(Settings().state):
        held = " and ".join(map(repr, others))
        raise StackError(
            f"STATE={str(state)!r} holds {held}, which this stack did not make and would replace: "
            f"set STATE to another folder (if a stack of an earlier version made them, create the file {mark})"
        )
    state.mkdir(parents=True, exist_ok=True)
    mark.touch()


@contextlib.contextmanager
def state_lock(settings: Settings) -> Iterator[None]:
    """Lock the state folder: two stacks in one folder would kill each other's processes. Raises StackError."""
    with (settings.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(
                f"another stack runs in {settings.state}: stop it, or set STATE to another folder"
            ) from None
        os.set_inheritable(lock.fileno(), False)
        yield
