"""What is read of /proc."""

import os
import subprocess
import sys

import pytest

from benchmarks.machine import TICKS, Process, Watch, header, others_share, parse_busy, parse_process, processes, tree
from local.settings import REPOSITORY


def test_a_name_with_blanks_and_brackets_moves_no_field() -> None:
    fields = "S 7 1 1 0 -1 4194560 100 0 0 0 30 12 5 3 20 0 1 0 4711 1000 100"
    assert parse_process(f"42 (a ) (b) {fields}") == Process(pid=42, parent=7, own=42, reaped=8, started=4711)


def test_waiting_is_not_busy_and_time_taken_by_other_machines_is() -> None:
    assert parse_busy("cpu  1 2 4 1000 1000 8 16 32 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n") == 63


def test_a_tree_has_all_descendants_and_nothing_else() -> None:
    found = [Process(pid, parent, 0, 0, 0) for pid, parent in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 1)]]
    assert sorted(process.pid for process in tree(found, 2)) == [2, 3, 4]
    assert not list(tree(found, 99))


@pytest.mark.parametrize(("busy", "own", "share"), [(4, 1, 0.75), (4, 4, 0), (1, 2, 0), (9, 0, 1)])
def test_the_share_of_others_is_what_is_busy_without_our_part(busy: float, own: float, share: float) -> None:
    assert others_share(busy * TICKS, own * TICKS, seconds=2, cores=2) == share


def test_this_process_is_found_and_its_work_is_not_that_of_others() -> None:
    assert os.getpid() in {process.pid for process in processes()}
    assert 0 <= Watch().others() <= 1


def test_the_header_names_cores_versions_and_load() -> None:
    lines = "\n".join(header())
    assert f"{os.cpu_count()} cores of " in lines
    for part in ("Python 3.11.", "JDK ", "Flink 1.", "websockets ", "load average "):
        assert part in lines


ORPHAN = """
import os, subprocess, sys
from benchmarks.machine import TICKS, adopt_orphans, processes, tree

def own():
    return sum(process.own for process in tree(processes(), os.getpid()) if process.pid != os.getpid())

adopt_orphans()
burn = "import time\\nwhile time.process_time() < 0.5: pass"
subprocess.run(["sh", "-c", '"$0" -c "$1" &', sys.executable, burn], check=True)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # the program whose shell has ended is a child of this one
assert own() >= 0.5 * TICKS - 1, own()
"""


def test_the_time_of_a_program_whose_parent_has_ended_is_ours() -> None:
    subprocess.run([sys.executable, "-c", ORPHAN], check=True, cwd=REPOSITORY, timeout=60)
