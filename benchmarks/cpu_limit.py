"""A limit on the processor time of a process and its descendants: a cgroup of the kernel, version 2 or 1. Needs root.

Sources: cgroup-v2.rst (`cpu.max`) and sched-bwc.rst (`cpu.cfs_quota_us`) of the kernel's documentation.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import processes, tree
from local.process import StackError

CGROUPS = Path("/sys/fs/cgroup")
NAME = f"data-collection-bench-{os.getpid()}"
PERIOD_MICROSECONDS = 100_000


@contextlib.contextmanager
def limited(root: int, cores: float, cgroups: Path = CGROUPS) -> Iterator[None]:
    """Let the process `root` and its descendants use so many cores together, until the context ends.

    Raises StackError if the kernel does not allow it.
    """
    parent = controller(cgroups)
    group = parent / NAME
    try:
        group.mkdir()
        write_limit(group, round(cores * PERIOD_MICROSECONDS))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        reason = f"{error.strerror}: {error.filename}"
        raise StackError(f"processor time cannot be limited ({reason}): this needs root and a cgroup") from error
    try:
        move(root, group)
        yield
    finally:
        move(root, parent)
        with contextlib.suppress(OSError):  # a process that was just started is still in it
            group.rmdir()


def controller(cgroups: Path) -> Path:
    """The root folder of the cpu controller."""
    return cgroups if is_version_2(cgroups) else cgroups / "cpu"


def is_version_2(folder: Path) -> bool:
    return (folder / "cgroup.controllers").exists()


def write_limit(group: Path, microseconds: int) -> None:
    """Limit a cgroup to so much processor time in each period."""
    if is_version_2(group):
        (group.parent / "cgroup.subtree_control").write_text("+cpu")
        (group / "cpu.max").write_text(f"{microseconds} {PERIOD_MICROSECONDS}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (group / "cpu.cfs_quota_us").write_text(str(microseconds))


def move(root: int, group: Path) -> None:
    """Move a process and its descendants. What they start later is in the same group."""
    for process in tree(processes(), root):
        with contextlib.suppress(OSError):  # it has ended
            (group / "cgroup.procs").write_text(str(process.pid))
