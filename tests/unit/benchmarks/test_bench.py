"""The rounds of a comparison."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.bench import Bench, Side, failed, in_turn, line, reason
from benchmarks.machine import Watch
from benchmarks.numbers import Measurement
from local.process import StackError, wait_until
from local.stack import Stack

NO_STACK = cast(Stack, None)


class Quiet(Watch):
    """A machine on which nobody else works."""

    def __init__(self) -> None:
        pass

    def others(self) -> float:
        return 0.0


class Noisy(Quiet):
    def others(self) -> float:
        return 0.5


def side(called: list[str], seconds: float = 1.0) -> Side:
    def run(name: str) -> Measurement:
        called.append(name)
        return Measurement(1_000, seconds, 1)

    return run


def broken(_: str) -> Measurement:
    raise StackError("it has no source")


def bench(rounds: int, say: Callable[[str], None], watch: Watch | None = None) -> Bench:
    return Bench(NO_STACK, rounds, say, watch or Quiet())


def test_each_side_begins_in_turn() -> None:
    assert [in_turn(["a", "b", "c"], number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert in_turn(["a", "b", "c"], 1) == ["b", "c", "a"]


def test_a_warm_up_comes_before_the_rounds_and_is_not_counted() -> None:
    called: list[str] = []
    lines: list[str] = []
    run = bench(2, lines.append)
    run.compare("case", "job", {"loop": side(called), "job": side(called, seconds=0.5)})
    assert called == ["loop-0", "job-0", "job-1", "loop-1", "loop-2", "job-2"]
    assert sum(each.startswith("  warm-up") for each in lines) == 2
    assert any("2.00 (2.00 to 2.00)" in each for each in run.results)
    assert (run.counted, run.busy) == (6, 0)


def test_measurements_beside_other_work_are_counted_for_the_warning() -> None:
    run = bench(1, lambda _: None, Noisy())
    run.compare("case", "job", {"job": side([])})
    assert (run.counted, run.busy) == (2, 2)


def test_a_peer_that_cannot_is_shown_with_its_reason_and_left_out() -> None:
    lines: list[str] = []
    run = bench(2, lines.append)
    run.compare("case", "job", {"job": side([]), "peer": broken}, may_fail=["peer"])
    assert sum("cannot: it has no source" in each for each in lines) == 2  # when it fails, and in the result
    assert not any(each.startswith("| peer") for each in lines)


def test_one_of_ours_that_cannot_ends_the_run() -> None:
    with pytest.raises(StackError, match="no source"):
        bench(1, lambda _: None).compare("case", "job", {"job": broken})


def test_a_round_that_is_too_short_to_mean_something_ends_the_run() -> None:
    with pytest.raises(StackError, match="measure more posts"):
        bench(1, lambda _: None).compare("case", "job", {"job": side([], seconds=0.01)})


def test_a_round_says_when_others_used_the_machine_and_what_was_lost() -> None:
    quiet = line("round 1", "job", Measurement(1_000, 2, 1), others=0.05)
    assert "500 posts/s" in quiet
    assert "BUSY" not in quiet
    assert "LOST" not in quiet
    noisy = line("round 1", "job", Measurement(1_000, 2, 1, lost=7), others=0.25)
    assert "BUSY: others took 25% of the cores" in noisy
    assert "LOST 7 posts" in noisy


def test_the_reason_of_a_failure_is_the_error_and_not_a_warning_after_it() -> None:
    assert reason("Traceback\nValueError: no key\n\n/lib/x.py: UserWarning: unused\n") == "ValueError: no key"
    assert reason("stopped\n") == "stopped"
    assert reason("") == "no output"


def with_state(folder: Path) -> Bench:
    stack = SimpleNamespace(settings=SimpleNamespace(state=folder, logs=folder))
    return Bench(cast(Stack, stack), 1, lambda _: None, Quiet())


def test_a_program_is_stopped_at_the_end(tmp_path: Path) -> None:
    with with_state(tmp_path).process([sys.executable, "-c", "import time; time.sleep(600)"], "side") as running:
        assert not failed(running)
    assert running.poll() is not None


def test_a_failure_has_the_programs_own_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise ValueError('no key')"]

    def await_posts() -> None:
        with with_state(tmp_path).process(command, "side") as running:
            wait_until(lambda: failed(running), "the program to fail", 60)
            raise StackError("nothing came")

    with pytest.raises(StackError, match="ended with status 1: ValueError: no key"):
        await_posts()
