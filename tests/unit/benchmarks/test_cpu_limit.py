"""A process that may use a part of a core."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.cpu_limit import CGROUPS, NAME, controller, limited
from benchmarks.machine import TICKS, processes, tree
from local.process import StackError

BURN = "import sys\nprint('ready', flush=True)\nwhile True: pass"
CAN_LIMIT = os.access(controller(CGROUPS), os.W_OK)


@pytest.mark.skipif(not CAN_LIMIT, reason="processor time is limited with a cgroup, which this user may not create")
def test_a_limited_process_gets_the_share_that_it_may_have() -> None:
    with subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE) as burning:
        try:
            assert burning.stdout is not None
            burning.stdout.readline()
            with limited(burning.pid, 0.1):
                began, before = time.monotonic(), used(burning.pid)
                time.sleep(1)
                share = (used(burning.pid) - before) / (time.monotonic() - began)
        finally:
            burning.kill()
    assert 0 < share < 0.25
    assert not (controller(CGROUPS) / NAME).exists()


def used(pid: int) -> float:
    """Seconds of processor time."""
    return sum(process.own for process in tree(processes(), pid)) / TICKS


def test_without_a_cgroup_the_error_says_what_is_missing(tmp_path: Path) -> None:
    message = r"processor time cannot be limited \(No such file .*\): this needs root and a cgroup"
    with pytest.raises(StackError, match=message), limited(os.getpid(), 0.5, tmp_path):
        pass
