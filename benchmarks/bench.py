"""What all cases share: rounds in turn, and the sides that they compare."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.machine import BUSY_SHARE, Cpu, Watch
from benchmarks.numbers import Measurement, summary
from local.process import StackError, owned_environment, wait_until
from local.settings import REPOSITORY
from local.stack import Stack

SHORTEST_SECONDS = 0.5

Side = Callable[[str], Measurement]  # gets a name that no other round has
Running = subprocess.Popen[bytes] | None


@dataclass
class Bench:
    """A run of the benchmarks."""

    stack: Stack
    rounds: int  # counted ones
    say: Callable[[str], None]
    watch: Watch = field(default_factory=Watch)
    results: list[str] = field(default_factory=list)  # lines of the summary
    busy: int = 0  # how many counted measurements had others on the machine
    counted: int = 0  # measurements

    def measure(self, side: Side, name: str) -> tuple[Measurement, float]:
        """What a side did, and the share of the cores that others took meanwhile. Raises StackError."""
        self.watch.others()
        measured = side(name)
        if measured.seconds < SHORTEST_SECONDS:
            raise StackError(f"the counted part took {measured.seconds:.2f} s: measure more posts")
        return measured, self.note_others()

    def note_others(self) -> float:
        """The share of the cores that others took since the last call. It counts for the warning of the summary."""
        others = self.watch.others()
        self.counted += 1
        self.busy += others > BUSY_SHARE
        return others

    def compare(
        self,
        name: str,
        subject: str,
        sides: Mapping[str, Side],
        *,
        may_fail: Collection[str] = (),
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Run all sides in each round, and print what they did. The side that begins changes with each round.

        The first round is a warm-up: the first job of a TaskManager is slower than later ones. It is not counted.
        subject: the side whose ratio to each other one is printed.
        may_fail: sides that are left out with their reason once they fail. Any other failure ends the run.
        notes: of the result's last column, by side.
        """
        self.say(f"\n{name}: a warm-up and {self.rounds} rounds")
        found: dict[str, list[Measurement]] = {side: [] for side in sides}
        reasons: dict[str, str] = {}
        for number in range(self.rounds + 1):
            for side in in_turn([each for each in sides if each not in reasons], number):
                title = f"round {number}" if number else "warm-up"
                try:
                    measured, others = self.measure(sides[side], f"{side.replace(' ', '-')}-{number}")
                except StackError as error:
                    if side not in may_fail:
                        raise
                    reasons[side] = str(error)
                    self.say(f"  {title:<8} {side:<10} cannot: {error}")
                    continue
                self.say(line(title, side, measured, others))
                if number:
                    found[side].append(measured)
        complete = {side: rounds for side, rounds in found.items() if side not in reasons}
        failures = [f"{side} cannot: {reason}" for side, reason in reasons.items()]
        self.result(name, [*summary(subject, complete, notes or {}), *failures])

    def result(self, name: str, lines: Sequence[str]) -> None:
        """Print a result, and keep it for the summary."""
        for each in lines:
            self.say(each)
        self.results += [f"\n{name}", *lines]

    @contextlib.contextmanager
    def job(self, name: str, environment: Mapping[str, str], parallelism: int = 1) -> Iterator[str]:
        """Run a job inside the context; gives its id."""
        identity = self.stack.submit(name, environment, parallelism)
        try:
            yield identity
        finally:
            self.cancel(identity)

    def cancel(self, identity: str) -> None:
        flink = self.stack.flink
        flink.cancel(identity)
        wait_until(lambda: flink.state(identity) in ("CANCELED", "FAILED", "FINISHED"), "the job to be cancelled", 60)

    @contextlib.contextmanager
    def process(
        self, command: Sequence[str], name: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A program of the benchmarks, stopped at the end of the context. name: of its log.

        A StackError inside the context has the program's own reason, if it has failed.
        """
        settings = self.stack.settings
        log = settings.logs / f"{name}.log"
        with log.open("wb") as out:
            running = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=owned_environment(settings.state, environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield running
        except StackError as error:
            if running.poll():
                found = reason(log.read_text(errors="replace"))
                raise StackError(f"it ended with status {running.returncode}: {found} (log: {log})") from error
            raise
        finally:
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(10)
            running.kill()
            running.wait()

    def restart_simulator(self, environment: Mapping[str, str]) -> None:
        """Start the simulator anew, with these settings and its port."""
        simulator, settings = self.stack.simulator, self.stack.settings
        simulator.stop()
        simulator.environment = {
            "PYTHONPATH": str(REPOSITORY),
            "SIMULATOR_PORT": str(settings.ports.simulator),
            **environment,
        }
        simulator.start()
        self.stack.await_health(simulator, settings.ports.simulator)

    def cpu_of_jobs(self) -> Cpu:
        """The processor time of the TaskManager and its Python workers."""
        return Cpu((self.stack.flink.taskmanager.pid,))

    def checkpoints(self, identity: str) -> str:
        """The durations of the job's checkpoints, for the round's line."""
        found = self.stack.flink.checkpoints(identity)
        duration = found.get("summary", {}).get("end_to_end_duration", {})
        count = found.get("counts", {}).get("completed", 0)
        return f"{count} checkpoints of {duration.get('min', 0)} to {duration.get('max', 0)} ms"


def failed(running: Running) -> bool:
    """Whether a program has ended with an error."""
    return running is not None and bool(running.poll())


def reason(output: str) -> str:
    """The last line of a program's output that names an error; without any the last line."""
    lines = [each.strip() for each in output.splitlines() if each.strip()] or ["no output"]
    return next((each for each in reversed(lines) if re.match(r"[\w.]*(Error|Exception)\b", each)), lines[-1])


def loop_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.loops", *arguments]


def in_turn(sides: Sequence[str], number: int) -> list[str]:
    """The order of the sides in a round: each begins in turn."""
    first = number % len(sides)
    return [*sides[first:], *sides[:first]]


def line(title: str, side: str, measured: Measurement, others: float) -> str:
    """A round of one side."""
    lost = f"  LOST {measured.lost:,} posts" if measured.lost else ""
    note = f"  ({measured.note})" if measured.note else ""
    return (
        f"  {title:<8} {side:<10} {measured.seconds:6.1f} s {measured.rate:10,.0f} posts/s"
        f" {measured.cpu:7.2f} cpu s per million{note}{lost}{busy_note(others)}"
    )


def busy_note(others: float) -> str:
    """The end of a line whose figures were measured beside other work."""
    return f"  BUSY: others took {others:.0%} of the cores" if others > BUSY_SHARE else ""
